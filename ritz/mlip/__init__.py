"""Machine-learning interatomic potentials: descriptors, data sets, training."""

from ritz.mlip.ann_potential import ANNPotential as ANNPotential
from ritz.mlip.chebyshev import ChebyshevDescriptor as ChebyshevDescriptor
from ritz.mlip.config import TrainingConfig as TrainingConfig
from ritz.mlip.datasets import CachedStructureDataset as CachedStructureDataset
from ritz.mlip.datasets import StructureDataset as StructureDataset
from ritz.mlip.datasets import Subset as Subset
from ritz.mlip.datasets import train_test_split_dataset as train_test_split_dataset
from ritz.mlip.epochs import EpochCallback as EpochCallback
from ritz.mlip.labels import from_ase as from_ase
from ritz.mlip.methods import SGD as SGD
from ritz.mlip.methods import Adam as Adam
from ritz.mlip.methods import AdamW as AdamW
from ritz.mlip.predict_out import PredictOut as PredictOut
from ritz.mlip.reading import read_structures as read_structures
from ritz.mlip.structure import Structure as Structure
from ritz.mlip.train_out import TrainOut as TrainOut
from ritz.mlip.training import PotentialTraining as PotentialTraining
from ritz.mlip.xsf import write_xsf as write_xsf

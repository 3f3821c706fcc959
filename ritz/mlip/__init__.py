"""Machine-learning interatomic potentials: descriptors, data sets, training."""

from ritz.extras import needs as _needs

with _needs("ritz.mlip", "mlip"):
    from ritz.mlip.abstract_mlip import AbstractMLIP as AbstractMLIP
    from ritz.mlip.abstract_mlip import load_potential as load_potential
    from ritz.mlip.ann_potential import ANNPotential as ANNPotential
    from ritz.mlip.calculator import MLIPCalculator as MLIPCalculator
    from ritz.mlip.chebyshev import ChebyshevDescriptor as ChebyshevDescriptor
    from ritz.mlip.committee import CommitteeConfig as CommitteeConfig
    from ritz.mlip.committee import CommitteePotential as CommitteePotential
    from ritz.mlip.committee_results import CommitteePredictResult as CommitteePredictResult
    from ritz.mlip.committee_results import CommitteeTrainResult as CommitteeTrainResult
    from ritz.mlip.committee_results import EnsembleResult as EnsembleResult
    from ritz.mlip.committee_training import CommitteeTraining as CommitteeTraining
    from ritz.mlip.config import TrainingConfig as TrainingConfig
    from ritz.mlip.datasets import CachedStructureDataset as CachedStructureDataset
    from ritz.mlip.datasets import StructureDataset as StructureDataset
    from ritz.mlip.datasets import Subset as Subset
    from ritz.mlip.datasets import train_test_split_dataset as train_test_split_dataset
    from ritz.mlip.epochs import EpochCallback as EpochCallback
    from ritz.mlip.fitted import FittedPotential as FittedPotential
    from ritz.mlip.graph_model import EnergyModule as EnergyModule
    from ritz.mlip.graph_potential import GraphPotential as GraphPotential
    from ritz.mlip.hdf5_dataset import HDF5StructureDataset as HDF5StructureDataset
    from ritz.mlip.labels import from_ase as from_ase
    from ritz.mlip.methods import SGD as SGD
    from ritz.mlip.methods import Adam as Adam
    from ritz.mlip.methods import AdamW as AdamW
    from ritz.mlip.painn import PaiNN as PaiNN
    from ritz.mlip.predict_out import PredictOut as PredictOut
    from ritz.mlip.reading import iter_structures as iter_structures
    from ritz.mlip.reading import read_structures as read_structures
    from ritz.mlip.reference_energies import ReferenceEnergies as ReferenceEnergies
    from ritz.mlip.reference_energies import iter_samples as iter_samples
    from ritz.mlip.structure import Structure as Structure
    from ritz.mlip.train_out import TrainOut as TrainOut
    from ritz.mlip.training import PotentialTraining as PotentialTraining
    from ritz.mlip.xsf import write_xsf as write_xsf

"""Machine-learning interatomic potentials: descriptors, data sets, training."""

from ritz.extras import needs as _needs

with _needs("ritz.mlip", "mlip"):
    from ritz.mlip.committee.potential import CommitteePotential as CommitteePotential
    from ritz.mlip.committee.results import CommitteePredictResult as CommitteePredictResult
    from ritz.mlip.committee.results import CommitteeTrainResult as CommitteeTrainResult
    from ritz.mlip.committee.results import EnsembleResult as EnsembleResult
    from ritz.mlip.committee.training import CommitteeConfig as CommitteeConfig
    from ritz.mlip.committee.training import CommitteeTraining as CommitteeTraining
    from ritz.mlip.data.datasets import CachedStructureDataset as CachedStructureDataset
    from ritz.mlip.data.datasets import StructureDataset as StructureDataset
    from ritz.mlip.data.datasets import Subset as Subset
    from ritz.mlip.data.datasets import train_test_split_dataset as train_test_split_dataset
    from ritz.mlip.data.hdf5_dataset import HDF5StructureDataset as HDF5StructureDataset
    from ritz.mlip.data.labels import from_ase as from_ase
    from ritz.mlip.data.reading import iter_structures as iter_structures
    from ritz.mlip.data.reading import read_structures as read_structures
    from ritz.mlip.data.reference_energies import ReferenceEnergies as ReferenceEnergies
    from ritz.mlip.data.reference_energies import iter_samples as iter_samples
    from ritz.mlip.data.structure import Structure as Structure
    from ritz.mlip.data.xsf import write_xsf as write_xsf
    from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor as AbstractDescriptor
    from ritz.mlip.descriptors.chebyshev import ChebyshevDescriptor as ChebyshevDescriptor
    from ritz.mlip.descriptors.symmetry_functions import G2 as G2
    from ritz.mlip.descriptors.symmetry_functions import G4 as G4
    from ritz.mlip.descriptors.symmetry_functions import G5 as G5
    from ritz.mlip.descriptors.symmetry_functions import SymmetryFunction as SymmetryFunction
    from ritz.mlip.descriptors.symmetry_functions import SymmetryFunctions as SymmetryFunctions
    from ritz.mlip.models.graph import EnergyModule as EnergyModule
    from ritz.mlip.models.painn import PaiNN as PaiNN
    from ritz.mlip.potentials.ann import ANNPotential as ANNPotential
    from ritz.mlip.potentials.base import AbstractMLIP as AbstractMLIP
    from ritz.mlip.potentials.base import load_potential as load_potential
    from ritz.mlip.potentials.calculator import MLIPCalculator as MLIPCalculator
    from ritz.mlip.potentials.fitted import FittedPotential as FittedPotential
    from ritz.mlip.potentials.graph import GraphPotential as GraphPotential
    from ritz.mlip.potentials.predictions import PredictOut as PredictOut
    from ritz.mlip.training.callbacks import EpochCallback as EpochCallback
    from ritz.mlip.training.config import TrainingConfig as TrainingConfig
    from ritz.mlip.training.driver import PotentialTraining as PotentialTraining
    from ritz.mlip.training.kfac import KFAC as KFAC
    from ritz.mlip.training.optimisers import SGD as SGD
    from ritz.mlip.training.optimisers import Adam as Adam
    from ritz.mlip.training.optimisers import AdamW as AdamW
    from ritz.mlip.training.optimisers import OptaxMethod as OptaxMethod
    from ritz.mlip.training.run import TrainOut as TrainOut

"""Electrons in molecules: wave functions, estimators and variational Monte Carlo."""

from ritz.extras import needs as _needs

with _needs("ritz.molecule", "molecule"):
    from ritz.molecule.estimators import Density as Density
    from ritz.molecule.estimators import Dipole as Dipole
    from ritz.molecule.estimators import Forces as Forces
    from ritz.molecule.estimators import Kinetic as Kinetic
    from ritz.molecule.estimators import Potential as Potential
    from ritz.molecule.estimators import PseudopotentialEnergy as PseudopotentialEnergy
    from ritz.molecule.estimators import SpinPenalty as SpinPenalty
    from ritz.molecule.estimators import SpinSquared as SpinSquared
    from ritz.molecule.estimators import TotalEnergy as TotalEnergy
    from ritz.molecule.evaluation import Evaluation as Evaluation
    from ritz.molecule.excitations import excited_orbitals as excited_orbitals
    from ritz.molecule.molecule import Molecule as Molecule
    from ritz.molecule.multistate.levels import Level as Level
    from ritz.molecule.multistate.levels import energy_levels as energy_levels
    from ritz.molecule.networks.ferminet import FermiNet as FermiNet
    from ritz.molecule.networks.lapnet import LapNet as LapNet
    from ritz.molecule.networks.psiformer import Psiformer as Psiformer
    from ritz.molecule.networks.slater_network import SlaterNetwork as SlaterNetwork
    from ritz.molecule.orbitals import Orbitals as Orbitals
    from ritz.molecule.orbitals import hartree_fock as hartree_fock
    from ritz.molecule.orbitals import slater_orbitals as slater_orbitals
    from ritz.molecule.pretraining import Pretraining as Pretraining
    from ritz.molecule.relaxation import Relaxation as Relaxation
    from ritz.molecule.scan import Scan as Scan
    from ritz.molecule.stage_wavefunction import MoleculeWavefunction as MoleculeWavefunction
    from ritz.molecule.stage_wavefunction import PretrainWorkStage as PretrainWorkStage
    from ritz.molecule.state import ElectronState as ElectronState
    from ritz.molecule.vmc import VMC as VMC
    from ritz.molecule.wavefunction import LogPsi as LogPsi

"""Estimators of molecules: energies and their parts, forces, dipole moment, density and spin."""

from ritz.molecule.estimators.density import Density as Density
from ritz.molecule.estimators.dipole import Dipole as Dipole
from ritz.molecule.estimators.energy import TotalEnergy as TotalEnergy
from ritz.molecule.estimators.forces import Forces as Forces
from ritz.molecule.estimators.kinetic import Kinetic as Kinetic
from ritz.molecule.estimators.potential import Potential as Potential
from ritz.molecule.estimators.pseudopotential import (
    PseudopotentialEnergy as PseudopotentialEnergy,
)
from ritz.molecule.estimators.spin import SpinPenalty as SpinPenalty
from ritz.molecule.estimators.spin import SpinSquared as SpinSquared

"""Wave functions for lattices: flax modules that map configurations to log psi."""

from ritz.lattice.models.autoregressive import FixedSumARNN as FixedSumARNN
from ritz.lattice.models.mean_field import free_orbitals as free_orbitals
from ritz.lattice.models.mean_field import hartree_fock_orbitals as hartree_fock_orbitals
from ritz.lattice.models.pfaffian import Pfaffian as Pfaffian
from ritz.lattice.models.pfaffians import log_pfaffian as log_pfaffian
from ritz.lattice.models.slater_backflow import SlaterBackflow as SlaterBackflow

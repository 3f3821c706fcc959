"""Spins, bosons and fermions on lattices, on NetKet's spaces, operators, samplers and states."""

from ritz.lattice.interop import as_netket as as_netket
from ritz.lattice.operators import local_energies as local_energies
from ritz.lattice.operators import v_score as v_score
from ritz.lattice.vmc import VMC as VMC

"""Time evolution and fidelities of states of NetKet."""

from ritz.lattice.dynamics.infidelity import Infidelity as Infidelity
from ritz.lattice.dynamics.tableau import Tableau as Tableau
from ritz.lattice.dynamics.tdvp import TDVP as TDVP

"""Starts the processes of one run, by launchers of clusters or by hand.

Under `srun`, `mpirun` or `mpiexec`, `initialize()` finds out by itself how many processes there
are, which of them this one is and where they meet. Elsewhere that is given, by arguments or by
environment variables. It is called before anything else asks JAX for devices.
"""

from ritz.distributed.coordinates import Coordinates as Coordinates
from ritz.distributed.coordinates import find_coordinates as find_coordinates
from ritz.distributed.starting import initialize as initialize

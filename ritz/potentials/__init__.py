"""Potentials, and structures as padded arrays, for all domains of atoms."""

from ritz.potentials.atomic_graph import AtomicGraph as AtomicGraph
from ritz.potentials.committee import AbstractCommittee as AbstractCommittee
from ritz.potentials.committee import Spread as Spread
from ritz.potentials.pair_potentials import LennardJones as LennardJones
from ritz.potentials.pair_potentials import Morse as Morse
from ritz.potentials.pair_potentials import SoftSphere as SoftSphere
from ritz.potentials.potential import AbstractPotential as AbstractPotential
from ritz.potentials.potential import Potential as Potential
from ritz.potentials.sources import AbstractPotentialSource as AbstractPotentialSource
from ritz.potentials.sources import as_potential as as_potential
from ritz.potentials.sum_potential import SumPotential as SumPotential
from ritz.potentials.zbl import ZBL as ZBL

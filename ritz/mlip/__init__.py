"""Machine-learning interatomic potentials: descriptors, data sets, training."""

from ritz.mlip.chebyshev import ChebyshevDescriptor as ChebyshevDescriptor
from ritz.mlip.structure import Structure as Structure

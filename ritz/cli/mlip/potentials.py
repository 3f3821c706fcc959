"""The potentials that `ritz mlip` knows by name."""

from collections.abc import Sequence
from typing import Any

from ritz.mlip import (
    MACE,
    AbstractDescriptor,
    ACEDescriptor,
    ANNPotential,
    ChebyshevDescriptor,
    GraphPotential,
    PaiNN,
    Structure,
    SymmetryFunctions,
)


def chebyshev(
    species: Sequence[str],
    hidden: Sequence[Any] = ((40, "tanh"), (40, "tanh")),
    rad_order: int = 15,
    rad_cutoff: float = 6.0,
    ang_order: int = 6,
    ang_cutoff: float = 4.5,
    min_cutoff: float = 0.55,
) -> ANNPotential:
    """Networks of Chebyshev features.

    Args:
        species: Chemical symbols.
        hidden: The hidden layers of all networks: nodes and activation.
        rad_order: The highest radial order.
        rad_cutoff: Of the radial features, in Angstrom.
        ang_order: The highest angular order.
        ang_cutoff: Of the angular features, in Angstrom.
        min_cutoff: Neighbours closer than this, in Angstrom, are left out.
    """
    descriptor = ChebyshevDescriptor(
        species,
        rad_order=rad_order,
        rad_cutoff=rad_cutoff,
        ang_order=ang_order,
        ang_cutoff=ang_cutoff,
        min_cutoff=min_cutoff,
    )
    return ANNPotential({symbol: list(map(tuple, hidden)) for symbol in species}, descriptor)


def symmetry_functions(
    species: Sequence[str],
    hidden: Sequence[Any] = ((40, "tanh"), (40, "tanh")),
    r_c: float = 6.0,
    n_radial: int = 8,
    angular_r_c: float | None = 4.5,
    zetas: Sequence[float] = (1, 4, 16),
    cutoff_function: str = "cosine",
) -> ANNPotential:
    """Networks of the symmetry functions of Behler and Parrinello, on the usual grid.

    Args:
        species: Chemical symbols.
        hidden: The hidden layers of all networks: nodes and activation.
        r_c: The cutoff of G2, in Angstrom.
        n_radial: Number of G2 for each element of neighbours.
        angular_r_c: The cutoff of G4, in Angstrom; null takes r_c.
        zetas: Exponents of G4.
        cutoff_function: cosine or tanh3.
    """
    descriptor = SymmetryFunctions.on_grid(
        species, r_c, n_radial, angular_r_c, zetas, cutoff_function=cutoff_function
    )
    return ANNPotential({symbol: list(map(tuple, hidden)) for symbol in species}, descriptor)


def ace(
    species: Sequence[str],
    structures: Sequence[Structure],
    like: AbstractDescriptor | None = None,
    hidden: Sequence[Any] = ((40, "tanh"), (40, "tanh")),
    cutoff: float | None = None,
    degrees: Sequence[int] | str = "medium",
    nearest: float | None = None,
) -> ANNPotential:
    """Networks of the invariants of the atomic cluster expansion.

    Args:
        species: Chemical symbols.
        structures: Those that are trained on.
        like: The descriptor of the potential that training begins with, if there is one.
        hidden: The hidden layers of all networks: nodes and activation.
        cutoff: In Angstrom; null takes 5, or 2.1 usual distances of nearest neighbours if that is
            more.
        degrees: Largest total degrees of products of one, two, ... densities, up to four; or small,
            medium or large.
        nearest: A usual distance of nearest neighbours, in Angstrom; null takes that of the
            structures, or of the potential that training begins with.
    """
    if isinstance(like, ACEDescriptor):
        cutoff = like.cutoff if cutoff is None else cutoff
        nearest = like.nearest if nearest is None else nearest
    descriptor = ACEDescriptor.for_structures(structures, cutoff, degrees, nearest, species=species)
    return ANNPotential({symbol: list(map(tuple, hidden)) for symbol in species}, descriptor)


def painn(
    species: Sequence[str],
    cutoff: float = 5.0,
    n_features: int = 32,
    n_layers: int = 2,
    n_radial: int = 8,
) -> GraphPotential:
    """An equivariant message-passing network, see `PaiNN`.

    Args:
        species: Chemical symbols.
        cutoff: In Angstrom.
        n_features: Number of scalars, and of vectors, of an atom.
        n_layers: Number of times that messages are passed.
        n_radial: Number of functions of the distance.
    """
    return GraphPotential(PaiNN(cutoff, n_features, n_layers, n_radial), species)


def mace(
    species: Sequence[str],
    size: str = "small",
    cutoff: float = 5.0,
    n_channels: int | None = None,
    l_hidden: int | None = None,
    l_max: int | None = None,
    correlation: int | None = None,
    n_layers: int | None = None,
    n_radial: int | None = None,
    radial_hidden: Sequence[int] | None = None,
    readout_hidden: int | None = None,
    n_neighbors: float | None = None,
) -> GraphPotential:
    """An equivariant message-passing network of higher body order, see `MACE`.

    Args:
        species: Chemical symbols.
        size: small, medium or large; numbers that are null are those of the size.
        cutoff: In Angstrom.
        n_channels: Number of features of an atom for each component of a degree.
        l_hidden: Largest degree of features between layers.
        l_max: Largest degree of the harmonics of directions.
        correlation: Most sums over neighbours in a product.
        n_layers: Number of times that messages are passed.
        n_radial: Number of radial Bessel functions.
        radial_hidden: Nodes of the hidden layers of the network of the distance.
        readout_hidden: Nodes of the hidden layer before the energies.
        n_neighbors: Mean number of neighbours; null guesses it from the cutoff.
    """
    network = MACE(
        size,
        cutoff,
        n_channels=n_channels,
        l_hidden=l_hidden,
        l_max=l_max,
        correlation=correlation,
        n_layers=n_layers,
        n_radial=n_radial,
        radial_hidden=radial_hidden,
        readout_hidden=readout_hidden,
        n_neighbors=n_neighbors,
    )
    return GraphPotential(network, species)

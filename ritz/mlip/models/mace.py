"""An equivariant message-passing network with messages of higher body order."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

import jax
from jaxtyping import Array, Float, Key, PyTree

from ritz.checks import check_choice, check_count, check_positive
from ritz.driver.signatures import suggests_names
from ritz.mlip.data.structure import Structure, checked_species
from ritz.mlip.descriptors.pairs import find_pairs
from ritz.mlip.models.couplings import e3nn
from ritz.mlip.models.mace_network import MACENetwork
from ritz.potentials import AtomicGraph

_USUAL = {"correlation": 3, "n_layers": 2, "n_radial": 8, "readout_hidden": 16}

SIZES: dict[str, dict[str, Any]] = {
    "small": {"n_channels": 32, "l_hidden": 0, "l_max": 2, "radial_hidden": (32, 32), **_USUAL},
    "medium": {"n_channels": 64, "l_hidden": 1, "l_max": 3, "radial_hidden": (64, 64), **_USUAL},
    "large": {"n_channels": 128, "l_hidden": 2, "l_max": 3, "radial_hidden": (64,) * 3, **_USUAL},
}
"""Numbers of `MACE` by the name of the size."""

_LEAST = {"l_hidden": 0, "l_max": 0}
"""Smallest values of whole numbers; 1 where there is none here."""

_DENSITY = 0.05
"""Atoms per cubic Angstrom that `n_neighbors` is guessed from: that of silicon."""


@dataclasses.dataclass(frozen=True, init=False)
class MACE:
    """Message passing with the atomic cluster expansion (Batatia et al., arXiv 2206.07697).

    Atoms have features that turn with the structure as spherical harmonics of degree l do. In each
    layer, an atom sums what harmonics of the directions to its neighbours and features of those
    make, times functions of the distance from a network. Symmetric products of up to `correlation`
    such sums, coupled to features again with weights for each element, are its message. Energies
    are read from the scalars after each layer, added up, and scaled and shifted by element. They
    are dimensionless, of shape (n_atoms,), see `EnergyModule`.

    A number that is not given is that of the size:

    | size | channels | degrees of features | of harmonics | radial network |
    |---|---|---|---|---|
    | small | 32 | 0 | to 2 | 32, 32 |
    | medium | 64 | 0, 1 | to 3 | 64, 64 |
    | large | 128 | 0, 1, 2 | to 3 | 64, 64, 64 |

    All have two layers and a correlation of 3. Coefficients of couplings are those of e3nn-jax,
    which the extra `equivariant` installs.

    Args:
        size: "small", "medium" or "large".
        cutoff: Cutoff of the neighbours, in Angstrom; energies have two derivatives there.
        n_channels: Number of features of an atom for each component of a degree.
        l_hidden: Largest degree of the features that are passed between layers.
        l_max: Largest degree of the harmonics of directions, and of the sums.
        correlation: Most sums in a product; a layer has a body order of one more.
        n_layers: Number of message-passing layers.
        n_radial: Number of radial Bessel functions.
        radial_hidden: Nodes of the hidden layers of the network that takes those.
        readout_hidden: Nodes of the hidden layer before the energies of the last layer.
        n_neighbors: Number that sums over neighbours are divided by, see `mean_neighbors`; by
            default that at 0.05 atoms per cubic Angstrom.
        species: Chemical symbols; `GraphPotential` gives those that it has.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, or the size is unknown.
        ritz.extras.MissingExtra: If e3nn-jax is not installed.
    """

    cutoff: float
    n_channels: int
    l_hidden: int
    l_max: int
    correlation: int
    n_layers: int
    n_radial: int
    radial_hidden: tuple[int, ...]
    readout_hidden: int
    n_neighbors: float
    species: tuple[str, ...]

    @suggests_names
    def __init__(
        self,
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
        species: Sequence[str] = (),
    ):
        usual = SIZES[check_choice("size", size, tuple(SIZES))]
        given = {
            "n_channels": n_channels,
            "l_hidden": l_hidden,
            "l_max": l_max,
            "correlation": correlation,
            "n_layers": n_layers,
            "n_radial": n_radial,
            "readout_hidden": readout_hidden,
        }
        made: dict[str, Any] = {
            name: check_count(name, usual[name] if value is None else value, _LEAST.get(name, 1))
            for name, value in given.items()
        }
        made["radial_hidden"] = _widths(radial_hidden, usual["radial_hidden"])
        reach = made["cutoff"] = check_positive("cutoff", cutoff)
        guess = 4 / 3 * math.pi * reach**3 * _DENSITY
        made["n_neighbors"] = check_positive(
            "n_neighbors", guess if n_neighbors is None else n_neighbors
        )
        if made["l_hidden"] > made["l_max"]:
            raise ValueError(
                f"l_hidden must be at most l_max, {made['l_max']}, but {made['l_hidden']} was "
                "given."
            )
        made["species"] = checked_species(species) if len(species) else ()
        e3nn()
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def of_species(self, species: Sequence[str]) -> Self:
        """The network for these species, unless it has some already.

        Args:
            species: Chemical symbols.

        Raises:
            ValueError: If it has species, but not all of these.
        """
        if not self.species:
            fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
            return type(self)(**{**fields, "species": species})
        missing = sorted(set(species) - set(self.species))
        if missing:
            raise ValueError(
                f"the network is for {', '.join(self.species)}, not for {', '.join(missing)}; "
                "leave species out, and it takes those of the potential."
            )
        return self

    @property
    def network(self) -> MACENetwork:
        """The module of flax that `init` and `apply` call.

        Raises:
            ValueError: If it has no species yet.
        """
        if not self.species:
            raise ValueError("give the species: MACE(..., species=['Si']), or of_species(['Si']).")
        return MACENetwork(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    def init(self, key: Key[Array, ""], structure: AtomicGraph) -> PyTree:
        """Random parameters of the network."""
        return jax.jit(self.network.init)(key, structure)  # op by op it takes ten times as long

    def apply(self, params: PyTree, structure: AtomicGraph) -> Float[Array, " n_atoms"]:
        """An energy for each place of the structure, of the order of 1."""
        return self.network.apply(params, structure)  # type: ignore[return-value]


def mean_neighbors(structures: Iterable[Structure], cutoff: float) -> float:
    """Mean number of neighbours of an atom within a cutoff, as `MACE` takes it.

    Args:
        structures: Such as those to train on; each atom counts once.
        cutoff: In Angstrom.

    Raises:
        TypeError: If the cutoff is no number.
        ValueError: If it is not above zero, there is no structure, or no atom has a neighbour.
    """
    reach = check_positive("cutoff", cutoff)
    n_atoms = n_pairs = 0
    for structure in structures:
        n_atoms += len(structure)
        n_pairs += len(find_pairs(structure, reach)[0])
    if not n_pairs:
        raise ValueError(f"no atom has a neighbour within {reach:g} Angstrom.")
    return n_pairs / n_atoms


def _widths(given: Sequence[int] | None, usual: tuple[int, ...]) -> tuple[int, ...]:
    if given is None:
        return usual
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"radial_hidden are whole numbers, such as (16, 16), not {given!r}.")
    return tuple(check_count(f"radial_hidden[{k}]", one, 1) for k, one in enumerate(given))

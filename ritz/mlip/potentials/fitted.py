"""A trained potential as a pure function of a structure."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Array, Float, PyTree

from ritz.mlip.arrays import AnyArray
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.pairs import PairArrays, find_pairs
from ritz.mlip.models.abstract_model import AbstractModel, Normalisation
from ritz.potentials import AbstractPotential, AtomicGraph
from ritz.potentials.close_pairs import ONE_PLACE, ClosePair, closest_of
from ritz.potentials.committee import AbstractCommittee, Spread
from ritz.wording import counted

if TYPE_CHECKING:
    from ritz.mlip.potentials.base import AbstractMLIP


class FittedPotential(AbstractPotential):
    """A trained model as `ritz.relax` takes potentials: with total energies in eV.

    Args:
        model: What was trained.
        parameters: Its parameters.
        normalisation: The statistics of the training split.
        atomic_energies: By species, in eV; what is added for each atom.
        limits: How far apart atoms of each two species must be, in Angstrom; by default as far as
            the model takes pairs. Structures with closer atoms have no energy (NaN).
    """

    def __init__(
        self,
        model: AbstractModel,
        parameters: PyTree,
        normalisation: Normalisation,
        atomic_energies: Mapping[str, float],
        limits: Float[np.ndarray, "species species"] | None = None,
    ):
        if limits is None:
            limits = np.full((len(model.species), len(model.species)), model.min_distance)
        limits = np.maximum(limits, ONE_PLACE)
        self.params = {
            "networks": parameters,
            "normalisation": normalisation,
            "atomic_energies": jnp.array([atomic_energies.get(s, 0.0) for s in model.species]),
            "limits": jnp.asarray(limits),
        }
        self.cutoff = model.cutoff
        self.model = model

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that the model knows."""
        return self.model.species

    def least_distance(self, first: AnyArray, second: AnyArray) -> AnyArray:
        """The limits of the two species, in Angstrom, see `pair_limits`."""
        return pair_limit(self.model.species, self.params["limits"], first, second)

    def atomic_energies(self, params: PyTree, structure: AtomicGraph) -> Float[Array, " n_atoms"]:
        """The energy of each atom; NaN for species that the potential does not know."""
        return total_energies(self.model, params, structure)

    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        """The sum of the energies of the atoms."""
        return jnp.sum(self.atomic_energies(params, structure))


def total_energies(
    model: AbstractModel, params: PyTree, structure: AtomicGraph
) -> Float[Array, " n_atoms"]:
    """The energy of each atom, that of the free atom included; NaN for unknown species.

    Args:
        model: What was trained.
        params: As in `FittedPotential.params`.
        structure: The structure.
    """
    normalisation, dtype = params["normalisation"], structure.vectors.dtype
    kinds = jnp.asarray(_kinds_by_number(model.species))[structure.numbers]
    found = model.atomic_energies(params["networks"], normalisation, structure, kinds)
    free_atoms = params["atomic_energies"][kinds] + normalisation.e_shift
    total: Any = jnp.where(kinds < 0, jnp.nan, found + free_atoms)
    return jnp.asarray(jnp.where(structure.mask, total, 0), dtype)


def pair_limit(
    species: Sequence[str], limits: AnyArray, first: AnyArray, second: AnyArray
) -> AnyArray:
    """The limits of pairs by their atomic numbers; unknown species have that of the first one.

    Args:
        species: The chemical symbols that are known.
        limits: By two species, in Angstrom.
        first: Atomic numbers.
        second: The same of the other atoms.
    """
    kinds = np.maximum(_kinds_by_number(species), 0)
    if isinstance(first, np.ndarray):
        return np.asarray(limits)[kinds[first], kinds[second]]
    rows, found = limits[jnp.asarray(kinds)[first]], jnp.zeros((), limits.dtype)
    for kind, symbol in enumerate(species):  # compilers are faster at this than at look-ups
        found: Any = jnp.where(second == atomic_numbers[symbol], rows[..., kind], found)
    return found


def _kinds_by_number(species: Sequence[str]) -> np.ndarray:
    """The place of each species by its atomic number; -1 for those that are not known."""
    kinds = np.full(len(atomic_numbers), -1)
    kinds[[atomic_numbers[s] for s in species]] = range(len(species))
    return kinds


_logger = logging.getLogger(__name__)

_TOLD = 3
"""So many structures are named in a warning."""


class ClosePairs:
    """Searches the pairs of structures, and notes those that are too close.

    Args:
        potential: The potential that the pairs are for, see `AbstractMLIP`.
        structures: The structures.
    """

    def __init__(self, potential: "AbstractMLIP", structures: Sequence[Structure]):
        self._model, self._limits = potential.model, potential.limits
        self._structures = structures
        self.found: dict[int, ClosePair] = {}
        """The closest pair of each structure that has one, by its place."""

    def find(self, place: int, structure: Structure, cutoff: float) -> PairArrays:
        """`find_pairs`, as `Chunk` calls it."""
        first, second, shifts = find_pairs(structure, cutoff)
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        numbers = np.array([atomic_numbers[symbol] for symbol in structure.species])
        close = closest_of(
            first,
            second,
            np.sqrt(np.sum(vectors**2, axis=-1)),
            numbers,
            lambda a, b: pair_limit(self._model.species, self._limits, a, b),
        )
        if close is not None:
            self.found[place] = close
        return first, second, shifts

    def report(self, names: Sequence[str]) -> list[int]:
        """Warn of them, and return those whose energy is not known, since pairs were left out.

        Args:
            names: What the structures are called.
        """
        dropped = max(self._model.min_distance, ONE_PLACE)
        lost = [place for place, pair in self.found.items() if pair.distance < dropped]
        guessed = [place for place in self.found if place not in lost]
        self._warn(lost, names, "their energies are not known (NaN)")
        self._warn(guessed, names, "their energies are a guess")
        return lost

    def _warn(self, places: Sequence[int], names: Sequence[str], result: str) -> None:
        if not places:
            return
        told = [
            f"{names[n]}: {self.found[n].told(self._structures[n].species)}"
            for n in sorted(places)[:_TOLD]
        ]
        if len(places) > _TOLD:
            told.append(f"and {len(places) - _TOLD} more")
        _logger.warning(
            "Of %s atoms are closer than the potential can tell, so that %s. %s.",
            counted(len(places), "structure"),
            result,
            "; ".join(told),
        )


class FittedCommittee(AbstractCommittee):
    """The mean energy of several trained potentials of one form, as `ritz.relax` takes potentials.

    Args:
        members: The potentials.
        error_factors: See `AbstractCommittee.error_factors`; 1 by default.

    Raises:
        ValueError: If there is none, or they differ in more than their parameters.
    """

    def __init__(
        self, members: Sequence[FittedPotential], error_factors: tuple[float, float] = (1.0, 1.0)
    ):
        if not members:
            raise ValueError("a committee needs at least one member.")
        if any(other.model != members[0].model for other in members):
            raise ValueError(
                "the members of a committee must have one architecture and one descriptor."
            )
        self.params = {
            "members": jax.tree.map(
                lambda *leaves: jnp.stack([jnp.asarray(x, float) for x in leaves]),
                *[member.params for member in members],
            ),
            "error_factors": jnp.asarray(error_factors, float),
        }
        self.model = members[0].model
        self.cutoff = members[0].cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that the members know."""
        return self.model.species

    @property
    def members(self) -> FittedPotential:
        """All members as one potential, whose parameters have the member as their first axis."""
        stacked = object.__new__(FittedPotential)
        vars(stacked).update(self.static, params=self.params["members"])
        return stacked

    @property
    def error_factors(self) -> Spread:
        """The factors from the spread of energies and forces to their expected errors."""
        return Spread(*self.params["error_factors"])

    def least_distance(self, first: AnyArray, second: AnyArray) -> AnyArray:
        """The largest limit of any member."""
        limits = self.params["members"]["limits"].max(axis=0)
        return pair_limit(self.model.species, limits, first, second)

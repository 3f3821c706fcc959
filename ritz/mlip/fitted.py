"""A trained potential as a pure function of a structure."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol
from jaxtyping import Array, Float

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.normalisation import Normalisation
from ritz.potentials import AbstractPotential, Structure
from ritz.potentials.close_pairs import ONE_PLACE


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
        parameters: Any,
        normalisation: Normalisation,
        atomic_energies: Mapping[str, float],
        limits: Float[np.ndarray, "species species"] | None = None,
    ):
        if limits is None:
            limits = np.full((len(model.species), len(model.species)), model.least)
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
        """Those of the model."""
        return self.model.species

    def least_distance(self, first: Any, second: Any) -> Any:
        """The limits of the two species, see `ritz.mlip.least_distances.limits`."""
        return limit_of(self.model.species, self.params["limits"], first, second)

    def atomic_energies(self, params: Any, structure: Structure) -> Float[Array, " n_atoms"]:
        """The energy of each atom; NaN for species that the potential does not know."""
        return total_energies(self.model, params, structure)

    def __call__(self, params: Any, structure: Structure) -> Float[Array, ""]:
        """The sum of the energies of the atoms."""
        return jnp.sum(self.atomic_energies(params, structure))


def total_energies(
    model: AbstractModel, params: Any, structure: Structure
) -> Float[Array, " n_atoms"]:
    """The energy of each atom, that of the free atom included; NaN for unknown species.

    Args:
        model: What was trained.
        params: As in `FittedPotential.params`.
        structure: The structure.
    """
    normalisation, dtype = params["normalisation"], structure.vectors.dtype
    kinds = jnp.asarray(_kinds(model.species))[structure.numbers]
    found = model.atomic_energies(params["networks"], normalisation, structure, kinds)
    alone = params["atomic_energies"][kinds] + normalisation.e_shift
    total: Any = jnp.where(kinds < 0, jnp.nan, found + alone)
    return jnp.asarray(jnp.where(structure.mask, total, 0), dtype)


def limit_of(species: Sequence[str], limits: Any, first: Any, second: Any) -> Any:
    """The limits of pairs by their atomic numbers; unknown species have that of the first one.

    Args:
        species: The chemical symbols that are known.
        limits: By two species, in Angstrom.
        first: Atomic numbers.
        second: The same of the other atoms.
    """
    kinds = np.maximum(_kinds(species), 0)
    if isinstance(first, np.ndarray):
        return np.asarray(limits)[kinds[first], kinds[second]]
    rows, found = limits[jnp.asarray(kinds)[first]], jnp.zeros((), limits.dtype)
    for kind, symbol in enumerate(species):  # compilers are faster at this than at look-ups
        found: Any = jnp.where(second == numbers_by_symbol[symbol], rows[..., kind], found)
    return found


def _kinds(species: Sequence[str]) -> np.ndarray:
    """The place of each species by its atomic number; -1 for those that are not known."""
    kinds = np.full(len(numbers_by_symbol), -1)
    kinds[[numbers_by_symbol[s] for s in species]] = range(len(species))
    return kinds

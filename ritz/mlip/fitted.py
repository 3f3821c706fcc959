"""A trained potential as a pure function of a structure."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol
from jaxtyping import Array, Float

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.normalisation import Normalisation
from ritz.potentials import AbstractPotential, Structure


class FittedPotential(AbstractPotential):
    """A trained model as `ritz.relax` takes potentials: with total energies in eV.

    Args:
        model: What was trained.
        parameters: Its parameters.
        normalisation: The statistics of the training split.
        atomic_energies: By species, in eV; what is added for each atom.
    """

    def __init__(
        self,
        model: AbstractModel,
        parameters: Any,
        normalisation: Normalisation,
        atomic_energies: Mapping[str, float],
    ):
        self.params = {
            "networks": parameters,
            "normalisation": normalisation,
            "atomic_energies": jnp.array([atomic_energies.get(s, 0.0) for s in model.species]),
        }
        self.cutoff = model.cutoff
        self.model = model

    def atomic_energies(self, params: Any, structure: Structure) -> Float[Array, " n_atoms"]:
        """The energy of each atom; NaN for species that the potential does not know."""
        normalisation, dtype = params["normalisation"], structure.vectors.dtype
        known = np.full(len(numbers_by_symbol), -1)
        known[[numbers_by_symbol[s] for s in self.model.species]] = range(len(self.model.species))
        kinds = jnp.asarray(known)[structure.numbers]
        found = self.model.atomic_energies(params["networks"], normalisation, structure, kinds)
        alone = params["atomic_energies"][kinds] + normalisation.e_shift
        total: Any = jnp.where(kinds < 0, jnp.nan, found + alone)
        return jnp.asarray(jnp.where(structure.mask, total, 0), dtype)

    def __call__(self, params: Any, structure: Structure) -> Float[Array, ""]:
        """The sum of the energies of the atoms."""
        return jnp.sum(self.atomic_energies(params, structure))

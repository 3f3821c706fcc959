"""A trained potential as a pure function of a structure."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ritz.mlip.model import AtomicModel, Normalisation
from ritz.mlip.networks import Networks, evaluate_network
from ritz.potentials import AbstractPotential, Structure


class FittedPotential(AbstractPotential):
    """Networks of Chebyshev features, as `ritz.relax` takes potentials: with total energies in eV.

    Args:
        model: Architecture and descriptor.
        networks: The networks.
        normalisation: The statistics of the training split.
        atomic_energies: By species, in eV; what is added for each atom.
    """

    def __init__(
        self,
        model: AtomicModel,
        networks: Networks,
        normalisation: Normalisation,
        atomic_energies: Mapping[str, float],
    ):
        species = model.descriptor.species
        self.params = {
            "networks": networks,
            "normalisation": normalisation,
            "atomic_energies": jnp.array([atomic_energies.get(s, 0.0) for s in species]),
        }
        self.cutoff = model.descriptor.cutoff
        self.model = model

    def atomic_energies(self, params: Any, structure: Structure) -> Float[Array, " n_atoms"]:
        """The energy of each atom; NaN for species that the potential does not know."""
        descriptor, normalisation = self.model.descriptor, params["normalisation"]
        known = np.zeros(120, int) - 1
        known[list(descriptor.atomic_numbers)] = np.arange(len(descriptor.species))
        kinds = jnp.asarray(known)[structure.numbers]
        dtype = structure.vectors.dtype
        weights = descriptor.weights_of(kinds).astype(dtype)[structure.neighbors]
        features = descriptor.features(structure.vectors, structure.pairs, weights)
        features = normalisation.features(features).astype(dtype)
        total = jnp.where(kinds < 0, jnp.nan, 0).astype(dtype)
        for kind, (symbol, hidden) in enumerate(self.model.arch):
            output = evaluate_network(params["networks"][symbol], hidden, features)
            alone = params["atomic_energies"][kind] + normalisation.e_shift
            energy = output / normalisation.e_scaling + alone
            total = jnp.where(kinds == kind, energy, total)
        return jnp.where(structure.mask, total, 0)

    def __call__(self, params: Any, structure: Structure) -> Float[Array, ""]:
        """The sum of the energies of the atoms."""
        return jnp.sum(self.atomic_energies(params, structure))

"""A trained committee as a pure function of a structure."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ritz.mlip.potentials.fitted import FittedPotential, limit_of, total_energies
from ritz.potentials import AbstractPotential, AtomicGraph


class FittedCommittee(AbstractPotential):
    """The mean energy of several trained potentials of one form, as `ritz.relax` takes potentials.

    Args:
        members: The potentials.

    Raises:
        ValueError: If there is none, or they differ in more than their parameters.
    """

    def __init__(self, members: Sequence[FittedPotential]):
        if not members:
            raise ValueError("a committee needs at least one member.")
        if any(other.model != members[0].model for other in members):
            raise ValueError(
                "the members of a committee must have one architecture and one descriptor."
            )
        self.params = jax.tree.map(
            lambda *leaves: jnp.stack([jnp.asarray(x, float) for x in leaves]),
            *[member.params for member in members],
        )
        self.model = members[0].model
        self.cutoff = members[0].cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Those of the members."""
        return self.model.species

    def least_distance(self, first: Any, second: Any) -> Any:
        """The largest limit of any member."""
        limits = self.params["limits"].max(axis=0)
        return limit_of(self.model.species, limits, first, second)

    def __call__(self, params: Any, structure: AtomicGraph) -> Float[Array, ""]:
        """The mean of the members' energies."""
        each = jax.vmap(lambda own: total_energies(self.model, own, structure))(params)
        return jnp.mean(jnp.sum(each, axis=-1))

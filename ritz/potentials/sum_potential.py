"""Sums of potentials."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.potential import AbstractPotential
from ritz.potentials.sources import as_potential


class SumPotential(AbstractPotential):
    """The sum of the energies of several potentials, each with the neighbours within its cutoff.

    It knows the species that all of its parts know, and takes pairs as close as all of them do.

    Args:
        parts: Potentials, or what `as_potential` makes some of, such as trained ones.

    Raises:
        TypeError: If a part is no potential.
        ValueError: If there is no part, or no species that all parts know.
        RuntimeError: If a part was not trained.
    """

    @suggests_names
    def __init__(self, parts: Sequence[AbstractPotential | object]):
        made = [as_potential(part) for part in parts]
        if not made:
            raise ValueError("a sum of potentials needs at least one.")
        self.params = tuple(part.params for part in made)
        self.forms = tuple(jax.tree.structure(part) for part in made)
        """The parts without their parameters."""
        reaches = [part.cutoff for part in made if part.cutoff is not None]
        self.cutoff = max(reaches, default=None)
        if self.species == ():
            raise ValueError("the potentials of a sum must have a species in common.")

    @property
    def parts(self) -> tuple[AbstractPotential, ...]:
        """The potentials that are added up, with the present parameters."""
        return self._parts(self.params)

    def _parts(self, params: PyTree) -> tuple[AbstractPotential, ...]:
        made = zip(self.forms, params, strict=True)
        return tuple(form.unflatten(jax.tree.leaves(own)) for form, own in made)

    @property
    def species(self) -> tuple[str, ...] | None:
        """Chemical symbols that all parts know; None for all."""
        known = [part.species for part in self.parts if part.species is not None]
        if not known:
            return None
        return tuple(s for s in known[0] if all(s in listed for listed in known))

    @override
    def least_distance(
        self, first: np.ndarray | Array, second: np.ndarray | Array
    ) -> np.ndarray | Array | float:
        limits = [part.least_distance(first, second) for part in self.parts]
        larger = np.maximum if isinstance(first, np.ndarray) else jnp.maximum
        found = limits[0]
        for limit in limits[1:]:
            found = larger(found, limit)
        return found

    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        """The sum of the energies, in eV."""
        squared = structure.squared_distances()
        total: Array | float = 0.0
        for part in self._parts(params):
            seen = structure
            if part.cutoff is not None and self.cutoff is not None and part.cutoff < self.cutoff:
                seen = structure._replace(pairs=structure.pairs & (squared < part.cutoff**2))
            total = total + part(part.params, seen)
        return jnp.asarray(total)

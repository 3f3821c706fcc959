"""Marshall's sign rule as part of a wave function."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Shaped
from netket.graph import AbstractGraph
from netket.utils import HashableArray

from ritz.lattice.models.wrapper import Wrapper


class MarshallSign(Wrapper):
    """(-1)^(number of down spins on a sublattice) psi(x): the signs of a bipartite antiferromagnet.

    Its parameters are those of `model`, name by name. It does the same as `sign_rule` of NetKet's
    Heisenberg model, but leaves the Hamiltonian, and all other operators, as they are.
    (Marshall, Proc. R. Soc. A 232, 48 (1955).)

    Raises:
        ValueError: If the graph has no two sublattices.
    """

    sublattice: Any
    """The sites of one of the two sublattices: an array of bools, or a graph, of which the two are
    found."""

    def __post_init__(self) -> None:
        given = self.sublattice
        if isinstance(given, AbstractGraph):
            given = _sublattice(given)
        if not isinstance(given, HashableArray):
            given = HashableArray(np.asarray(given, bool))
        object.__setattr__(self, "sublattice", given)
        super().__post_init__()

    def __call__(self, x: Shaped[Array, "*batch n_sites"]) -> Complex[Array, "*batch"]:
        """Log psi with the sign as an imaginary part 0 or pi."""
        chosen: Any = np.asarray(self.sublattice.wrapped)
        if chosen.shape != x.shape[-1:]:
            raise ValueError(
                f"sublattice must be a bool for each of the {x.shape[-1]} sites, but its shape is "
                f"{chosen.shape}."
            )
        odd = jnp.sum((x < 0) & chosen, axis=-1) % 2
        log_psi = self.model(x)
        return log_psi + 1j * np.pi * odd.astype(log_psi.real.dtype)


def _sublattice(graph: AbstractGraph) -> np.ndarray:
    """The sites at an odd distance from the first site of their part of a graph."""
    neighbours = graph.adjacency_list()
    colours = np.full(graph.n_nodes, -1)
    for first in range(graph.n_nodes):
        waiting = [first] if colours[first] < 0 else []
        colours[waiting] = 0
        while waiting:
            site = waiting.pop()
            for other in neighbours[site]:
                if colours[other] < 0:
                    colours[other] = 1 - colours[site]
                    waiting.append(other)
                elif colours[other] == colours[site]:
                    raise ValueError(
                        f"{graph} has no two sublattices between which all edges lie; give the "
                        "sites of one, an array of bools."
                    )
    return colours == 1

"""An operator of fermions that hop along bonds and interact by their densities."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Num
from netket.graph import AbstractGraph
from netket.hilbert import SpinOrbitalFermions
from netket.operator import DiscreteJaxOperator
from netket.utils import struct
from typing_extensions import override


@struct.dataclass
class HoppingOperator(DiscreteJaxOperator):
    """Hops and densities: sum over bonds (t_ij c_i^+ c_j + h.c.) + sum_ij W_ij n_i n_j.

    Modes are the sites for the first spin, then those for the next; the sign of a hop is that of
    Jordan and Wigner in this order, as in `netket.operator.FermionOperator2ndJax`, of which this
    has half the connected configurations: one for each bond. Its tables are made at once, where
    those of `ParticleNumberAndSpinConservingFermioperator2nd` take half a minute.

    Made by `hopping_operator`.
    """

    _hilbert: SpinOrbitalFermions = struct.field(pytree_node=False)
    bonds: tuple[tuple[int, int], ...] = struct.field(pytree_node=False)
    """Modes i < j."""
    hopping: Inexact[Array, " n_bonds"] = struct.field()
    density: Float[Array, "size size"] = struct.field()
    """W; on its diagonal are the energies of single modes."""

    def __hash__(self) -> int:
        return hash((self.hilbert, self.bonds, self._bytes))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HoppingOperator)
            and (self.hilbert, self.bonds) == (other.hilbert, other.bonds)
            and self._bytes == other._bytes
        )

    @property
    def _bytes(self) -> tuple[bytes, bytes]:
        return np.asarray(self.hopping).tobytes(), np.asarray(self.density).tobytes()

    def __repr__(self) -> str:
        return f"HoppingOperator({self.hilbert}, {len(self.bonds)} bonds)"

    @property
    def dtype(self) -> Any:
        """Type of the matrix elements."""
        return jnp.result_type(self.hopping, self.density)

    @property
    @override
    def is_hermitian(self) -> bool:
        return True

    @property
    def max_conn_size(self) -> int:
        """Number of connected configurations, those without a matrix element included."""
        return 1 + len(self.bonds)

    @override
    def get_conn_padded(
        self, x: Num[Array, "*batch size"]
    ) -> tuple[Num[Array, "*batch k size"], Inexact[Array, "*batch k"]]:
        x = jnp.asarray(x)
        occupied = x.astype(self.density.dtype)
        diagonal = jnp.sum((occupied @ self.density) * occupied, axis=-1)
        diagonal = diagonal[..., None].astype(self.dtype)
        if not self.bonds:
            return x[..., None, :], diagonal
        i, j = np.array(self.bonds).T
        source = np.tile(np.arange(x.shape[-1]), (len(i), 1))
        source[np.arange(len(i)), i], source[np.arange(len(i)), j] = j, i
        below = jnp.cumsum(x > 0.5, axis=-1)
        between = below[..., j - 1] - below[..., i]
        there, here = x[..., i] > 0.5, x[..., j] > 0.5
        amplitude = jnp.where(there, self.hopping, jnp.conj(self.hopping))
        signed = jnp.where(between % 2 == 1, -amplitude, amplitude)
        hops = jnp.where(there != here, signed, 0).astype(self.dtype)
        connected = jnp.concatenate([x[..., None, :], x[..., source]], axis=-2)
        return connected, jnp.concatenate([diagonal, hops], axis=-1)


def hopping_operator(
    hilbert: SpinOrbitalFermions,
    bonds: Sequence[tuple[int, int]],
    hopping: Num[Any, " n_bonds"] | complex,
    density: Num[Any, "size size"] | None = None,
) -> HoppingOperator:
    """The operator sum over bonds (t_ij c_i^+ c_j + h.c.) + sum_ij W_ij n_i n_j.

    Args:
        hilbert: The space.
        bonds: Pairs of different modes (i, j).
        hopping: t, for all bonds or each; with the sign that it has in the Hamiltonian.
        density: W, real; none by default.

    Raises:
        ValueError: If a bond has one mode twice or modes that the space does not have, or
            `density` is not of shape (size, size).
    """
    size = hilbert.size
    for i, j in bonds:
        if i == j or not {i, j} <= set(range(size)):
            raise ValueError(
                f"bonds are pairs of different modes, from 0 to {size - 1}, not ({i}, {j})."
            )
    matrix = np.zeros((size, size)) if density is None else np.asarray(density, float)
    if matrix.shape != (size, size):
        raise ValueError(f"density must have the shape {(size, size)}, not {matrix.shape}.")
    given = np.broadcast_to(np.asarray(hopping), len(bonds))
    given = given.astype(complex if np.iscomplexobj(given) else float)
    ordered = tuple((int(min(bond)), int(max(bond))) for bond in bonds)
    turned = [i > j for i, j in bonds]
    return HoppingOperator(
        hilbert, ordered, jnp.asarray(np.where(turned, np.conj(given), given)), jnp.asarray(matrix)
    )


def edges_of(graph: AbstractGraph) -> list[tuple[int, int]]:
    """The pairs of sites of a graph that have an edge."""
    return [(int(edge[0]), int(edge[1])) for edge in graph.edges()]


def hopping_matrix(graph: AbstractGraph, hopping: float) -> Float[np.ndarray, "n_sites n_sites"]:
    """The Hamiltonian -t sum over edges (|i><j| + |j><i|) of one particle."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    for i, j in edges_of(graph):
        matrix[i, j] -= hopping
        matrix[j, i] -= hopping
    return matrix

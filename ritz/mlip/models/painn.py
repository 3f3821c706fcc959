"""An equivariant message-passing network."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.descriptors.basis_functions import cosine_cutoff
from ritz.potentials import AtomicGraph


class PaiNN(nn.Module):
    """The polarisable atom interaction network (Schütt, Unke and Gastegger, arXiv 2102.03150).

    Atoms have scalar features and vector ones, which turn with the structure. In each layer they
    get messages from their neighbours, through functions of the distance in a basis of
    sin(n pi d / cutoff) / d, and mix the two. The basis is summed over neighbours before it is
    mixed with weights, so that no filter is computed for every pair.
    """

    cutoff: float = 5.0
    """Cutoff of the neighbours, in Angstrom."""
    n_features: int = 32
    """Number of scalar and of vector features of an atom."""
    n_layers: int = 2
    """Number of message-passing layers."""
    n_radial: int = 8
    """Number of radial basis functions."""

    @nn.compact
    def __call__(self, structure: AtomicGraph) -> Float[Array, " n_atoms"]:
        """An energy for each atom."""
        n = self.n_features
        squares = structure.squared_distances()
        distances = jnp.sqrt(squares)
        units = jnp.where(structure.pairs[..., None], structure.vectors, 0) / distances[..., None]
        radial = self._radial(distances, structure.pairs)
        directed = (radial[..., None] * units[..., None, :]).reshape(*radial.shape[:-1], -1)
        scalars = nn.Embed(120, n)(structure.numbers).astype(radial.dtype)
        vectors: Array | None = None
        for layer in range(self.n_layers):
            scalars, vectors = self._messages(
                f"message_{layer}",
                scalars,
                vectors,
                radial=radial,
                directed=directed,
                neighbors=structure.neighbors,
            )
            scalars, vectors = self._mixed(f"mix_{layer}", scalars, vectors)
        hidden = nn.silu(nn.Dense(n // 2)(scalars))
        return nn.Dense(1)(hidden)[..., 0]

    def _radial(
        self, distances: Float[Array, "atoms n_neighbors"], pairs: Bool[Array, "atoms n_neighbors"]
    ) -> Float[Array, "atoms n_neighbors n_basis"]:
        """The radial basis with a constant, times the envelope."""
        orders = jnp.arange(1, self.n_radial + 1) * jnp.pi / self.cutoff
        waves = jnp.sin(distances[..., None] * orders) / distances[..., None]
        basis = jnp.concatenate([jnp.ones_like(waves[..., :1]), waves], axis=-1)
        envelope: Any = jnp.where(pairs, cosine_cutoff(distances, self.cutoff), 0)
        return (basis * envelope[..., None]).astype(distances.dtype)

    def _messages(
        self,
        name: str,
        scalars: Float[Array, "atoms n_features"],
        vectors: Float[Array, "atoms 3 n_features"] | None,
        radial: Float[Array, "atoms n_neighbors n_basis"],
        directed: Float[Array, "atoms n_neighbors 3*n_basis"],
        neighbors: Int[Array, "atoms n_neighbors"],
    ) -> tuple[Array, Array]:
        """Features after a sum over neighbours."""
        n, n_basis = self.n_features, radial.shape[-1]
        hidden = nn.silu(nn.Dense(n, name=f"{name}_in")(scalars))
        sent = nn.Dense(3 * n, name=f"{name}_out")(hidden)
        filters = self.param(
            f"{name}_filters", nn.initializers.lecun_normal(), (n_basis, 3 * n)
        ).astype(scalars.dtype)
        plain, turned, passed = (slice(i * n, (i + 1) * n) for i in range(3))
        around = sent[:, : 2 * n][neighbors]
        sums = jnp.einsum("akb,akf->abf", radial, around[..., plain])
        scalars = scalars + jnp.einsum("abf,bf->af", sums, filters[:, plain])
        sums = jnp.einsum("akb,akf->abf", directed, around[..., turned])
        sums = sums.reshape(len(scalars), n_basis, 3, n)
        found = jnp.einsum("abxf,bf->axf", sums, filters[:, turned])
        if vectors is not None:
            carried = (vectors * sent[:, None, passed]).reshape(len(scalars), -1)
            sums = jnp.einsum("akb,akf->abf", radial, carried[neighbors])
            sums = sums.reshape(len(scalars), n_basis, 3, n)
            found += vectors + jnp.einsum("abxf,bf->axf", sums, filters[:, passed])
        return scalars, found

    def _mixed(
        self,
        name: str,
        scalars: Float[Array, "atoms n_features"],
        vectors: Float[Array, "atoms 3 n_features"],
    ) -> tuple[Array, Array]:
        """Features after scalars and vectors of each atom have acted on each other."""
        n = self.n_features
        first = nn.Dense(n, use_bias=False, name=f"{name}_first")(vectors)
        second = nn.Dense(n, use_bias=False, name=f"{name}_second")(vectors)
        lengths = jnp.sqrt(jnp.sum(second**2, axis=1) + 1e-8)
        hidden = jnp.concatenate([scalars, lengths], axis=-1)
        hidden = nn.silu(nn.Dense(n, name=f"{name}_in")(hidden))
        scale, overlap, shift = jnp.split(nn.Dense(3 * n, name=f"{name}_out")(hidden), 3, axis=-1)
        scalars = scalars + shift + overlap * jnp.sum(first * second, axis=1)
        return scalars, vectors + scale[:, None] * first

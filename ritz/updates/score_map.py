"""The scores as a linear map, from the inputs and slopes of linear layers where that is cheaper.

The score of a sample by a kernel is a sum of R outer products a_r g_r^T. A product of two
samples' scores then costs about R^2 (n_inputs + n_outputs) / 2 operations, not n_inputs n_outputs,
and the scores are never stored. (That per-sample gradients of dense layers have this form is used
by Goodfellow, arXiv 1510.01799, for their norms.)
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PyTree

from ritz.full_precision import in_full_precision
from ritz.updates.chunks import mapped
from ritz.updates.claimed_mode import LogPsi
from ritz.updates.derivatives import LayerDerivatives, other_places
from ritz.updates.gram import gram, materialised
from ritz.updates.layers import Layer, linear_layers, of_sample
from ritz.updates.realify import realify
from ritz.updates.scores import centred_rows, convolutions, sample_rows

_PRODUCT = 64
"""What a product entry by entry costs, as a length of the rows of a product of matrices."""

Rows = Inexact[Array, "n_rows n_parameters"]


class DenseScores(NamedTuple):
    """Scores as a matrix."""

    rows: Rows

    def gram(self) -> Inexact[Array, "n_rows n_rows"]:
        """The Gram matrix O O^+ of the scores: products of the rows of each pair of samples."""
        return materialised(gram(self.rows))  # else XLA multiplies in the precision of what follows

    def times(self, vector: Inexact[Array, " n_parameters"]) -> Inexact[Array, " n_rows"]:
        """The product O v: how log psi of each sample changes along a direction v."""
        return self.rows @ vector.astype(self.rows.dtype)

    def adjoint_times(self, vector: Inexact[Array, " n_rows"]) -> Inexact[Array, " n_parameters"]:
        """The product O^+ x: the sum of the scores of all samples, weighted by x."""
        # The same as rows.conj().T @ vector, which walks through memory across the rows.
        return jnp.conj(jnp.conj(vector.astype(self.rows.dtype)) @ self.rows)


class Factors(NamedTuple):
    """What the scores of a linear layer are made of."""

    inputs: Inexact[Array, "n_uses n_samples n_inputs"]
    """a_r, with a one at the end if there is a bias."""
    slopes: Inexact[Array, "n_uses n_rows n_outputs"]
    """g_r, the derivative of log psi by the output, times the root of the probability."""

    @property
    def n_parts(self) -> int:
        """Number of rows for each sample."""
        return self.slopes.shape[1] // self.inputs.shape[1]

    @in_full_precision
    def gram(self) -> Inexact[Array, "n_rows n_rows"]:
        """sum_rs (a_r a_s^+) (g_r g_s^+), entry by entry."""
        n_uses, n_rows = self.slopes.shape[:2]
        if n_uses == 1:
            return self._tiled(gram(self.inputs[0])) * gram(self.slopes[0])
        pairs = itertools.combinations_with_replacement(range(n_uses), 2)
        first, second = np.array(list(pairs), np.int32).T
        weights = np.where(first == second, 0.5, 1.0).astype(self.slopes.real.dtype)

        # Half of the sum, in a loop, as XLA would compute the products of an unrolled sum again
        # for its transpose.
        def body(total: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, None]:
            r, s, weight = pair
            of_inputs = self.inputs[r] @ self.inputs[s].conj().T
            of_slopes = (weight * self.slopes[r]) @ self.slopes[s].conj().T
            return total + self._tiled(of_inputs) * of_slopes, None

        empty = jnp.zeros((n_rows, n_rows), self.slopes.dtype)
        over = jnp.asarray(first), jnp.asarray(second), jnp.asarray(weights)
        half, _ = jax.lax.scan(body, empty, over)
        return half + half.conj().T

    def _tiled(self, of_samples: Array) -> Array:
        k = self.n_parts
        return of_samples if k == 1 else jnp.tile(of_samples, (k, k))

    @in_full_precision
    def times(self, kernel: Inexact[Array, "n_inputs n_outputs"]) -> Inexact[Array, " n_rows"]:
        """sum_r a_r^T V g_r."""
        found = jnp.tile(self.inputs @ kernel.astype(self.inputs.dtype), (1, self.n_parts, 1))
        return jnp.sum(found * self.slopes, axis=(0, 2))

    @in_full_precision
    def adjoint_times(
        self, vector: Inexact[Array, " n_rows"]
    ) -> Inexact[Array, "n_inputs n_outputs"]:
        """sum_nr x_n conj(a_nr g_nr^T)."""
        weighted = vector.astype(self.slopes.dtype)[:, None] * self.slopes.conj()
        inputs = jnp.tile(self.inputs, (1, self.n_parts, 1)).conj()
        return jnp.einsum("rna,rnb->ab", inputs, weighted)


class FactoredScores(NamedTuple):
    """Scores of which those of some layers are factors; see `DenseScores` for the methods."""

    params: PyTree
    mode: str
    layers: tuple[Layer, ...]
    factors: tuple[Factors, ...]
    rest: DenseScores
    """By all other parameters, centred."""
    roots: Float[Array, " n_samples"]
    """Root of each sample's probability."""

    def _centred(self, rows: Inexact[Array, "n_rows ..."]) -> Array:
        """Rows less what their mean over samples adds to them."""
        roots = removed_by_centring(self.roots, rows)
        return rows - roots @ (roots.T @ rows)

    def gram(self) -> Inexact[Array, "n_rows n_rows"]:
        """The Gram matrix O O^+ of the scores: products of the rows of each pair of samples."""
        total = materialised(sum(factors.gram() for factors in self.factors) + self.rest.gram())
        roots = removed_by_centring(self.roots, total)
        of_means = roots.T @ total
        half = of_means - (of_means @ roots) @ roots.T / 2
        return materialised(total - roots @ half - half.conj().T @ roots.T)

    def times(self, vector: Inexact[Array, " n_parameters"]) -> Inexact[Array, " n_rows"]:
        """The product O v: how log psi of each sample changes along a direction v."""
        form = realify(self.params, self.mode)
        leaves = jax.tree.leaves(form.restore(vector.astype(self._dtype)))
        found: Any = 0
        for layer, factors in zip(self.layers, self.factors, strict=True):
            found = found + factors.times(layer.matrix(leaves))
        rest = [leaves[place] for place in other_places(self.layers, leaves)]
        return self._centred(found) + self.rest.times(realify(rest, self.mode).flatten(rest))

    def adjoint_times(self, vector: Inexact[Array, " n_rows"]) -> Inexact[Array, " n_parameters"]:
        """The product O^+ x: the sum of the scores of all samples, weighted by x."""
        leaves, structure = jax.tree.flatten(self.params)
        centred = self._centred(vector)
        for layer, factors in zip(self.layers, self.factors, strict=True):
            layer.put(leaves, factors.adjoint_times(centred))
        places = other_places(self.layers, leaves)
        rest = [leaves[place] for place in places]
        new = realify(rest, self.mode).restore(
            self.rest.adjoint_times(vector).astype(realify(rest, self.mode).flatten(rest).dtype)
        )
        for place, leaf in zip(places, new, strict=True):
            leaves[place] = leaf
        return realify(self.params, self.mode).flatten(jax.tree.unflatten(structure, leaves))

    @property
    def _dtype(self) -> Any:
        return jax.eval_shape(realify(self.params, self.mode).flatten, self.params).dtype


def removed_by_centring(
    roots: Float[Array, " n_samples"], rows: Inexact[Array, "n_rows ..."]
) -> Float[Array, "n_rows n_parts"]:
    """Orthonormal directions that centring removes from rows.

    Args:
        roots: Root of each sample's probability.
        rows: Rows of all samples, once or, in the mode "complex", twice.
    """
    parts = jnp.eye(len(rows) // len(roots), dtype=rows.real.dtype)
    return jnp.kron(parts, roots.astype(rows.real.dtype)[:, None])


ScoreMap = DenseScores | FactoredScores


def worthwhile(layer: Layer, n_uses: int) -> bool:
    """Whether a product of two samples' scores is cheaper by factors."""
    n_pairs = n_uses * (n_uses + 1) // 2
    by_factors = n_pairs * (layer.n_rows + layer.n_outputs + _PRODUCT)
    return by_factors < layer.n_rows * layer.n_outputs


def factored_layers(
    log_psi: LogPsi, params: PyTree, samples: PyTree, mode: str
) -> tuple[Layer, ...]:
    """The layers of which scores are cheaper as factors.

    Args:
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        samples: First axis n_samples.
        mode: See `Problem`. In "complex", layers with complex parameters are left out.
    """
    is_complex = [jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)]
    sample = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), samples)
    found = linear_layers(of_sample(log_psi), params, sample, worthwhile=worthwhile)
    right = mode == "holomorphic"
    return tuple(one for one in found if all(is_complex[k] == right for k in one.leaves))


def factored_scores(
    log_psi: LogPsi,
    params: PyTree,
    samples: PyTree,
    probabilities: Array | float,
    mode: str,
    layers: tuple[Layer, ...],
    chunk_size: int | None = None,
) -> FactoredScores:
    """The centred derivatives of log psi times sqrt(probability), by `layers` as factors.

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: The parameters.
        samples: First axis n_samples.
        probabilities: Shape (n_samples,), or one number for all.
        mode: "real", "complex" or "holomorphic".
        layers: From `factored_layers`.
        chunk_size: Number of samples differentiated at once; None for all.
    """
    summed = [one for one in convolutions(log_psi, params, samples) if one not in layers]

    def one(sample: PyTree) -> tuple[Array, list[LayerDerivatives]]:
        return sample_rows(log_psi, params, sample, mode=mode, summed=summed, factored=layers)

    n_samples = len(jax.tree.leaves(samples)[0])
    weights = jnp.broadcast_to(jnp.asarray(probabilities), (n_samples,))
    rows, of_layers = mapped(one, samples, chunk_size)
    roots = jnp.sqrt(weights)

    def by_use(found: LayerDerivatives) -> Factors:
        slopes = found.slopes.transpose(2, 1, 0, 3) * roots.astype(found.slopes.dtype)[:, None]
        return Factors(
            materialised(found.inputs.swapaxes(0, 1)),
            materialised(slopes.reshape(len(slopes), -1, slopes.shape[-1])),
        )

    return FactoredScores(
        params=params,
        mode=mode,
        layers=layers,
        factors=tuple(map(by_use, of_layers)),
        rest=DenseScores(centred_rows(rows, weights)),
        roots=roots,
    )

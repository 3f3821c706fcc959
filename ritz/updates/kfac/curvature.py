"""The curvature of each block, and the gradient, from the derivatives of all samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from ritz.full_precision import in_full_precision
from ritz.updates.chunks import add_trees, over_samples
from ritz.updates.claimed_mode import LogPsi
from ritz.updates.derivatives import LayerDerivatives, sample_derivatives
from ritz.updates.kfac.blocks import DIAGONAL, Blocks
from ritz.updates.problem import Problem

Curvature = tuple[Array, ...]
"""Of a Kronecker block the matrices A and G and, if it is centred, the means of inputs and slopes;
of an exact block the matrix; of a diagonal block the diagonal."""


class Moments(NamedTuple):
    """Moments of vectors over weighted samples."""

    mean: Inexact[Array, "... n"]
    """Sums of weight times vector; leading axes are parts and uses."""
    second: Inexact[Array, "..."]
    """Sums of conj(v) v^T for v less their mean, shape (n, n), or of |v|^2, shape (n,)."""


class LayerSums(NamedTuple):
    """Sums over samples of weight times what belongs to a layer."""

    inputs: Inexact[Array, "n_rows n_rows"]
    """Mean over uses of conj(a) a^T."""
    slopes: Inexact[Array, "n_outputs n_outputs"]
    """Sum over uses and parts of log psi of conj(g) g^T."""
    mean_input: Inexact[Array, " n_rows"]
    """Mean over uses of conj(a)."""
    mean_slope: Inexact[Array, "n_parts n_outputs"]
    """Sum over uses of conj(g), divided by the root of their number."""
    gradient: Inexact[Array, "n_rows n_outputs"]
    """Of the loss, by the matrix of the layer."""


class RowSums(NamedTuple):
    """Sums over samples of weight times what belongs to an exact or a diagonal block."""

    moments: Moments
    """Of the scores."""
    gradient: Inexact[Array, " n"]
    """Of the loss, by the vector of the block's parameters."""


class Sums(NamedTuple):
    """Sums over weighted samples for all blocks, in their order."""

    weight: Float[Array, ""]
    blocks: tuple[LayerSums | RowSums, ...]


def curvature_and_gradient(
    problem: Problem, blocks: Blocks, *, centred: bool, sharing: str
) -> tuple[tuple[Curvature, ...], tuple[Array, ...]]:
    """The curvature of each block, and the gradient of the loss by its parameters.

    Args:
        problem: The problem.
        blocks: From `blocks_of`.
        centred: See `KFAC`.
        sharing: "expand" or "reduce", see `KFAC`.

    Returns:
        For each block its curvature; and the gradient, as the matrix of a layer, or as a vector in
        the form of `realify`.
    """
    n = problem.n_samples
    weights = jnp.broadcast_to(jnp.asarray(problem.probabilities), (n,))
    of_parts = problem.residuals.reshape(-1, n) * jnp.sqrt(weights)
    params = problem.params
    dtype = jnp.result_type(*[leaf.real.dtype for leaf in jax.tree.leaves(params)])
    weights = weights.astype(dtype)
    layers = [block.layer for block in blocks if block.layer is not None]
    groups = [block.places for block in blocks if block.layer is None]

    @in_full_precision
    def of_chunk(
        given: tuple[LogPsi, PyTree], samples: PyTree, weights: Array, residuals: Array
    ) -> Sums:
        def one(sample: PyTree) -> Any:
            return sample_derivatives(
                *given, sample, mode=problem.mode, layers=layers, groups=groups
            )

        rows, of_layers = (iter(found) for found in jax.vmap(one)(samples))
        found = []
        for block in blocks:
            if block.layer is None:
                found.append(_of_rows(next(rows), weights, residuals, block.kind == DIAGONAL))
            else:
                found.append(_of_layer(next(of_layers), weights, residuals, sharing))
        return Sums(jnp.sum(weights), tuple(found))

    given, arrays = (problem.log_psi, params), (problem.samples, weights, of_parts.T)
    sums = over_samples(
        problem.division, of_chunk, given, arrays, problem.chunk_size, _joined, _over_devices
    )
    found = [_curvature(one, centred, problem.mode) for one in sums.blocks]
    return tuple(found), tuple(one.gradient for one in sums.blocks)


def _of_rows(
    rows: Inexact[Array, "n n_parts k"],
    weights: Float[Array, " n"],
    residuals: Inexact[Array, "n n_parts"],
    diagonal: bool,
) -> RowSums:
    """Sums of the scores of an exact or a diagonal block."""
    number = rows.dtype
    gradient = jnp.einsum("npk,np->k", rows.conj(), residuals.astype(number))
    return RowSums(_moments(rows, weights, diagonal), gradient)


def _of_layer(
    found: LayerDerivatives,
    weights: Float[Array, " n"],
    residuals: Inexact[Array, "n n_parts"],
    sharing: str,
) -> LayerSums:
    """Sums of inputs and slopes of a layer.

    Inputs have the shape (n, n_uses, n_rows), slopes (n, n_parts, n_uses, n_outputs).
    """
    a, g = found
    n_uses = a.shape[1]
    # conj(sum conj(r) a g^T), with both factors as matrices over samples and uses.
    turned = jnp.einsum("npro,np->nro", g, residuals.conj().astype(g.dtype))
    gradient = (_flat(a).T @ _flat(turned)).conj()
    if sharing == "reduce":
        a, g, n_uses = jnp.mean(a, axis=1, keepdims=True), jnp.sum(g, axis=2, keepdims=True), 1
    roots = jnp.sqrt(weights).astype(a.dtype)
    inputs, slopes = _flat(a * roots[:, None, None]), _flat(g * roots[:, None, None, None])
    of_samples = weights.astype(a.dtype)
    return LayerSums(
        inputs=inputs.conj().T @ inputs / n_uses,
        slopes=slopes.conj().T @ slopes,
        mean_input=(of_samples @ jnp.mean(a, axis=1)).conj(),
        mean_slope=jnp.einsum("n,npro->po", of_samples, g).conj() / n_uses**0.5,
        gradient=gradient,
    )


def _flat(array: Inexact[Array, "... k"]) -> Inexact[Array, "m k"]:
    return array.reshape(-1, array.shape[-1])


def _moments(
    vectors: Inexact[Array, "n ... k"], weights: Float[Array, " n"], diagonal: bool
) -> Moments:
    weight = jnp.sum(weights)
    mean = jnp.einsum("n,n...->...", weights.astype(vectors.dtype), vectors)
    away = vectors - mean / jnp.where(weight > 0, weight, 1)
    scaled = away * jnp.sqrt(weights).reshape(-1, *[1] * (vectors.ndim - 1)).astype(vectors.dtype)
    return Moments(mean, _second(_flat(scaled), diagonal))


def _second(rows: Inexact[Array, "m k"], diagonal: bool) -> Array:
    """Sum of conj(v) v^T over rows v, or its diagonal."""
    return jnp.sum(jnp.abs(rows) ** 2, axis=0) if diagonal else rows.conj().T @ rows


def _joined(first: Sums, other: Sums) -> Sums:
    """The sums over two chunks (Chan, Golub and LeVeque 1979 for their variances)."""
    w1, w2 = first.weight, other.weight
    total = w1 + w2
    both = jnp.where((w1 > 0) & (w2 > 0), w1 * w2 / jnp.where(total > 0, total, 1), 0)

    def join(one: Any, two: Any) -> Any:
        if isinstance(one, LayerSums):
            return add_trees(one, two)
        m1, m2 = one.moments, two.moments
        apart = m1.mean / jnp.where(w1 > 0, w1, 1) - m2.mean / jnp.where(w2 > 0, w2, 1)
        between = _second(_flat(apart), m1.second.ndim == 1) * both
        moments = Moments(
            m1.mean + m2.mean, m1.second + m2.second + between.astype(m1.second.dtype)
        )
        return RowSums(moments, one.gradient + two.gradient)

    return Sums(total, tuple(map(join, first.blocks, other.blocks)))


def _over_devices(own: Sums, total: Callable[[PyTree], PyTree]) -> Sums:
    """The sums over devices: of means, then of squares of the distances from them."""
    of_rows = [block.moments.mean for block in own.blocks if isinstance(block, RowSums)]
    if not of_rows:
        return total(own)
    weight, of_all = total((own.weight, of_rows))
    means = iter(of_all)
    blocks = [
        _about(block, next(means) / weight, own.weight) if isinstance(block, RowSums) else block
        for block in own.blocks
    ]
    return total(Sums(own.weight, tuple(blocks)))


def _about(block: RowSums, mean: Array, weight: Float[Array, ""]) -> RowSums:
    """The sums with squares of the distances from another mean."""
    moments = block.moments
    apart = moments.mean / jnp.where(weight > 0, weight, 1) - mean
    between = weight * _second(_flat(apart), moments.second.ndim == 1)
    second = moments.second + between.astype(moments.second.dtype)
    return RowSums(Moments(moments.mean, second), block.gradient)


def _curvature(sums: LayerSums | RowSums, centred: bool, mode: str) -> Curvature:
    """The curvature of a block from its sums over all samples, whose weights add up to one."""
    if isinstance(sums, RowSums):
        mean, second = sums.moments
        return (second if centred else second + _second(_flat(mean), second.ndim == 1),)
    # A complex derivative has real and imaginary part of log psi; the two parts count as one.
    share = 0.5 if jnp.iscomplexobj(sums.slopes) and mode != "holomorphic" else 1.0
    products = sums.inputs, share * sums.slopes
    if not centred:
        return products
    return *products, sums.mean_input, share**0.5 * sums.mean_slope

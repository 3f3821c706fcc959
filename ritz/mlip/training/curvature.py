"""Gauss-Newton curvature of the energies of a batch, block by block, for `KFAC`.

The residual of a structure s is its energy per atom, E_s / n_s, less the known one. The derivative
of the former by the matrix of a linear layer is J_s = sum_r a_r g_r^T over the layer's uses r, with
inputs a_r and the derivatives g_r of E_s / n_s by outputs. An atom belongs to one structure: the
derivatives g_r of all of them are those of one sum over structures, from one backward pass.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from ritz.full_precision import in_full_precision
from ritz.mlip.arrays import AnyArray, unchanged
from ritz.mlip.models.abstract_model import AbstractModel, Batch, GroupCapacity, Normalisation
from ritz.mlip.training.losses import Loss, Residuals, Scalar
from ritz.updates.derivatives import linearised
from ritz.updates.kfac import DIAGONAL, Block, Blocks, Curvature, divided
from ritz.updates.layers import Call, Layer, linear_layers

AT_ONCE = 8
"""Number of structures that the rows of exact and diagonal blocks are computed for at once."""


class Factors(NamedTuple):
    """Sums over structures with weights q_s, of which a layer's curvature is made.

    It is (inputs / weight) x slopes. The sums are averaged over steps, and the quotient is taken
    of averages: structures without the layer's species, and steps with none of them, have no
    part in the mean of inputs.
    """

    inputs: Float[Array, "n_rows n_rows"]
    """Sum of q_s a_s a_s^T."""
    slopes: Float[Array, "n_outputs n_outputs"]
    """Sum of q_s g_s g_s^T."""
    weight: Float[Array, ""]
    """Sum of q_s over structures in which the layer is used."""


Sums = tuple[Factors | Float[Array, "..."], ...]
"""For each block its factors, or its matrix or diagonal."""


class BatchCurvature(NamedTuple):
    """The curvature of the loss of a batch."""

    sums: Sums
    """In units in which the range of energies per atom is 2, with weights that add up to one."""
    scale: Float[Array, ""]
    """By which gradients are to be multiplied to be in the same units."""


def curvature_of_energies(
    loss: Loss, residuals: Residuals, alpha: Scalar, total: Callable[[Any], Any] = unchanged
) -> tuple[Float[Array, " structures"], Scalar]:
    """The Gauss-Newton matrix of (1 - alpha) L_E: kappa sum_s q_s J_s^T J_s.

    J_s is the derivative of the energy per atom. With the weights p_s of the mean and the
    errors e_s, the mean square m has q = p and kappa = 2; its root has q = p and
    kappa = 1 / sqrt(m), as the derivative of the root by m is 1 / (2 sqrt(m)) (the rest of its
    second derivative, which is negative, is left out, so that both give one step). Huber's
    loss has q_s kappa = p_s min(1, delta / |e_s|), the weights of iteratively reweighted least
    squares, whose parabolas lie above the loss.

    Args:
        loss: The loss.
        residuals: The errors of a batch, or of a part of it.
        alpha: The weight of forces.
        total: Adds up what the parts of the batch have.

    Returns:
        q, which adds up to one, and kappa; zeros if no energy has a weight, and kappa is zero
        if all errors are.
    """
    errors, weights = residuals.energy, jnp.asarray(residuals.energy_weight)
    own = jnp.stack([jnp.sum(weights), jnp.sum(weights * errors**2)])
    whole, squares = jnp.asarray(total(own))
    divisor = whole + (whole <= 0)
    shares = weights / divisor
    kappa = jnp.where(whole > 0, 2.0, 0.0).astype(errors.dtype)
    if loss.kind == "rmse":
        root = jnp.sqrt(squares / divisor)
        kappa = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    elif loss.kind == "huber":
        shares = shares * jnp.minimum(1, loss.huber_delta / jnp.maximum(jnp.abs(errors), 1e-30))
        kappa = jnp.asarray(total(jnp.sum(shares)))
        shares = shares / (kappa + (kappa <= 0))
    return jax.lax.stop_gradient((shares, (1 - alpha) * kappa))


class _Uses(NamedTuple):
    """The uses of a layer by the atoms of a batch."""

    inputs: Float[Array, "n_uses n_rows"]
    slopes: Float[Array, "n_uses n_outputs"]
    """Derivatives of the energy per atom of the use's structure, zero in empty places."""
    slot: Int[Array, " n_uses"]
    valid: Bool[Array, " n_uses"]
    once: bool
    """Whether each call has one vector for each atom."""


@dataclasses.dataclass(frozen=True)
class EnergyCurvature:
    """The Gauss-Newton matrix sum_s q_s J_s^T J_s of energies per atom, by blocks; hashable.

    Args:
        model: The model.
        blocks: From `blocks_of_model`.
        sharing: "reduce" or "expand", see `KFAC`.
    """

    model: AbstractModel
    blocks: Blocks
    sharing: str

    def zeros(self, dtype: DTypeLike) -> Sums:
        """Sums over no structures."""
        return tuple(_zeros(block, dtype) for block in self.blocks)

    @in_full_precision
    def sums(
        self,
        networks: PyTree,
        normalisation: Normalisation,
        batch: Sequence[Batch],
        capacity: Sequence[GroupCapacity],
        weights: Float[Array, " slots"],
    ) -> Sums:
        """The curvature of a batch.

        Args:
            networks: The parameters.
            normalisation: How features and energies are scaled.
            batch: The structures, by group.
            capacity: The capacity of each group.
            weights: q_s for the structures of all groups.
        """
        ends = np.cumsum([group.slots for group in capacity])[:-1].tolist()
        parts = zip(batch, capacity, jnp.split(weights, ends), strict=True)
        groups = [self._group(networks, normalisation, *part) for part in parts]
        return jax.tree.map(lambda *each: sum(each), *groups)

    def _group(
        self,
        networks: PyTree,
        normalisation: Normalisation,
        batch: Batch,
        capacity: GroupCapacity,
        weights: Float[Array, " slots"],
    ) -> Sums:
        batch = batch._replace(tables=None)

        def energies(networks: PyTree) -> Float[Array, " slots"]:
            return self.model.predict(networks, normalisation, batch, capacity).energy

        layers = [block.layer for block in self.blocks if block.layer is not None]
        groups = [block.places for block in self.blocks if block.layer is None]
        found = linearised(energies, networks, (), mode="real", layers=layers, groups=groups)
        per_atom = jnp.asarray(normalisation.e_scaling / batch.n_atoms)
        _, slopes = found.pull(per_atom)
        factors = iter(zip(found.inputs, slopes, found.calls, strict=True))
        rows = iter(())
        if groups:
            one_each = jnp.diag(per_atom)
            rows = iter(jax.lax.map(lambda e: found.pull(e)[0], one_each, batch_size=AT_ONCE))
        sums = []
        for block in self.blocks:
            if block.layer is None:
                sums.append(_second(next(rows), weights, block.kind == DIAGONAL))
                continue
            places = self.model.places_of(block.parameters[0], capacity.atoms)
            uses = _uses(batch, places, *next(factors))
            sums.append(self._factors(block.layer, uses, weights))
        return tuple(sums)

    def _factors(self, layer: Layer, uses: _Uses, weights: Float[Array, " slots"]) -> Factors:
        """The factors of a layer, from its uses."""
        n_slots = len(weights)

        def total(of_uses: Array) -> Array:
            return jax.ops.segment_sum(of_uses, uses.slot, n_slots)

        counts = total(uses.valid.astype(weights.dtype))
        weight = jnp.sum(jnp.where(counts > 0, weights, 0))
        if layer.n_outputs == 1:
            whole = _second(total(uses.inputs * uses.slopes), weights)
            return Factors(whole, weight[None, None], weight)
        share = jnp.where(counts > 0, 1 / jnp.maximum(counts, 1), 0)
        inputs = jnp.where(uses.valid[:, None], uses.inputs, 0)
        if self.sharing == "reduce" and uses.once:
            means = total(inputs) * share[:, None]
            return Factors(_second(means, weights), _second(total(uses.slopes), weights), weight)
        of_inputs = _second(inputs, (weights * share)[uses.slot])
        return Factors(of_inputs, _second(uses.slopes, (weights * counts)[uses.slot]), weight)


def _uses(
    batch: Batch, places: slice, inputs: Array, slopes: Array, calls: Sequence[Call]
) -> _Uses:
    """The uses of a layer by the atoms in some places of a batch."""
    slot, valid = batch.slot[places], batch.valid[places]
    times = [math.prod(call.inputs.shape[1:-1]) for call in calls]

    def by_use(of_atoms: AnyArray) -> Array:
        return jnp.concatenate([jnp.repeat(of_atoms, n) for n in times])

    once = all(call.inputs.ndim == 2 for call in calls)
    return _Uses(inputs, slopes, by_use(slot), by_use(valid), once)


def _second(
    rows: Float[Array, "m n"], weights: Float[Array, " m"], diagonal: bool = False
) -> Array:
    """Sum of weight times the outer product of a row with itself, or of the diagonals of those."""
    if diagonal:
        return weights @ rows**2
    scaled = rows * jnp.sqrt(weights)[:, None]
    return scaled.T @ scaled


def _zeros(block: Block, dtype: DTypeLike) -> Any:
    if block.layer is None:
        return jnp.zeros((block.size,) * (1 if block.kind == DIAGONAL else 2), dtype)
    n, m = block.layer.n_rows, block.layer.n_outputs
    return Factors(jnp.zeros((n, n), dtype), jnp.zeros((m, m), dtype), jnp.zeros((), dtype))


def products(means: Sums) -> tuple[Curvature, ...]:
    """The curvature of each block, from averages of sums over steps."""
    return tuple(_product(one) if isinstance(one, Factors) else (one,) for one in means)


def _product(mean: Factors) -> Curvature:
    is_used = mean.weight > 0
    inputs = jnp.where(is_used, mean.inputs / jnp.where(is_used, mean.weight, 1), 0)
    return inputs, mean.slopes


def blocks_of_model(model: AbstractModel, networks: PyTree, largest_exact: int) -> Blocks:
    """The blocks of the parameters of a model.

    Linear layers have a block each where they are applied to the atoms one by one, perhaps with
    more axes.

    Args:
        model: The model.
        networks: The parameters of one network, or their shapes and types.
        largest_exact: Largest size of an exact block.
    """
    inputs, atoms = model.example()
    n_atoms = sum(atoms)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), networks)
    named = jax.tree_util.tree_flatten_with_path(shapes)[0]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in named]
    batch = Batch(
        ids=np.zeros(1, int),
        n_atoms=np.full(1, float(n_atoms)),
        labels=None,  # type: ignore[arg-type]
        slot=np.zeros(n_atoms, int),
        valid=np.ones(n_atoms, bool),
        begins=[np.zeros(n_atoms, int)] * len(atoms),
        inputs=inputs,
        forces=None,
        tables=None,
    )
    capacity = GroupCapacity(1, atoms, supervised=False)
    scales = Normalisation(np.zeros(model.n_features), np.ones(model.n_features), 1.0, 0.0)

    def energies(networks: PyTree, inputs: PyTree) -> Array:
        trial = batch._replace(inputs=inputs)
        return model.predict(networks, scales, trial, capacity).energy

    def suits(layer: Layer, call: Call) -> bool:
        places = model.places_of(names[layer.kernel], atoms)
        return call.inputs.ndim > 1 and len(call.inputs) == places.stop - places.start

    layers = linear_layers(energies, shapes, inputs, suits=suits)
    return divided(shapes, layers, "real", largest_exact)

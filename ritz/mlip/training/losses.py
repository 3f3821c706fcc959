"""The loss of a batch, and the errors of one network or of several on whole splits."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from ritz.mlip.arrays import AnyArray
from ritz.mlip.batching.pack import Split, gather
from ritz.mlip.batching.plan import Capacity, Plan
from ritz.mlip.models.abstract_model import AbstractModel, Batch, Normalisation, Prediction

Scalar: TypeAlias = Float[Array, ""]

MapMembers = Callable[[Callable[[PyTree], PyTree], PyTree], PyTree]
"""Applies a function to the parameters of a network, or to those of each member of a committee and
stacks the results."""


def map_single(function: Callable[[PyTree], PyTree], networks: PyTree) -> PyTree:
    """Apply a function to one network."""
    return function(networks)


def map_in_turn(function: Callable[[PyTree], PyTree], networks: PyTree) -> PyTree:
    """Apply a function to the networks of all members, one after another."""
    return jax.lax.map(function, networks)


KINDS = ("rmse", "mse", "huber")
"""Forms of the loss."""

WEIGHT_SCHEDULES = ("linear", "cosine", "step")
"""Schedules of the weights in the loss."""


def weight_at(schedule: str, first: Scalar, last: Scalar, progress: Scalar) -> Scalar:
    """A weight that goes from `first` to `last` as `progress` goes from 0 to 1.

    Args:
        schedule: One of `WEIGHT_SCHEDULES`.
        first: The weight at the beginning.
        last: The weight at the end.
        progress: The fraction of the epochs that is over; what is outside of 0 to 1 is clipped.
    """
    progress = jnp.clip(progress, 0, 1)
    if schedule == "cosine":
        progress = (1 - jnp.cos(jnp.pi * progress)) / 2
    elif schedule == "step":
        progress = jnp.where(progress < 0.75, 0, 1)
    return first + (last - first) * progress


class Residuals(NamedTuple):
    """Errors of predictions (predicted less known), and their weights; zero where none is known."""

    energy: Float[Array, " structures"]
    """Per atom, in eV."""
    energy_weight: Float[AnyArray, " structures"]
    forces: Float[Array, "atoms 3"] | None = None
    """In eV/Angstrom."""
    force_weight: Float[AnyArray, " atoms"] | None = None
    stress: Float[Array, "structures 3 3"] | None = None
    """In eV/Angstrom^3."""
    stress_weight: Float[AnyArray, " structures"] | None = None
    supervised: Float[Array, ""] | float = 1.0
    """Fraction of the atoms with known forces that are supervised."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """(1 - alpha) L_E + alpha L_F + beta L_S, with L the RMSE, mean square or Huber's loss.

    L_E is of energies per atom in eV, L_F of force components in eV/Angstrom, L_S of stress
    components in eV/Angstrom^3. A batch without forces gives (1 - alpha) L_E.
    """

    kind: str = "rmse"
    huber_delta: float = 0.01
    scale_unbiased: bool = False
    """Whether L_F is divided by the root of the fraction of atoms with known forces that count."""

    def __call__(self, residuals: Residuals, alpha: Scalar, beta: Scalar) -> Scalar:
        """The loss of a batch, given the weights of forces (alpha) and stress (beta)."""
        total = (1 - alpha) * self._part(residuals.energy, residuals.energy_weight)
        if residuals.forces is not None and residuals.force_weight is not None:
            part = self._part(residuals.forces, residuals.force_weight)
            if self.scale_unbiased:
                part /= jnp.sqrt(jnp.where(residuals.supervised > 0, residuals.supervised, 1))
            total += alpha * part
        if residuals.stress is not None and residuals.stress_weight is not None:
            total += beta * self._part(residuals.stress, residuals.stress_weight)
        return total

    def _part(self, errors: Float[Array, "n ..."], weights: Float[AnyArray, " n"]) -> Scalar:
        if self.kind == "huber":
            values = optax.losses.huber_loss(errors, delta=self.huber_delta)
        else:
            values = errors**2
        mean = weighted_mean(values, weights)
        if self.kind == "rmse":
            positive = jnp.where(mean == 0, 1, mean)  # so that the derivative is finite
            return jnp.where(mean == 0, 0, jnp.sqrt(positive))
        return mean


def weighted_mean(values: Float[Array, "n ..."], weights: Float[AnyArray, " n"]) -> Scalar:
    """The mean over all axes, with weights along the first one; 0 if all weights are 0."""
    components = values[0].size
    total = jnp.sum(weights) * components
    weights = weights.reshape(-1, *[1] * (values.ndim - 1))
    divisor = jnp.where(total > 0, total, 1)
    return jnp.sum(values * weights) / divisor


class Sums(NamedTuple):
    """Sums over the errors of one quantity."""

    count: Float[Array, ""]
    square: Float[Array, ""]
    absolute: Float[Array, ""]

    @property
    def rmse(self) -> Scalar:
        """The root of the mean square error; NaN if there are no errors."""
        return jnp.sqrt(self.square / self.count)

    @property
    def mae(self) -> Scalar:
        """The mean absolute error; NaN if there are no errors."""
        return self.absolute / self.count


class ErrorSums(NamedTuple):
    """Sums over the errors of a split, from which its true RMSE and MAE follow."""

    energy: Sums
    forces: Sums | None
    stress: Sums | None


def error_sums(residuals: Residuals) -> ErrorSums:
    """The sums of a batch; weights only say which errors count."""
    forces, stress = None, None
    if residuals.forces is not None and residuals.force_weight is not None:
        forces = _sums(residuals.forces, residuals.force_weight)
    if residuals.stress is not None and residuals.stress_weight is not None:
        stress = _sums(residuals.stress, residuals.stress_weight)
    return ErrorSums(_sums(residuals.energy, residuals.energy_weight), forces, stress)


def _sums(errors: Float[Array, "n ..."], weights: Float[AnyArray, " n"]) -> Sums:
    counts = (weights > 0).astype(errors.dtype)
    mask = counts.reshape(-1, *[1] * (errors.ndim - 1))
    return Sums(
        jnp.sum(counts) * errors[0].size, jnp.sum(mask * errors**2), jnp.sum(mask * jnp.abs(errors))
    )


def add_sums(sums: ErrorSums, others: ErrorSums) -> ErrorSums:
    """The sums of two sets of errors."""
    return jax.tree.map(jnp.add, sums, others)


def residuals(
    predictions: Sequence[Prediction], batch: Sequence[Batch], capacity: Capacity
) -> Residuals:
    """The errors of predictions for a batch.

    Args:
        predictions: One for each group of the batch; groups with forces come first.
        batch: The groups.
        capacity: The capacity of each group.
    """
    groups = [_group_residuals(*group) for group in zip(predictions, batch, strict=True)]
    labelled, supervised = jnp.zeros(()), jnp.zeros(())
    for group, size in zip(batch, capacity, strict=True):
        counts = (group.ids >= 0) & group.labels.has_forces
        n_atoms = jnp.sum(jnp.where(counts, group.n_atoms, 0))
        labelled += n_atoms
        supervised += n_atoms if size.supervised else 0
    fraction = supervised / jnp.maximum(labelled, 1)
    return groups[0]._replace(
        energy=jnp.concatenate([group.energy for group in groups]),
        energy_weight=jnp.concatenate([group.energy_weight for group in groups]),
        supervised=fraction.astype(groups[0].energy.dtype),
    )


def _group_residuals(prediction: Prediction, batch: Batch) -> Residuals:
    labels = batch.labels
    energy = (prediction.energy - labels.energy) / batch.n_atoms
    if prediction.forces is None:
        return Residuals(energy, labels.weight)
    weight = jnp.where(labels.has_forces, labels.weight, 0)
    weight = jnp.where(batch.valid, weight[batch.slot], 0)
    assert batch.forces is not None
    energies_and_forces = Residuals(energy, labels.weight, prediction.forces - batch.forces, weight)
    if prediction.virial is None:
        return energies_and_forces
    return energies_and_forces._replace(
        stress=stress_of(prediction.virial, batch) - labels.stress,
        stress_weight=jnp.where(labels.has_stress, labels.weight, 0),
    )


def stress_of(virial: Float[Array, "atoms 3 3"], batch: Batch) -> Float[Array, "slots 3 3"]:
    """The stress of each structure, in eV/Angstrom^3, from the atoms' shares of the virial in eV.

    For structures without three lattice vectors the numbers mean nothing.
    """
    total = jax.ops.segment_sum(virial, batch.slot, len(batch.ids))
    return total / batch.labels.volume[:, None, None]


def zero_sums(dtype: DTypeLike, capacity: Capacity) -> ErrorSums:
    """Sums over no errors.

    Args:
        dtype: The precision of the sums.
        capacity: The capacity of the batches, which says whether there are forces and stress.
    """
    zero = Sums(*[jnp.zeros((), dtype)] * 3)
    return ErrorSums(
        energy=zero,
        forces=zero if any(group.supervised for group in capacity) else None,
        stress=zero if any(group.stress for group in capacity) else None,
    )


def validation_loss(sums: ErrorSums, alpha: Scalar, ends_epoch: Bool[Array, ""]) -> Scalar:
    """(1 - alpha) RMSE of energies + alpha RMSE of forces, if any; NaN where no epoch ends."""
    score = (1 - alpha) * sums.energy.rmse
    if sums.forces is not None:
        score += alpha * jnp.where(sums.forces.count > 0, sums.forces.rmse, 0)
    return jnp.where(ends_epoch, score, jnp.nan)


def named_errors(sums: ErrorSums, split: str, ends_epoch: Bool[Array, ""]) -> dict[str, Scalar]:
    """RMSE and MAE by name, such as `RMSE_force_train`; NaN where no epoch ends.

    Args:
        sums: The sums over the errors of a split.
        split: "train" or "test", the end of the names.
        ends_epoch: Whether the step is the last one of an epoch.
    """
    errors: dict[str, Scalar] = {}
    for name, part in (("", sums.energy), ("force_", sums.forces), ("stress_", sums.stress)):
        if part is not None:
            errors |= {f"RMSE_{name}{split}": part.rmse, f"MAE_{name}{split}": part.mae}
    return {name: jnp.where(ends_epoch, value, jnp.nan) for name, value in errors.items()}


def predict_residuals(
    model: AbstractModel,
    capacity: Capacity,
    network: PyTree,
    normalisation: Normalisation,
    batch: Sequence[Batch],
) -> Residuals:
    """The errors of a network's predictions for a batch.

    Args:
        model: The model.
        capacity: The capacity of the batch.
        network: The parameters.
        normalisation: How features and energies are scaled.
        batch: The structures, by group.
    """
    predictions = [
        model.predict(network, normalisation, *group) for group in zip(batch, capacity, strict=True)
    ]
    return residuals(predictions, batch, capacity)


def loss_of_batch(
    model: AbstractModel,
    capacity: Capacity,
    network: PyTree,
    normalisation: Normalisation,
    batch: Sequence[Batch],
    loss: Loss,
    weights: tuple[Scalar, Scalar],
) -> tuple[Scalar, Residuals]:
    """The loss of a network on a batch, and the errors behind it.

    Args:
        model: See `predict_residuals`, as for the next four.
        capacity: The capacity of the batch.
        network: The parameters.
        normalisation: How features and energies are scaled.
        batch: The structures, by group.
        loss: The form of the loss.
        weights: The weights of forces (alpha) and stress (beta).
    """
    errors = predict_residuals(model, capacity, network, normalisation, batch=batch)
    return loss(errors, *weights), errors


def split_error_sums(
    model: AbstractModel,
    capacity: Capacity,
    map_members: MapMembers,
    normalisation: Normalisation,
    networks: PyTree,
    split: Split,
    plan: Plan,
) -> ErrorSums:
    """Sums over the errors of networks on the batches of a plan; each batch is gathered once.

    Args:
        model: The model.
        capacity: The capacity of the batches.
        map_members: Applies a function to the networks, or to those of each member.
        normalisation: How features and energies are scaled.
        networks: The parameters.
        split: The structures.
        plan: The structures of each batch.
    """

    def add_batch(i: Int[Array, ""], sums: ErrorSums) -> ErrorSums:
        batch = gather(split, [group[i] for group in plan], capacity)

        def batch_sums(network: PyTree) -> ErrorSums:
            return error_sums(
                predict_residuals(model, capacity, network, normalisation, batch=batch)
            )

        return add_sums(sums, map_members(batch_sums, networks))

    zero = map_members(lambda _: zero_sums(split.labels.energy.dtype, capacity), networks)
    return jax.lax.fori_loop(0, len(plan[0]), add_batch, zero)

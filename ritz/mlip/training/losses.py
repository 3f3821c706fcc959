"""The loss, and the errors that training reports."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ritz.mlip.arrays import AnyArray
from ritz.mlip.batching.plan import Capacity
from ritz.mlip.models.abstract_model import Batch, Prediction

KINDS = ("rmse", "mse", "huber")
"""Forms of the loss."""

WEIGHT_SCHEDULES = ("linear", "cosine", "step")
"""Schedules of the weights in the loss."""


def weight_at(schedule: str, first: Any, last: Any, progress: Any) -> Any:
    """A weight that goes from `first` to `last` as `progress` goes from 0 to 1."""
    progress = jnp.clip(progress, 0, 1)
    if schedule == "cosine":
        progress = (1 - jnp.cos(jnp.pi * progress)) / 2
    elif schedule == "step":
        progress = jnp.where(progress < 0.75, 0, 1)
    return first + (last - first) * progress


class Residuals(NamedTuple):
    """Errors of predictions, and how much each counts; zero where nothing is known."""

    energy: Float[AnyArray, " structures"]
    """Per atom, in eV."""
    energy_weight: Float[AnyArray, " structures"]
    forces: Float[AnyArray, "atoms 3"] | None = None
    """In eV/Angstrom."""
    force_weight: Float[AnyArray, " atoms"] | None = None
    stress: Float[AnyArray, "structures 3 3"] | None = None
    """In eV/Angstrom^3."""
    stress_weight: Float[AnyArray, " structures"] | None = None
    supervised: Float[AnyArray, ""] | float = 1.0
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
    """Whether L_F is divided by the root of the fraction of atoms with forces that it is of."""

    def __call__(self, residuals: Residuals, alpha: Any, beta: Any) -> Any:
        """The loss of a batch."""
        total = (1 - alpha) * self._part(residuals.energy, residuals.energy_weight)
        if residuals.forces is not None:
            part = self._part(residuals.forces, residuals.force_weight)
            if self.scale_unbiased:
                part /= jnp.sqrt(jnp.where(residuals.supervised > 0, residuals.supervised, 1))
            total += alpha * part
        if residuals.stress is not None:
            total += beta * self._part(residuals.stress, residuals.stress_weight)
        return total

    def _part(self, errors: Any, weights: Any) -> Any:
        if self.kind == "huber":
            size = jnp.abs(errors)
            values = jnp.where(
                size <= self.huber_delta,
                errors**2 / 2,
                self.huber_delta * (size - self.huber_delta / 2),
            )
        else:
            values = errors**2
        mean = weighted_mean(values, weights)
        if self.kind == "rmse":
            positive: Any = jnp.where(mean == 0, 1, mean)  # so that the derivative is finite
            return jnp.where(mean == 0, 0, jnp.sqrt(positive))
        return mean


def weighted_mean(values: Any, weights: Any) -> Any:
    """The mean over all axes, with weights along the first; 0 if all of them are."""
    components = values[0].size
    total = jnp.sum(weights) * components
    weights = weights.reshape(-1, *[1] * (values.ndim - 1))
    divisor: Any = jnp.where(total > 0, total, 1)
    return jnp.sum(values * weights) / divisor


class Sums(NamedTuple):
    """Sums over the errors of one quantity."""

    count: Float[AnyArray, ""]
    square: Float[AnyArray, ""]
    absolute: Float[AnyArray, ""]

    @property
    def rmse(self) -> Any:
        """The root of the mean square; NaN of none."""
        return jnp.sqrt(self.square / self.count)

    @property
    def mae(self) -> Any:
        """The mean magnitude; NaN of none."""
        return self.absolute / self.count


class ErrorSums(NamedTuple):
    """Sums over the errors of a split, from which its true RMSE and MAE follow."""

    energy: Sums
    forces: Sums | None
    stress: Sums | None


def error_sums(residuals: Residuals) -> ErrorSums:
    """The sums of a batch; weights only say which errors count."""
    return ErrorSums(
        _sums(residuals.energy, residuals.energy_weight),
        None if residuals.forces is None else _sums(residuals.forces, residuals.force_weight),
        None if residuals.stress is None else _sums(residuals.stress, residuals.stress_weight),
    )


def _sums(errors: Any, weights: Any) -> Sums:
    there = (weights > 0).astype(errors.dtype)
    mask = there.reshape(-1, *[1] * (errors.ndim - 1))
    return Sums(
        jnp.sum(there) * errors[0].size, jnp.sum(mask * errors**2), jnp.sum(mask * jnp.abs(errors))
    )


def add_sums(sums: ErrorSums, others: ErrorSums) -> ErrorSums:
    """The sums of two sets of errors."""
    return jax.tree.map(jnp.add, sums, others)


def residuals(
    predictions: Sequence[Prediction], batch: Sequence[Batch], capacity: Capacity
) -> Residuals:
    """The errors of predictions for a batch; one prediction for each of its groups.

    Groups with forces come first.
    """
    groups = [_group_residuals(*group) for group in zip(predictions, batch, strict=True)]
    labelled, supervised = jnp.zeros(()), jnp.zeros(())
    for group, own in zip(batch, capacity, strict=True):
        counts = (group.ids >= 0) & group.labels.has_forces
        n_atoms = jnp.sum(jnp.where(counts, group.n_atoms, 0))
        labelled += n_atoms
        supervised += n_atoms if own.supervised else 0
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
    found = Residuals(energy, labels.weight, prediction.forces - batch.forces, weight)
    if prediction.virial is None:
        return found
    return found._replace(
        stress=stress_of(prediction.virial, batch) - labels.stress,
        stress_weight=jnp.where(labels.has_stress, labels.weight, 0),
    )


def stress_of(virial: Float[Array, "atoms 3 3"], batch: Batch) -> Float[Array, "slots 3 3"]:
    """The stress of each structure, in eV/Angstrom^3, from the atoms' shares of the virial in eV.

    Of structures without three lattice vectors it means nothing.
    """
    total = jax.ops.segment_sum(virial, batch.slot, len(batch.ids))
    return total / batch.labels.volume[:, None, None]


def zero_sums(dtype: Any, capacity: Capacity) -> ErrorSums:
    """Sums over no errors.

    Args:
        dtype: Their precision.
        capacity: That of the batches; it says whether there are forces and stress.
    """
    zero = Sums(*[jnp.zeros((), dtype)] * 3)
    return ErrorSums(
        energy=zero,
        forces=zero if any(group.supervised for group in capacity) else None,
        stress=zero if any(group.stress for group in capacity) else None,
    )


def validation_loss(sums: ErrorSums, alpha: Any, ends: Any) -> Any:
    """(1 - alpha) RMSE of energies + alpha RMSE of forces, if any; NaN where no epoch ends."""
    found = (1 - alpha) * sums.energy.rmse
    if sums.forces is not None:
        found += alpha * jnp.where(sums.forces.count > 0, sums.forces.rmse, 0)
    return jnp.where(ends, found, jnp.nan)


def named_errors(sums: ErrorSums, split: str, ends: Any) -> dict[str, Any]:
    """RMSE and MAE by name; NaN where no epoch ends."""
    found = {}
    for name, part in (("", sums.energy), ("force_", sums.forces), ("stress_", sums.stress)):
        if part is not None:
            found |= {f"RMSE_{name}{split}": part.rmse, f"MAE_{name}{split}": part.mae}
    return {name: jnp.where(ends, value, jnp.nan) for name, value in found.items()}

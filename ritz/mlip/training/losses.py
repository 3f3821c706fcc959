"""The loss of a batch, and the errors of one network or of several on whole splits."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PyTree

from ritz.mlip.arrays import AnyArray
from ritz.mlip.batching.plan import Capacity
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


def map_side_by_side(function: Callable[[PyTree], PyTree], networks: PyTree) -> PyTree:
    """Apply a function to the networks of all members at once."""
    return jax.vmap(function)(networks)


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
    n_supervised: Float[Array, ""] | float = 1.0
    """Number of atoms with known forces that are supervised."""
    n_labelled: Float[Array, ""] | float = 1.0
    """Number of atoms with known forces."""


class WeightedSum(NamedTuple):
    """A sum of values with weights, and that of the weights."""

    value: Float[Array, ""]
    weight: Float[Array, ""]

    @property
    def mean(self) -> Scalar:
        """The weighted mean; 0 if all weights are 0."""
        return self.value / jnp.where(self.weight > 0, self.weight, 1)


class LossSums(NamedTuple):
    """Sums over a batch, from which its loss follows; those of its parts add up."""

    energy: WeightedSum
    forces: WeightedSum | None
    stress: WeightedSum | None
    n_supervised: Float[Array, ""]
    n_labelled: Float[Array, ""]


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
        return self.of_sums(self.sums(residuals), alpha, beta)

    def sums(self, residuals: Residuals) -> LossSums:
        """The sums over a batch, or over a part of it."""
        r, forces, stress = residuals, None, None
        if r.forces is not None and r.force_weight is not None:
            forces = self._weighted_sum(r.forces, r.force_weight)
        if r.stress is not None and r.stress_weight is not None:
            stress = self._weighted_sum(r.stress, r.stress_weight)
        real = r.energy.dtype
        n_supervised, n_labelled = (jnp.asarray(n, real) for n in (r.n_supervised, r.n_labelled))
        energy = self._weighted_sum(r.energy, r.energy_weight)
        return LossSums(energy, forces, stress, n_supervised, n_labelled)

    def of_sums(self, sums: LossSums, alpha: Scalar, beta: Scalar) -> Scalar:
        """The loss of a batch from its sums."""
        total = (1 - alpha) * self._part(sums.energy)
        if sums.forces is not None:
            part = self._part(sums.forces)
            if self.scale_unbiased:
                fraction = sums.n_supervised / jnp.maximum(sums.n_labelled, 1)
                part /= jnp.sqrt(jnp.where(fraction > 0, fraction, 1))
            total += alpha * part
        if sums.stress is not None:
            total += beta * self._part(sums.stress)
        return total

    def _weighted_sum(
        self, errors: Float[Array, "n ..."], weights: Float[AnyArray, " n"]
    ) -> WeightedSum:
        """The sum over all axes, with weights along the first one."""
        if self.kind == "huber":
            values = optax.losses.huber_loss(errors, delta=self.huber_delta)
        else:
            values = errors**2
        weight = jnp.sum(weights) * values[0].size
        weights = weights.reshape(-1, *[1] * (values.ndim - 1))
        return WeightedSum(jnp.sum(values * weights), weight)

    def _part(self, sums: WeightedSum) -> Scalar:
        mean = sums.mean
        if self.kind == "rmse":
            positive = jnp.where(mean == 0, 1, mean)  # so that the derivative is finite
            return jnp.where(mean == 0, 0, jnp.sqrt(positive))
        return mean


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
    return groups[0]._replace(
        energy=jnp.concatenate([group.energy for group in groups]),
        energy_weight=jnp.concatenate([group.energy_weight for group in groups]),
        n_supervised=supervised,
        n_labelled=labelled,
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

"""What batches show of networks: losses, gradients and errors, by all devices together."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int, PyTree

from ritz.driver.processes.division import EVERYWHERE
from ritz.mlip.batching.pack import Split, gather
from ritz.mlip.batching.plan import Capacity, Plan
from ritz.mlip.models.abstract_model import AbstractModel, Batch, Normalisation
from ritz.mlip.training.carry import BatchErrors
from ritz.mlip.training.curvature import BatchCurvature, EnergyCurvature, curvature_of_energies
from ritz.mlip.training.division import BATCH, BY_BATCH, MEMBER, TrainingDivision
from ritz.mlip.training.losses import (
    ErrorSums,
    Loss,
    LossSums,
    MapMembers,
    Residuals,
    Scalar,
    add_sums,
    error_sums,
    predict_residuals,
    zero_sums,
)


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Static settings of a compiled step; hashable."""

    model: AbstractModel
    optimizer: optax.GradientTransformation
    loss: Loss
    policy: str
    n_batches: int
    n_supervised: int
    """Number of structures that add to the force loss."""
    resample_every: int
    """Number of epochs after which others are chosen; 0 for never."""
    capacity: Capacity
    validation_capacity: Capacity
    division: TrainingDivision
    """Devices that share the structures of a batch, and the members of a committee."""
    weight_schedule: str | None = None
    """Schedule of the weights of the loss; None for constant ones."""
    window: int = 0
    """Number of batches whose data are on the device at a time; 0 for all of them."""
    curvature: EnergyCurvature | None = None
    """What optimisers that go by the curvature of the loss are given."""


class Measured(NamedTuple):
    """What a batch shows of a network, or of each of several."""

    loss: Scalar
    gradient: PyTree
    errors: BatchErrors


Weights = tuple[Scalar, Scalar]
"""The weights of forces and stress in the loss."""


def measured(
    settings: StepSettings,
    map_members: MapMembers,
    networks: PyTree,
    batch: tuple[Batch, ...],
    normalisation: Normalisation,
    weights: Weights,
) -> Measured:
    """The loss of each network on a batch, its gradient, and the errors behind it.

    Args:
        settings: Those of a step.
        map_members: Applies a function to the network, or to each of them.
        networks: The parameters of one network, or of all members.
        batch: The structures.
        normalisation: How features and energies are scaled.
        weights: Those of forces and stress.
    """
    division = settings.division
    of_network = division.by_network
    by_slot: Any = PartitionSpec(MEMBER, BATCH) if division.of_committee else BY_BATCH
    errors = BatchErrors(of_network, by_slot, by_slot, of_network)

    def of_part(network: PyTree, *of_batch: Any) -> Measured:
        return _measured(settings, network, *of_batch)

    gives = Measured(of_network, of_network, errors)
    return _on_each(division, of_part, gives, map_members)(networks, batch, normalisation, weights)


def losses(
    settings: StepSettings,
    map_members: MapMembers,
    networks: PyTree,
    batch: tuple[Batch, ...],
    normalisation: Normalisation,
    weights: Weights,
) -> Scalar:
    """The loss of each network on a batch, see `measured`."""
    s = settings

    def loss(
        network: PyTree,
        batch: tuple[Batch, ...],
        normalisation: Normalisation,
        weights: Weights,
    ) -> Scalar:
        errors = predict_residuals(s.model, s.capacity, network, normalisation, batch=batch)
        return s.loss.of_sums(s.division.over_batch(s.loss.sums(errors)), *weights)

    of_network = s.division.by_network
    found = _on_each(s.division, loss, of_network, map_members)
    return found(networks, batch, normalisation, weights)


def _on_each(division: TrainingDivision, function: Any, gives: Any, map_members: MapMembers) -> Any:
    """A function of a network and a batch, applied to all networks by all devices."""

    def own(networks: PyTree, batch: tuple[Batch, ...], *more: Any) -> Any:
        return map_members(lambda network: function(network, batch, *more), networks)

    takes = (division.by_network, BY_BATCH, EVERYWHERE, EVERYWHERE)
    return division.on_each(own, takes, gives)


def _measured(
    settings: StepSettings,
    network: PyTree,
    batch: tuple[Batch, ...],
    normalisation: Normalisation,
    weights: Weights,
) -> Measured:
    """What a share of a batch shows of a network, with the sums over all shares.

    The loss follows from sums over the batch, and so do its derivatives by them; a share is only
    differentiated up to its own sums.
    """
    s, over_batch = settings, settings.division.over_batch

    def sums(network: PyTree) -> tuple[LossSums, Residuals]:
        errors = predict_residuals(s.model, s.capacity, network, normalisation, batch=batch)
        return s.loss.sums(errors), errors

    own, pull, errors = jax.vjp(sums, network, has_aux=True)
    value, slopes = jax.value_and_grad(s.loss.of_sums)(over_batch(own), *weights)
    curvature, scale = (), jnp.zeros(())
    if s.curvature is not None:
        shares, kappa = curvature_of_energies(s.loss, errors, weights[0], over_batch)
        curvature = s.curvature.sums(
            network, normalisation, batch=batch, capacity=s.capacity, weights=shares
        )
        scale = jnp.where(kappa > 0, 1 / jnp.where(kappa > 0, kappa, 1), 0)
    parts = pull(slopes)[0], error_sums(errors), curvature
    gradient, in_total, curvature = over_batch(parts)
    if s.curvature is not None:
        curvature = BatchCurvature(curvature, scale * normalisation.e_scaling**2)
    ids = jnp.concatenate([group.ids for group in batch])
    return Measured(value, gradient, BatchErrors(in_total, ids, jnp.abs(errors.energy), curvature))


def split_error_sums(
    model: AbstractModel,
    capacity: Capacity,
    map_members: MapMembers,
    division: TrainingDivision,
    normalisation: Normalisation,
    networks: PyTree,
    split: Split,
    plan: Plan,
) -> ErrorSums:
    """Sums over the errors of networks on the batches of a plan; each batch is gathered once.

    Args:
        model: The model.
        capacity: The capacity of the batches, of one device.
        map_members: Applies a function to the networks, or to those of each member.
        division: The devices that share a batch.
        normalisation: How features and energies are scaled.
        networks: The parameters.
        split: The structures.
        plan: The structures of each batch.
    """

    def own(normalisation: Normalisation, networks: PyTree, split: Split, plan: Plan) -> ErrorSums:
        def add_batch(i: Int[Array, ""], sums: ErrorSums) -> ErrorSums:
            batch = gather(split, [group[i] for group in plan], capacity)

            def batch_sums(network: PyTree) -> ErrorSums:
                return error_sums(
                    predict_residuals(model, capacity, network, normalisation, batch=batch)
                )

            return add_sums(sums, map_members(batch_sums, networks))

        zero = map_members(lambda _: zero_sums(split.labels.energy.dtype, capacity), networks)
        return division.over_batch(jax.lax.fori_loop(0, len(plan[0]), add_batch, zero))

    by_network = division.by_network
    takes = EVERYWHERE, by_network, division.split(split), PartitionSpec(None, BATCH)
    return division.on_each(own, takes, by_network)(normalisation, networks, split, plan)

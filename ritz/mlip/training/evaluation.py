"""Errors of one network or of several on whole splits, batch by batch."""

from collections.abc import Callable
from typing import Any

import jax

from ritz.mlip.batching.pack import Split, gather
from ritz.mlip.batching.plan import Capacity, Plan
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.models.normalisation import Normalisation
from ritz.mlip.training.losses import ErrorSums, add_sums, error_sums, residuals, zero_sums

MapMembers = Callable[[Callable[[Any], Any], Any], Any]
"""Applies a function to the parameters of a network, or to those of each member of a committee and
stacks the results."""


def map_single(function: Callable[[Any], Any], networks: Any) -> Any:
    """Apply a function to one network."""
    return function(networks)


def map_in_turn(function: Callable[[Any], Any], networks: Any) -> Any:
    """Apply a function to several networks, one after another."""
    return jax.lax.map(function, networks)


def split_error_sums(
    model: AbstractModel,
    capacity: Capacity,
    map_members: MapMembers,
    normalisation: Normalisation,
    networks: Any,
    split: Split,
    plan: Plan,
) -> ErrorSums:
    """The errors of networks on the batches of a plan, each of which is gathered once.

    Args:
        model: The model.
        capacity: That of the batches.
        map_members: Applies a function to the networks, or to those of each member.
        normalisation: How features and energies are scaled.
        networks: The parameters.
        split: The structures.
        plan: Which of them are in which batch.
    """

    def add_batch(i: Any, sums: ErrorSums) -> ErrorSums:
        batch = gather(split, [group[i] for group in plan], capacity)

        def batch_sums(own: Any) -> ErrorSums:
            predictions = [
                model.predict(own, normalisation, *group)
                for group in zip(batch, capacity, strict=True)
            ]
            return error_sums(residuals(predictions, batch, capacity))

        return add_sums(sums, map_members(batch_sums, networks))

    zero = map_members(lambda _: zero_sums(split.labels.energy.dtype, capacity), networks)
    return jax.lax.fori_loop(0, len(plan[0]), add_batch, zero)

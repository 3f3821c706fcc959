"""The errors of networks on batches and on whole splits."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ritz.mlip.abstract_model import AbstractModel, residuals
from ritz.mlip.gathering import gather
from ritz.mlip.losses import ErrorSums, Residuals, Sums, added, error_sums
from ritz.mlip.normalisation import Normalisation
from ritz.mlip.rooms import Plan, Room
from ritz.mlip.split import Batch, Split

OfEach = Callable[[Callable[[Any], Any], Any], Any]
"""Applies a function to a network, or to each of several; the results of these are stacked."""


def alone(function: Callable[[Any], Any], networks: Any) -> Any:
    """Of one network."""
    return function(networks)


def one_by_one(function: Callable[[Any], Any], networks: Any) -> Any:
    """Of several networks, one after another."""
    return jax.lax.map(function, networks)


def gather_groups(
    model: AbstractModel, split: Split, ids: Sequence[Any], room: Room
) -> tuple[Batch, ...]:
    """The structures of a batch, by group."""
    return tuple(gather(model, split, own, group) for own, group in zip(ids, room, strict=True))


def batch_residuals(
    model: AbstractModel,
    room: Room,
    normalisation: Normalisation,
    networks: Any,
    batch: tuple[Batch, ...],
) -> Residuals:
    """The errors of networks on a batch."""
    found, labelled, supervised = [], jnp.zeros(()), jnp.zeros(())
    for group, own in zip(batch, room, strict=True):
        prediction = model.predict(networks, normalisation, group, own)
        found.append(residuals(prediction, group))
        there = (group.ids >= 0) & group.labels.has_forces
        count = jnp.sum(jnp.where(there, group.n_atoms, 0))
        labelled += count
        supervised += count if own.supervised else 0
    fraction = supervised / jnp.maximum(labelled, 1)
    return joined(found)._replace(supervised=fraction.astype(found[0].energy.dtype))


def sums_of(
    model: AbstractModel,
    room: Room,
    of_each: OfEach,
    normalisation: Normalisation,
    networks: Any,
    split: Split,
    plan: Plan,
) -> ErrorSums:
    """The errors of networks on a split, batch by batch, each of which is gathered once."""

    def more(i: Any, sums: ErrorSums) -> ErrorSums:
        batch = gather_groups(model, split, [group[i] for group in plan], room)
        return added(sums, of_each(
            lambda own: error_sums(batch_residuals(model, room, normalisation, own, batch)),
            networks,
        ))  # fmt: skip

    zero = of_each(lambda _: zero_sums(split.labels.energy.dtype, room), networks)
    return jax.lax.fori_loop(0, len(plan[0]), more, zero)


def zero_sums(dtype: Any, room: Room) -> ErrorSums:
    """Nothing summed yet."""
    zero = Sums(*[jnp.zeros((), dtype)] * 3)
    return ErrorSums(
        zero, zero if any(group.supervised for group in room) else None,
        zero if any(group.stress for group in room) else None,
    )  # fmt: skip


def joined(found: Sequence[Residuals]) -> Residuals:
    """The residuals of all groups together; those with forces come first."""
    first = found[0]
    return first._replace(
        energy=jnp.concatenate([group.energy for group in found]),
        energy_weight=jnp.concatenate([group.energy_weight for group in found]),
    )


def named_errors(sums: ErrorSums, split: str, ends: Any) -> dict[str, Any]:
    """RMSE and MAE by name; NaN where no epoch ends."""
    found = {f"RMSE_{split}": sums.energy.rmse, f"MAE_{split}": sums.energy.mae}
    if sums.forces is not None:
        found |= {
            f"RMSE_force_{split}": sums.forces.rmse, f"MAE_force_{split}": sums.forces.mae
        }  # fmt: skip
    if sums.stress is not None:
        found |= {
            f"RMSE_stress_{split}": sums.stress.rmse, f"MAE_stress_{split}": sums.stress.mae
        }  # fmt: skip
    return {name: jnp.where(ends, value, jnp.nan) for name, value in found.items()}

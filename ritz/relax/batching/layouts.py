"""Carries as they are saved, which do not depend on the number of devices."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ritz.relax.batching.batch import EMPTY, Geometry, Outcome, Slots
from ritz.relax.batching.division import SlotDivision
from ritz.relax.batching.neighbors import ListSettings
from ritz.relax.batching.slots import made_from, with_lists
from ritz.types import State


def saved_form(division: SlotDivision, params: Sequence[Geometry], slots: Sequence[Slots]) -> State:
    """A carry as checkpoints have it: without neighbour lists, but with what they are made from.

    Args:
        division: The devices that share the slots.
        params: The structures in the slots of each bucket.
        slots: The slots.
    """
    bare, here, lists = [], [], []
    for geometry, own, n_used in zip(params, slots, division.n_slots, strict=True):
        kept, by_slot = own._replace(lists=()), (geometry, made_from(own.lists))
        if division.n_devices > 1:
            kept, by_slot = undivided(division, n_used, kept, by_slot)
        bare.append(kept)
        here.append(by_slot[0])
        lists.append(by_slot[1])
    return {"params": tuple(here), "slots": tuple(bare), "lists": lists}


def loaded_form(
    division: SlotDivision,
    saved: State,
    settings: Sequence[ListSettings],
    empty_params: Sequence[Geometry],
    empty_slots: Sequence[Slots],
) -> tuple[tuple[Geometry, ...], tuple[Slots, ...]]:
    """The structures in the slots of each bucket, and the slots, from `saved_form`.

    Args:
        division: The devices that share the slots.
        saved: What was saved, maybe with another number of devices.
        settings: Those of the neighbour lists.
        empty_params: The structures in the slots of a run that has not begun.
        empty_slots: Its slots.
    """
    found = []
    for place, (geometry, empty) in enumerate(zip(empty_params, empty_slots, strict=True)):
        slots, own = saved["slots"][place], (saved["params"][place], saved["lists"][place])
        if division.n_devices > 1:
            own = own[0], tuple(own[1])
            other = geometry, made_from(empty.lists)
            slots, own = divided(slots, own, empty._replace(lists=()), other)
        found.append((own[0], with_lists(slots, own[1], settings[place])))
    return tuple(g for g, _ in found), tuple(s for _, s in found)


def merged(finished: Outcome, n_devices: int) -> Outcome:
    """The results of all devices, each of which has those of some structures."""
    status = finished.status.reshape(n_devices, -1)
    holder = jnp.argmax(status != EMPTY, axis=0)
    places = holder * status.shape[1] + jnp.arange(status.shape[1])
    return jax.tree.map(lambda x: x[places], finished)


@functools.partial(jax.jit, static_argnums=(0, 1))
def undivided(division: SlotDivision, n_used: int, slots: Slots, by_slot: Any) -> tuple[Slots, Any]:
    """The used slots of a bucket on every device, with the results of all devices.

    Args:
        division: The devices.
        n_used: Number of used slots.
        slots: The slots of the bucket.
        by_slot: Further arrays whose first axis is the slot.
    """

    def used(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[:n_used], tree)

    finished = slots.finished
    if isinstance(finished, Outcome):
        finished = merged(finished, division.n_devices)
    found = used(_by_slot(slots))._replace(next=slots.next, finished=finished)
    return division.hold((found, used(by_slot)))


def divided(slots: Slots, by_slot: Any, empty: Slots, empty_by_slot: Any) -> tuple[Slots, Any]:
    """The inverse of `undivided`, given the slots of a run that has not begun."""

    def filled(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a), b[len(a) :]]), new, old)

    found = filled(_by_slot(slots), _by_slot(empty))
    finished = slots.finished
    if isinstance(finished, Outcome):
        finished = filled(finished, empty.finished)
    return found._replace(next=slots.next, finished=finished), filled(by_slot, empty_by_slot)


def _by_slot(slots: Slots) -> Slots:
    return slots._replace(next=(), finished=())  # type: ignore[arg-type]

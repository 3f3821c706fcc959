"""How the slots of buckets are divided among devices."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int

from ritz.driver.processes.division import EVERYWHERE, Division, Specs, mesh_over
from ritz.relax.batching.batch import Slots

SLOT = "slot"
"""The axis of the mesh."""

BY_SLOT: Specs = PartitionSpec(SLOT)
"""The layout of arrays whose first axis is the slot."""


@dataclasses.dataclass(frozen=True)
class SlotDivision(Division):
    """Devices that share the slots of each bucket equally.

    Waiting structures are in one queue, so that no device idles while there are any. Each device
    has the results of the structures that have left its own slots.
    """

    n_slots: tuple[int, ...] = ()
    """Number of slots of each bucket that hold structures; those that are added, so that all
    devices have as many, stay empty."""

    def padded(self, n_slots: int) -> int:
        """Number of slots, those that stay empty included."""
        return -(-n_slots // self.n_devices) * self.n_devices

    def slots(self, slots: Slots) -> Specs:
        """The layouts of the slots of a bucket."""
        return Slots(*[BY_SLOT] * len(Slots._fields))._replace(next=EVERYWHERE)

    def ranks(
        self, counts: Int[Array, " buckets"]
    ) -> tuple[Int[Array, " buckets"], Int[Array, " buckets"]]:
        """Within `on_each`: sums of counts over the devices before this one, and over all."""
        if self.n_devices == 1:
            return jnp.zeros_like(counts), counts
        table = jax.lax.all_gather(counts, SLOT)
        before = jnp.arange(len(table)) < jax.lax.axis_index(SLOT)
        total = jnp.sum(table, axis=0, dtype=counts.dtype)
        return jnp.sum(table, axis=0, where=before[:, None], dtype=counts.dtype), total

    def whole(
        self, columns: Mapping[str, Sequence[Array]], counts: Int[Array, " m"]
    ) -> tuple[dict[str, Array], Int[Array, " m"]]:
        """Within `on_each`: what all devices have in their slots, in one operation.

        Args:
            columns: By name, for each bucket an array with a number for each slot.
            counts: Numbers of each device, not more than there are columns.

        Returns:
            By name, the numbers of all slots of all buckets; and the sums of the counts.
        """
        own = [jnp.concatenate(list(parts)) for parts in columns.values()]
        if self.n_devices == 1:
            return dict(zip(columns, own, strict=True)), counts
        real = jnp.result_type(*own)
        more = jnp.pad(counts.astype(real), (0, len(own) - len(counts)))
        mine = jnp.stack([x.astype(real) for x in own], axis=-1)
        table = jax.lax.all_gather(jnp.concatenate([mine, more[None]]), SLOT)
        first, pieces = 0, []
        for number in self.n_slots:
            size = self.padded(number) // self.n_devices
            piece = table[:, first : first + size].reshape(-1, len(own))
            pieces.append(piece[:number])
            first += size
        joined = jnp.concatenate(pieces)
        found = {
            name: joined[:, place].astype(column.dtype)
            for place, (name, column) in enumerate(zip(columns, own, strict=True))
        }
        total = jnp.sum(table[:, -1, : len(counts)], axis=0)
        return found, total.astype(counts.dtype)


def divided_slots(n_slots: Sequence[int]) -> SlotDivision:
    """The devices that share slots: all, but no more than any bucket has slots.

    Where there are several processes, all of their devices take part.
    """
    devices = jax.devices()
    if jax.process_count() == 1:
        devices = devices[: max(n_slots)]
    mesh = None if len(devices) == 1 else mesh_over((SLOT,), (), devices)
    return SlotDivision(mesh, tuple(n_slots))

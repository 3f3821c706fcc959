"""How batches, and the members of a committee, are divided among devices."""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import PartitionSpec

from ritz.driver.processes.division import EVERYWHERE, Division, Specs, mesh_over
from ritz.mlip.batching.pack import Split
from ritz.mlip.training.carry import BatchErrors, TrainingCarry

MEMBER, BATCH = "member", "batch"
"""Axes of the mesh."""

BY_BATCH: Specs = PartitionSpec(BATCH)
"""The layout of what each device has for its share of a batch."""


@dataclasses.dataclass(frozen=True)
class TrainingDivision(Division):
    """Devices among which members are divided, and the structures of a batch.

    A member, or a single network, is whole on each of its devices, which add up their gradients.
    """

    of_committee: bool = False
    """Whether the first axis of networks and errors is the member."""

    @property
    def n_parts(self) -> int:
        """Number of devices that share a batch."""
        return self.count(BATCH)

    @property
    def by_network(self) -> Specs:
        """The layout of networks, their errors and their optimisers."""
        return PartitionSpec(MEMBER) if self.of_committee else EVERYWHERE

    def over_batch(self, tree: Any) -> Any:
        """Within `on_each`: sums over the shares of a batch."""
        return self.total(tree, BATCH)

    def split(self, data: Split) -> Specs:
        """The layouts of a split: a window has for each device the atoms of its structures."""
        is_window = len(data.starts) > len(data.counts)
        atoms = BY_BATCH if is_window else EVERYWHERE
        return Split(
            EVERYWHERE,
            EVERYWHERE,
            atoms,
            inputs=atoms,
            table_starts=atoms,
            forces=None if data.forces is None else atoms,
            tables=None if data.tables is None else atoms,
        )

    def carry(self, carry: TrainingCarry) -> Specs:
        """The layouts of a carry."""
        networks = self.by_network
        batch: Specs = EVERYWHERE
        if isinstance(carry.last_batch, BatchErrors):
            batch = BatchErrors(networks, BY_BATCH, BY_BATCH, networks)
        everywhere = TrainingCarry(*[EVERYWHERE] * len(TrainingCarry._fields))
        return everywhere._replace(
            params=networks,
            optimizer_state=networks,
            sums=networks,
            last_batch=batch,
            validation=networks,
        )


def division_of_process(most: int) -> TrainingDivision:
    """The devices of this process, at most so many, for a batch that it has alone."""
    devices = jax.local_devices()[: max(most, 1)]
    if len(devices) == 1:
        return TrainingDivision()
    return TrainingDivision(mesh_over((MEMBER, BATCH), (1,), devices))


def divided_training(n_members: int, of_committee: bool, device: str | None) -> TrainingDivision:
    """The devices that share training: all of them, unless one is named.

    Of the devices of a process, as many as possible have members of their own. The others, and the
    processes, share the batches, so that every process has all members.

    Args:
        n_members: Number of networks.
        of_committee: Whether the first axis of the networks is the member.
        device: The name of the only device, or None.
    """
    devices = jax.devices()
    if device is not None or len(devices) == 1:
        return TrainingDivision(of_committee=of_committee)
    own = len(jax.local_devices())
    mesh = mesh_over((MEMBER, BATCH), (math.gcd(n_members, own),), devices)
    return TrainingDivision(mesh, of_committee)

"""Which data a driver has on the device, where they do not all fit."""

from collections.abc import Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ritz.mlip.arrays import on_device
from ritz.mlip.batch_errors import OfEach, sums_of
from ritz.mlip.config import TrainingConfig
from ritz.mlip.kernel import TrainingCarry, TrainingKernel
from ritz.mlip.losses import ErrorSums, added
from ritz.mlip.memory import window_bytes, windows_ahead
from ritz.mlip.rooms import Plan, Room
from ritz.mlip.split import Split
from ritz.mlip.streaming import DataStream, Ids, Prefetch


def window_size(stream: DataStream, room: Room, config: TrainingConfig, n_batches: int) -> int:
    """Of how many batches a window has the data."""
    fitting = window_bytes(config) // max(stream.batch_bytes(room), 1)
    return int(np.clip(fitting, 1, n_batches))


class Windows:
    """The data of the next batches of an epoch, made while others are trained on.

    Args:
        stream: Where they come from.
        config: How many threads make them, and how far ahead.
    """

    def __init__(self, stream: DataStream, config: TrainingConfig):
        self.stream = stream
        self._ahead = windows_ahead(config)
        self._prefetch = Prefetch(
            stream.window, max(1, config.num_workers), config.persistent_workers
        )
        self._knows_next = config.sampling_policy != "error_weighted"
        self._present: Any = None

    def forget(self) -> None:
        """What is on the device is no longer right."""
        self._present = None
        self._prefetch.close()

    def load(self, kernel: TrainingKernel, carry: TrainingCarry) -> Split | None:
        """The data of the next batches, or None if they are there already."""
        size, n_batches = kernel.settings.window, kernel.settings.n_batches
        epoch, position = int(carry.epoch), int(carry.position)
        begin = position - position % size
        if self._present == (epoch, begin):
            return None
        plan = list(map(np.asarray, carry.plan))
        following: dict[Hashable, Ids] = {
            (epoch, start): _part(plan, start, size)
            for start in range(begin + size, n_batches, size)[: self._ahead]
        }
        if len(following) < self._ahead and self._knows_next:
            upcoming = list(map(np.asarray, _next_plan(kernel, carry)))
            following |= {
                (epoch + 1, start): _part(upcoming, start, size)
                for start in range(0, n_batches, size)[: self._ahead - len(following)]
            }
        self._present = epoch, begin
        room, own = kernel.settings.room, _part(plan, begin, size)
        found = self._prefetch.get(self._present, own, room, following)
        return with_known(found, kernel.split)

    def close(self) -> None:
        """End the threads."""
        self._prefetch.close()


def with_known(window: Split, known: Split) -> Split:
    """The rows of a window with what is known of all structures."""
    return window._replace(counts=known.counts, labels=known.labels)


def _part(plan: list[np.ndarray], begin: int, size: int) -> Ids:
    """Some batches of a plan; empty ones after the last."""
    found = []
    for group in plan:
        part = np.full((size, group.shape[1]), -1, group.dtype)
        own = group[begin : begin + size]
        part[: len(own)] = own
        found.append(part)
    return found


@jax.jit
def _next_plan(kernel: TrainingKernel, carry: TrainingCarry) -> Plan:
    """That of the next epoch, which does not depend on what happens in this one."""
    return kernel.next_epoch(carry).plan


def parts(stream: DataStream, room: Room, plan: Plan, size: int) -> Iterator[tuple[Split, Plan]]:
    """The data of a whole plan, window by window, each made while the one before is used."""
    groups = list(map(np.asarray, plan))
    begins = range(0, len(groups[0]), size)
    prefetch = Prefetch(stream.window, 1, True)
    for number, begin in enumerate(begins):
        own = _part(groups, begin, size)
        later: dict[Hashable, Ids] = {
            start: _part(groups, start, size) for start in begins[number + 1 : number + 2]
        }
        yield prefetch.get(begin, own, room, later), tuple(map(jnp.asarray, own))
    prefetch.close()


def error_sums_of(
    model: Any,
    data: Split | DataStream,
    room: Room,
    plan: Plan,
    config: TrainingConfig,
    of_each: OfEach,
    normalisation: Any,
    networks: Any,
) -> ErrorSums:
    """The errors of networks on the batches of a plan, of data on the device or streamed ones.

    Args:
        model: The model.
        data: The data.
        room: How much fits into a batch.
        plan: The structures of each batch.
        config: How large windows are.
        of_each: Applies a function to the networks, or to those of each member.
        normalisation: How features and energies are scaled.
        networks: The parameters.
    """

    def of_part(split: Split, plan: Plan) -> ErrorSums:
        return _sums(model, room, of_each, normalisation, networks, split, plan)

    if isinstance(data, Split):
        return of_part(data, plan)
    found: Any = None
    size = window_size(data, room, config, len(plan[0]))
    known = on_device(data.split, np.dtype(data.dtype))
    for window, own in parts(data, room, plan, size):
        more = of_part(with_known(window, known), own)
        found = more if found is None else added(found, more)
    return found


_sums = jax.jit(sums_of, static_argnums=(0, 1, 2))

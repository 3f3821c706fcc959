"""The data of a driver, on the device or streamed to it window by window."""

import functools
from collections.abc import Hashable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.driver.processes.division import on_host
from ritz.full_precision import in_full_precision
from ritz.mlip.arrays import on_device
from ritz.mlip.batching.memory import DataSettings
from ritz.mlip.batching.pack import Split
from ritz.mlip.batching.plan import Capacity, Plan, fixed_plan
from ritz.mlip.batching.stream import DataStream, Ids, Prefetch
from ritz.mlip.models.abstract_model import AbstractModel, Normalisation
from ritz.mlip.training.carry import TrainingCarry
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.division import BATCH, TrainingDivision
from ritz.mlip.training.kernel import TrainingKernel
from ritz.mlip.training.losses import (
    ErrorSums,
    MapMembers,
    Scalar,
    add_sums,
    named_errors,
)
from ritz.mlip.training.measuring import split_error_sums
from ritz.mlip.training.prepare import PreparedData


def window_size(
    stream: DataStream, capacity: Capacity, settings: DataSettings, n_batches: int
) -> int:
    """Number of batches whose data a window holds."""
    fitting = settings.window_bytes // max(stream.batch_bytes(capacity), 1)
    return int(np.clip(fitting, 1, n_batches))


def window_for_all(
    stream: DataStream, division: TrainingDivision, ids: Ids, capacity: Capacity
) -> Split:
    """The rows of some batches, on each device those of its share.

    Args:
        stream: Where they come from.
        division: The devices.
        ids: The structures of the batches, in the order of the devices' slots.
        capacity: The capacity of a share.
    """
    if division.n_devices == 1:
        return stream.window(ids, capacity)
    real = np.dtype(stream.dtype)
    parts = {}
    for place in division.own_places(BATCH):
        own = [
            group[:, place * size.slots : (place + 1) * size.slots]
            for group, size in zip(ids, capacity, strict=True)
        ]
        parts[place] = jax.tree.map(
            lambda x: x.astype(real) if x.dtype.kind == "f" else x,
            stream.window_on_host(own, capacity),
        )
    with jax.enable_x64(stream.dtype == "float64"):
        return division.joined(parts, BATCH)


class Windows:
    """The data of the next batches of an epoch, made while others are trained on.

    Args:
        stream: Where they come from.
        config: How many threads make them, and how far ahead.
        division: The devices that share a batch.
    """

    def __init__(self, stream: DataStream, config: TrainingConfig, division: TrainingDivision):
        self.stream = stream
        settings = config.data_settings
        self._ahead = settings.windows_ahead
        make = functools.partial(window_for_all, stream, division)
        self._prefetch = Prefetch(make, max(1, settings.num_workers), settings.persistent_workers)
        self._knows_next = config.sampling_policy != "error_weighted"
        self._present: tuple[int, int] | None = None

    def forget(self) -> None:
        """Forget the window on the device, and those made ahead: the plan has changed."""
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
            (epoch, start): _batches_of_plan(plan, start, size)
            for start in range(begin + size, n_batches, size)[: self._ahead]
        }
        if len(following) < self._ahead and self._knows_next:
            upcoming = list(map(np.asarray, _next_plan(kernel, carry)))
            following |= {
                (epoch + 1, start): _batches_of_plan(upcoming, start, size)
                for start in range(0, n_batches, size)[: self._ahead - len(following)]
            }
        self._present = epoch, begin
        capacity, own = kernel.settings.capacity, _batches_of_plan(plan, begin, size)
        found = self._prefetch.get(self._present, own, capacity, following)
        return with_labels(found, kernel.split)

    def close(self) -> None:
        """End the threads that prepare batches ahead."""
        self._prefetch.close()


def with_labels(window: Split, known: Split) -> Split:
    """The rows of a window with what is known of all structures."""
    return window._replace(counts=known.counts, labels=known.labels)


def _batches_of_plan(plan: list[np.ndarray], begin: int, size: int) -> Ids:
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
    """The plan of the next epoch, which does not depend on the steps of this one."""
    return kernel.next_epoch(carry).plan


def plan_windows(
    stream: DataStream, division: TrainingDivision, capacity: Capacity, plan: Plan, size: int
) -> Iterator[tuple[Split, Plan]]:
    """The data of a whole plan, window by window, each made while the one before is used."""
    groups = list(map(np.asarray, plan))
    begins = range(0, len(groups[0]), size)
    prefetch = Prefetch(functools.partial(window_for_all, stream, division), 1, True)
    for number, begin in enumerate(begins):
        own = _batches_of_plan(groups, begin, size)
        later: dict[Hashable, Ids] = {
            start: _batches_of_plan(groups, start, size)
            for start in begins[number + 1 : number + 2]
        }
        here = division.put(tuple(map(jnp.asarray, own)))
        yield prefetch.get(begin, own, capacity, later), here
    prefetch.close()


def error_sums_of(
    model: AbstractModel,
    data: Split | DataStream,
    capacity: Capacity,
    plan: Plan,
    settings: DataSettings,
    map_members: MapMembers,
    division: TrainingDivision,
    normalisation: Normalisation,
    networks: PyTree,
) -> ErrorSums:
    """The errors of networks on the batches of a plan, of data on the device or streamed ones.

    Args:
        model: The model.
        data: The data.
        capacity: The capacity of a batch.
        plan: The structures of each batch.
        settings: How large windows are.
        map_members: Applies a function to the networks, or to those of each member.
        division: The devices that share a batch.
        normalisation: How features and energies are scaled.
        networks: The parameters.
    """

    def of_part(split: Split, plan: Plan) -> ErrorSums:
        return _sums(
            model,
            capacity,
            map_members,
            division,
            normalisation=normalisation,
            networks=networks,
            split=split,
            plan=plan,
        )

    if isinstance(data, Split):
        return of_part(data, plan)
    found: ErrorSums | None = None
    size = window_size(data, capacity, settings, len(plan[0]))
    known = division.put(on_device(data.split, np.dtype(data.dtype)))
    for window, own in plan_windows(data, division, capacity, plan, size):
        more = of_part(with_labels(window, known), own)
        found = more if found is None else add_sums(found, more)
    assert found is not None
    return found


_sums = jax.jit(in_full_precision(split_error_sums), static_argnums=(0, 1, 2, 3))


class TrainedState:
    """The state of training: the networks, and how their inputs and outputs are scaled."""

    def __init__(self, parameters: PyTree, normalisation: Normalisation):
        self.parameters = parameters
        self.normalisation = normalisation


class TrainingData:
    """Both splits, either on the device as a whole or window by window.

    Args:
        model: What they are packed for.
        prepared: The splits.
        config: Batch size, and how data are streamed.
        real: The precision on the device.
        map_members: Applies a function to the networks, or to those of each member.
        division: The devices that share a batch; each has all of the data, if they fit.
    """

    def __init__(
        self,
        model: AbstractModel,
        prepared: PreparedData,
        config: TrainingConfig,
        real: np.dtype,
        map_members: MapMembers,
        division: TrainingDivision,
    ):
        assert prepared.train is not None
        self._model, self._config, self._map_members = model, config, map_members
        self._division = division
        train = prepared.train
        streamed = isinstance(train, DataStream)
        self._windows = Windows(train, config, division) if streamed else None
        self.train: Split = division.put(on_device(_without_rows(train), real))
        """The split to train on; without rows of atoms if it is streamed."""
        self.test = prepared.test
        """The validation split, or None."""
        if isinstance(self.test, Split):
            self.test = division.put(on_device(self.test, real))

    @property
    def is_streamed(self) -> bool:
        """Whether the device has some of the data at a time."""
        return self._windows is not None

    def window_size(self, capacity: Capacity, n_batches: int) -> int:
        """Number of batches whose data are on the device at a time; 0 for all."""
        if self._windows is None:
            return 0
        return window_size(self._windows.stream, capacity, self._config.data_settings, n_batches)

    def load(self, kernel: TrainingKernel, carry: TrainingCarry) -> Split | None:
        """The data of the next batches, or None if they are there already."""
        return None if self._windows is None else self._windows.load(kernel, carry)

    def warm_up(self) -> None:
        """Fill the caches of streamed data."""
        for data in (None if self._windows is None else self._windows.stream, self.test):
            if isinstance(data, DataStream):
                data.warm_up()

    def forget(self) -> None:
        """Forget the windows: the plan has changed."""
        if self._windows is not None:
            self._windows.forget()

    def close(self) -> None:
        """End the threads that prepare data."""
        if self._windows is not None:
            self._windows.close()

    def _split(self, name: str) -> Split | DataStream:
        if name == "train":
            return self.train if self._windows is None else self._windows.stream
        assert self.test is not None
        return self.test

    def whole_plan(self, name: str) -> tuple[Capacity, Plan]:
        """Batches that have each structure of "train" or "test" once."""
        known = _without_rows(self._split(name))
        config, division = self._config, self._division
        capacity, plan = fixed_plan(known, config.batch_size, config.uses_stress, division.n_parts)
        return capacity, division.put(plan)

    def error_sums(
        self, name: str, state: TrainedState, capacity: Capacity, plan: Plan
    ) -> ErrorSums:
        """The errors of a state's networks on the batches of a plan."""
        return error_sums_of(
            self._model,
            self._split(name),
            capacity,
            plan=plan,
            settings=self._config.data_settings,
            map_members=self._map_members,
            division=self._division,
            normalisation=state.normalisation,
            networks=state.parameters,
        )

    def errors(self, state: TrainedState) -> dict[str, np.ndarray]:
        """The errors of a state on all structures of both splits, by name."""
        errors: dict[str, Scalar] = {}
        for name in ("train",) if self.test is None else ("train", "test"):
            sums = self.error_sums(name, state, *self.whole_plan(name))
            errors |= named_errors(sums, name, jnp.asarray(True))
        return {name: np.asarray(value) for name, value in on_host(errors).items()}


def _without_rows(data: Split | DataStream) -> Split:
    """The split, without rows of atoms if it is streamed."""
    return data.split if isinstance(data, DataStream) else data

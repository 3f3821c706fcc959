"""Splits of which only some structures are on the device at a time, and little in memory."""

import concurrent.futures
from collections.abc import Callable, Hashable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.mlip.arrays import LRUCache, RowBuffer, Tree, default_device, on_device
from ritz.mlip.batching.memory import Caches
from ritz.mlip.batching.pack import Split, forces_of
from ritz.mlip.batching.plan import Capacity
from ritz.mlip.batching.survey import Survey, chunk_of
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import starts_of
from ritz.mlip.descriptors.pairs import PairArrays, find_pairs
from ritz.mlip.models.abstract_model import AbstractModel, Normalisation

AT_ONCE = 128
"""Number of structures that are packed at once; bounds the memory."""

Ids = Sequence[np.ndarray]
"""The structures of some batches, by group; -1 for none."""


def _copied(entry: Tree) -> Tree:
    """Copies of an entry's arrays, so that larger arrays around them can be freed."""
    return jax.tree.map(np.copy, entry)


class DataStream:
    """Packs the structures of batches when they are needed.

    Args:
        model: What they are packed for.
        dataset: The structures.
        survey: What is known of them.
        normalisation: How features are scaled.
        dtype: "float32" or "float64".
        with_stress: Whether stress is asked for where forces are.
        caches: What is kept.
        device: Where windows are put; None for JAX's default.
    """

    def __init__(
        self,
        model: AbstractModel,
        dataset: AbstractDataset,
        survey: Survey,
        normalisation: Normalisation,
        dtype: str,
        with_stress: bool,
        caches: Caches,
        device: str | None,
    ):
        self.model = model
        self.dataset = dataset
        self.survey = survey
        self.normalisation = normalisation
        self.dtype = dtype
        self.with_stress = with_stress
        self.device = device
        self._inputs = LRUCache(caches.features)
        self._pairs = LRUCache(caches.neighbors)
        self._tables = LRUCache(caches.derivatives)

    @property
    def split(self) -> Split:
        """The split without any rows of atoms."""
        starts = np.zeros_like(self.survey.counts)
        return Split(
            self.survey.counts,
            self.survey.labels,
            starts,
            inputs=(),
            table_starts=starts,
            forces=None,
            tables=None,
        )

    def batch_bytes(self, capacity: Capacity) -> int:
        """Bytes of a batch on the device."""
        itemsize = np.dtype(self.dtype).itemsize
        size = self.model.row_bytes
        return sum(
            sum(group.atoms) * size(self.survey.widths, group.supervised, itemsize)
            for group in capacity
        )

    def warm_up(self) -> None:
        """Fill the caches, as far as they go, in the order of the data set."""
        caches = [c for c in (self._inputs, self._pairs, self._tables) if c.size != 0]
        for begin in range(0, len(self.dataset), AT_ONCE):
            if all(cache.is_full for cache in caches):
                return
            places = range(begin, min(begin + AT_ONCE, len(self.dataset)))
            tabled = np.asarray(self.survey.labels.has_tables)[begin : begin + AT_ONCE]
            for _ in self._rows(list(places), tabled):
                pass

    def window(self, ids: Ids, capacity: Capacity) -> Split:
        """The rows of some batches, see `window_on_host`, on the device."""
        found = self.window_on_host(ids, capacity)
        with jax.enable_x64(self.dtype == "float64"), default_device(self.device):
            return on_device(found, jnp.dtype(self.dtype))

    def window_on_host(self, ids: Ids, capacity: Capacity) -> Split:
        """The rows of some batches; what is known of structures is left out.

        Its shapes depend on the capacity and the number of batches alone.

        Args:
            ids: The structures of the batches.
            capacity: The capacity of a batch.
        """
        n_batches = len(ids[0])
        several = [np.unique(group[group >= 0]) for group in ids]
        tabled = np.concatenate(
            [
                np.full(len(own), group.supervised)
                for own, group in zip(several, capacity, strict=True)
            ]
        )
        places = np.concatenate(several)
        counts = self.survey.counts
        starts, table_starts = np.zeros_like(counts), np.zeros_like(counts)
        starts[places] = starts_of(counts[places])
        table_starts[places[tabled]] = starts_of(counts[places[tabled]])
        n_rows = n_batches * sum(sum(group.atoms) for group in capacity)
        n_tabled = n_batches * sum(sum(group.atoms) for group in capacity if group.supervised)
        inputs, tables = RowBuffer(n_rows), RowBuffer(n_tabled)
        for begin in range(0, len(places), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            for own, more in self._rows(list(map(int, places[part])), tabled[part]):
                inputs.add(own)
                if more is not None:
                    tables.add(more)
        if n_tabled and tables.rows is None:
            tables.add(self._no_tables())
        nothing: PyTree = ()
        forces, own = (None, None) if tables.rows is None else tables.rows
        return Split(
            nothing,
            nothing,
            starts,
            inputs=inputs.rows,
            table_starts=table_starts,
            forces=forces,
            tables=own,
        )

    def _no_tables(self) -> PyTree:
        """Forces and tables of no structure, for windows without any whose forces count."""
        place = int(np.flatnonzero(self.survey.labels.has_tables)[0])
        ((_, more),) = self._rows([place], np.ones(1, bool))
        return jax.tree.map(lambda rows: rows[:0], more)

    def _rows(self, places: list[int], tabled: np.ndarray) -> Iterator[tuple[PyTree, PyTree]]:
        """Inputs of structures, and forces and tables of those whose forces are asked for."""
        inputs: list[PyTree] = [self._inputs.get(place) for place in places]
        tables: list[PyTree] = [
            self._tables.get(place) if has_tables else ()
            for place, has_tables in zip(places, tabled, strict=True)
        ]
        missing = [
            number
            for number, parts in enumerate(zip(inputs, tables, strict=True))
            if any(part is None for part in parts)
        ]
        if missing:
            self._compute([places[number] for number in missing], missing, tabled, inputs, tables)
        for rows, table_rows, has_tables in zip(inputs, tables, tabled, strict=True):
            yield rows, table_rows if has_tables else None

    def _compute(
        self,
        places: list[int],
        numbers: list[int],
        tabled: np.ndarray,
        inputs: list[PyTree],
        tables: list[PyTree],
    ) -> None:
        """Pack structures that are in no cache, and put them into the lists."""

        def search(number: int, structure: Structure, cutoff: float) -> PairArrays:
            place = places[number]
            found = self._pairs.get(place)
            if found is None:
                found = find_pairs(structure, cutoff)
                self._pairs.put(place, _copied(found))
            return found

        chunk = chunk_of(self.model, self.dataset, places, search)
        widths, dtype = self.survey.widths, self.dtype
        rows = self.model.inputs(chunk, self.normalisation, widths, dtype)
        for number, place, own in zip(numbers, places, _split_rows(rows, chunk.sizes), strict=True):
            inputs[number] = own
            self._inputs.put(place, _copied(own))
        chosen = tabled[numbers]
        if np.any(chosen):
            part = chunk.only(chosen)
            found = forces_of(part), self.model.tables(part, widths, dtype, self.with_stress)
            for n, own in zip(np.flatnonzero(chosen), _split_rows(found, part.sizes), strict=True):
                tables[numbers[n]] = own
                self._tables.put(places[n], _copied(own))


def _split_rows(rows: PyTree, sizes: np.ndarray) -> list[PyTree]:
    """The rows of each structure."""
    ends = np.cumsum(sizes)
    return [
        jax.tree.map(lambda part, a=end - size, b=end: part[a:b], rows)
        for size, end in zip(sizes, ends, strict=True)
    ]


class Prefetch:
    """Makes windows ahead of time, in threads.

    Args:
        make: Makes a window, given the structures of its batches and the capacity.
        workers: How many threads there are.
        persistent: Whether they live on when nothing is asked of them.
    """

    def __init__(self, make: Callable[[Ids, Capacity], Split], workers: int, persistent: bool):
        self._make = make
        self._workers = workers
        self._persistent = persistent
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._jobs: dict[Hashable, concurrent.futures.Future[Split]] = {}

    def get(
        self,
        key: Hashable,
        ids: Ids,
        capacity: Capacity,
        following: dict[Hashable, Ids] | None = None,
    ) -> Split:
        """A window, and begin to make those that follow.

        Args:
            key: Names the window; the same key always means the same one.
            ids: The structures of its batches.
            capacity: The capacity of a batch.
            following: The windows that will be asked for next.
        """
        job = self._jobs.pop(key, None)
        upcoming = following or {}
        for old in [k for k in self._jobs if k not in upcoming]:
            self._jobs.pop(old).cancel()
        if upcoming and self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(self._workers, "ritz-data")
        for name, own in upcoming.items():
            if name not in self._jobs and self._pool is not None:
                self._jobs[name] = self._pool.submit(self._make, own, capacity)
        found = self._make(ids, capacity) if job is None else job.result()
        if not upcoming and not self._persistent:
            self.close()
        return found

    def close(self) -> None:
        """End the threads that prepare batches ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._jobs = None, {}

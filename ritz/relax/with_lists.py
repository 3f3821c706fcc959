"""A driver whose neighbour lists grow when they do not fit."""

import abc
import logging
from collections.abc import Sequence

import numpy as np

from ritz.driver import GrowingDriver
from ritz.driver.processes.division import on_host
from ritz.relax.algorithms.stage import FusedStage
from ritz.relax.batching.batch import Atoms, Geometry, is_running
from ritz.relax.batching.bucket import Bucket
from ritz.relax.batching.list_sizes import collapsed, grown, most_allowed
from ritz.relax.batching.slots import failed, widened
from ritz.relax.kernel import RelaxCarry, RelaxKernel, overflows
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_MANY = 4  # growth of a list that is reported as a warning
_GROWN = (
    "Step %d: neighbour lists of %s overflowed; they now hold %d neighbours an atom instead of "
    "%d.%s"
)


class WithLists(GrowingDriver):
    """Base class of `Relaxation`, which enlarges neighbour lists and settles what has collapsed."""

    buckets: Sequence[Bucket]
    """The structures, by size."""
    widths: list[int]
    """Number of neighbours that the lists of each bucket hold."""
    images: list[tuple[int, int, int]]
    """Number of images searched along each lattice vector, by bucket."""

    @property
    @abc.abstractmethod
    def kernel(self) -> RelaxKernel:
        """What advances the slots of all buckets by a step, with lists of the present widths."""

    @property
    @abc.abstractmethod
    def stages(self) -> FusedStage:
        """The stages that a structure goes through, as they act on the slots together."""

    @abc.abstractmethod
    def spread(self, carry: RelaxCarry) -> RelaxCarry:
        """The carry, with the slots divided among the devices."""

    def attend(self) -> None:
        """Enlarge neighbour lists that did not fit; structures that have collapsed fail."""
        carry, n_stages = self.carry, len(self.stages)
        if not overflows(carry, n_stages):
            return
        found, grown = list(carry.slots), False
        for bucket, slots in enumerate(carry.slots):
            rows = np.flatnonzero(on_host(slots.lists.overflow & is_running(slots, n_stages)))
            if rows.size:
                geometry, atoms = on_host((carry.params[bucket], slots.atoms))
                reach, most = self.kernel.lists[bucket].reach, self.most_neighbors(bucket)
                lost = collapsed(geometry, atoms, rows, reach, most)
                found[bucket] = failed(slots, carry.params[bucket], lost) if lost else slots
                left = [int(row) for row in rows if row not in lost]
                grown |= bool(left)
                if left:
                    self._grow(bucket, geometry, atoms, left)
        if grown:
            self.grow()
            with self._precision():
                pairs = zip(found, self.widths, strict=True)
                found = [widened(own, width) for own, width in pairs]
        self.carry = self.spread(carry._replace(slots=tuple(found)))

    def most_neighbors(self, bucket: int) -> int:
        """Number of neighbours of an atom beyond which a structure has collapsed."""
        return most_allowed(self.buckets[bucket].width, self.kernel.lists[bucket].reach)

    def _grow(self, bucket: int, geometry: Geometry, atoms: Atoms, rows: Sequence[int]) -> None:
        reach, old = self.kernel.lists[bucket].reach, self.widths[bucket]
        width, images = grown(geometry, atoms, rows, reach, (old, self.images[bucket]))
        self.widths[bucket], self.images[bucket] = width, images
        many = width > _MANY * max(self.buckets[bucket].width, 1)
        level = logging.WARNING if many else logging.INFO
        size, more = self.buckets[bucket].n_atoms, " Something is collapsing." * many
        _logger.log(level, _GROWN, self.step_count, counted(size, "atom"), width, old, more)

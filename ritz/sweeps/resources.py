"""Cores and GPUs of the runs of a sweep."""

import contextlib
import os
from typing import NamedTuple

from ritz.hardware import cores, gpus

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SHARE = 0.9
"""Share of the memory of a GPU that its runs have together."""


class Resources(NamedTuple):
    """Where a run is executed."""

    cores: tuple[int, ...] = ()
    """Its cores; empty for any."""
    gpu: str = ""
    """Its GPU, as CUDA_VISIBLE_DEVICES names it; empty for any."""
    runs_of_gpu: int = 1
    """How many runs share this GPU."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of its process."""
        found = {}
        if self.cores:
            found |= dict.fromkeys(_THREADS, str(len(self.cores)))
        if self.gpu:
            found["CUDA_VISIBLE_DEVICES"] = self.gpu
            if self.runs_of_gpu > 1:
                found["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_SHARE / self.runs_of_gpu:.3f}"
        return found

    def pin(self, process: int) -> None:
        """Keep a process on the cores; what it starts inherits that."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # it has ended already
                os.sched_setaffinity(process, self.cores)


def most_at_once() -> int:
    """How many runs this machine has room for: one on each GPU, or else each core."""
    return len(gpus()) or len(cores())


def shares(n: int) -> list[Resources]:
    """The shares of this machine that `n` runs at once have."""
    own, cards = cores(), gpus()
    found = []
    for number in range(n):
        mine = tuple(own[number::n]) or (own[number % len(own)],)
        card = cards[number % len(cards)] if cards else ""
        sharing = len(range(number % len(cards), n, len(cards))) if cards else 1
        found.append(Resources(mine, card, sharing))
    return found

"""Decisions that all processes of a run take together.

A callback may decide from a clock or a file that only its process sees. If one process left the
loop alone, the others would wait for it forever in their next collective operation.
"""

import functools
from typing import Any

import jax
import numpy as np


@functools.cache
def alone() -> bool:
    """Whether there is one process only."""
    return jax.process_count() == 1


def agree(decision: Any) -> bool:
    """Whether `decision` is true on any process; every process must ask at the same point."""
    if alone():
        return bool(decision)
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(bool(decision)))))


def agree_on_most(number: int) -> int:
    """The largest `number` of any process; every process must ask at the same point."""
    return -agree_on_least(-number)


def agree_on_least(number: int) -> int:
    """The smallest `number` of any process; every process must ask at the same point."""
    if alone():
        return number
    from jax.experimental import multihost_utils

    return int(np.min(multihost_utils.process_allgather(np.asarray(number))))

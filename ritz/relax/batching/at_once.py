"""How many structures of a batch are evaluated at once."""

import math

import jax

from ritz.hardware import cores

_BYTES = 2**18
"""Bytes of one number for each pair, for each core: half of a cache of the second level.

Larger batches are evaluated in parts: arrays that do not fit in the caches cost more time than the
arithmetic. On a core, 256 crystals of 27 atoms take 8 ms in parts and 19 ms at once."""


def structures_at_once(n_slots: int, n_pairs: int, itemsize: int) -> int:
    """How many structures are evaluated together; on GPUs all.

    Args:
        n_slots: Number of structures on a device.
        n_pairs: Number of pairs of a structure, those that fill up its lists included.
        itemsize: Bytes of a number.
    """
    if jax.default_backend() != "cpu":
        return n_slots
    share = len(cores()) / jax.local_device_count()
    fitting = max(1, int(_BYTES * share / max(1, n_pairs * itemsize)))
    n_parts = math.ceil(n_slots / fitting)
    equal = [n for n in range(n_parts, 2 * n_parts) if n_slots % n == 0]
    return n_slots // equal[0] if equal else math.ceil(n_slots / n_parts)

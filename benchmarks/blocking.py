"""Means of correlated series."""

from typing import Any

import numpy as np


def blocked(energies: Any, n_blocks: int = 20) -> tuple[float, float]:
    """The mean of a series and its standard error, from the means of blocks."""
    n = min(n_blocks, len(energies))
    blocks = [block.mean() for block in np.array_split(np.asarray(energies), n)]
    return float(np.mean(blocks)), float(np.std(blocks, ddof=1) / n**0.5) if n > 1 else np.nan

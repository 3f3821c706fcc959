"""Predicted against known values, as `ritz mlip evaluate` writes them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ritz.folders.arrays import read_arrays
from ritz.plotting.parity import FILE, UNITS

_MOST_POINTS = 4000


class Parity(NamedTuple):
    """Predicted against known values of a quantity."""

    known: np.ndarray
    predicted: np.ndarray
    rmse: float
    mae: float
    n_values: int
    """Number of values, of which a sample is here if there are many."""


def read_parity(folder: Path) -> dict[str, Parity]:
    """Quantities with known values, by name; empty if there are none, or the file is damaged.

    Pairs with a value that is not finite are left out. Errors are those of all values; of more than
    4,000 values a random sample is kept, and the 100 that are worst.
    """
    try:
        pairs = read_arrays(folder / FILE)
    except ValueError:
        return {}
    known = [name for name in UNITS if name in pairs and _is_pair(pairs[name])]
    usable = {name: _finite(pairs[name]) for name in known}
    return {name: _parity(*pair) for name, pair in usable.items() if pair.size}


def _is_pair(values: np.ndarray) -> bool:
    return values.ndim == 2 and len(values) == 2 and values.dtype.kind in "iuf"


def _finite(pair: np.ndarray) -> np.ndarray:
    return pair[:, np.all(np.isfinite(pair), axis=0)]


def _parity(known: np.ndarray, predicted: np.ndarray) -> Parity:
    errors = np.abs(predicted - known)
    rmse, mae, n = float(np.sqrt(np.mean(errors**2))), float(np.mean(errors)), len(known)
    if n > _MOST_POINTS:
        drawn = np.random.default_rng(0).choice(n, _MOST_POINTS, replace=False)
        places = np.union1d(drawn, np.argsort(errors)[-100:])
        known, predicted = known[places], predicted[places]
    return Parity(known, predicted, rmse, mae, n)

"""Predicted against known values, as `ritz mlip evaluate` writes them."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ritz.plotting.parity import UNITS

FILE = "parity.npz"
"""File of a run folder: `energy` and `force`, shape (2, n), known and predicted."""

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
    """Quantities with known values, by name; empty if there are none.

    Errors are those of all values; of more than 4,000 values a random sample is kept, and the
    100 that are worst.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as saved:
            pairs = {name: saved[name] for name in UNITS if name in saved.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return {name: _parity(*pair) for name, pair in pairs.items() if pair.size}


def _parity(known: np.ndarray, predicted: np.ndarray) -> Parity:
    errors = np.abs(predicted - known)
    rmse, mae, n = float(np.sqrt(np.mean(errors**2))), float(np.mean(errors)), len(known)
    if n > _MOST_POINTS:
        drawn = np.random.default_rng(0).choice(n, _MOST_POINTS, replace=False)
        places = np.union1d(drawn, np.argsort(errors)[-100:])
        known, predicted = known[places], predicted[places]
    return Parity(known, predicted, rmse, mae, n)

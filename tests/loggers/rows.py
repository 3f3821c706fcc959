"""A row with everything in it, and what a log must make of it."""

import math
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class Stats:
    """Statistics as NetKet gives them."""

    def __init__(self, mean):
        self.mean = mean

    def to_dict(self):
        return {"Mean": self.mean, "Variance": 0.5, "Sigma": 0.1, "R_hat": math.nan, "TauCorr": 2.0}


class Pair(NamedTuple):
    x: float
    y: float


def rich_row(step):
    row = {
        "Energy": Stats(-1.5 + 0.25j * step),
        "acceptance": 0.5,
        "info": {"fallback": bool(step % 2), "deep": {"n": step}},
        "lst": [step, 2.5],
        "vector": np.arange(3) + step,
        "matrix": jnp.ones((2, 2)) * step,
        "pair": Pair(1.0, step),
        "inf": -math.inf if step else math.nan,
        "nothing": None,
        "word": "yes",
    }
    if step >= 2:
        row["late"] = 7
    return row


def write(logger, steps, initial=0, folder="."):
    with logger.open(Path(folder), "run", initial):
        for step in steps:
            logger.write(step, rich_row(step))
    return logger


def check_rich(data, *, infinities=True):
    assert data["Energy"].iters.tolist() == [0, 1, 2]
    assert list(data["Energy"].keys()) == ["Mean", "Variance", "Sigma", "R_hat", "TauCorr"]
    assert data["Energy"]["Mean"].tolist() == [-1.5, -1.5 + 0.25j, -1.5 + 0.5j]
    assert np.isnan(data["Energy"]["R_hat"]).all()
    assert data["info"]["fallback"].values.tolist() == [False, True, False]
    assert data["info/deep/n"].values.tolist() == [0, 1, 2]
    assert data["lst"][0].values.tolist() == [0, 1, 2]
    assert data["vector"].values.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert data["matrix"].values.shape == (3, 2, 2)
    assert data["pair"]["y"].tolist() == [0, 1, 2]
    assert data["late"].iters.tolist() == [2]
    assert data["word"].values.tolist() == ["yes"] * 3
    assert "nothing" not in data
    values = data["inf"].values
    assert math.isnan(values[0])
    assert values[1] == -math.inf if infinities else math.isnan(values[1])

import json
from pathlib import Path

import numpy as np

from ritz.folders.summary import SUMMARY, add_result, read_summary, write_summary


def test_what_is_not_finite_is_null_and_said():
    write_summary(".", {"energy": float("nan"), "inner": {"x": [1.0, np.float64("inf")]}, "n": 3})
    text = Path(SUMMARY).read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == {
        "energy": None,
        "inner": {"x": [1.0, None]},
        "n": 3,
        "finite": False,
    }
    write_summary(".", {**read_summary("."), "energy": 1.0, "inner": {}})
    assert read_summary(".")["finite"] is True


def test_a_damaged_summary_is_none():
    for text in ("", "[1]", "{", "\x00", "[" * 100_000):
        Path(SUMMARY).write_text(text)
        assert read_summary(".") == {}


def test_the_newest_result_is_at_the_top():
    add_result(Path(), "train", {"energy": -1.0, "steps": 5}, exact=-2.0)
    add_result(Path(), "evaluate", {"energy": -1.5, "r_hat": 1.0})
    found = read_summary(".")
    assert found["energy"] == -1.5 and found["result_of"] == "evaluate" and found["exact"] == -2.0
    assert found["train"] == {"energy": -1.0, "steps": 5} and "steps" not in found

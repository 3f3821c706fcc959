"""Settings as text: the same in every process."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ritz.driver.description import describe, differences
from tests.arrangements import ROOT


class Wrapping:
    """An array within an object whose repr is of this process alone, as NetKet's HashableArray."""

    def __init__(self, values):
        self.wrapped = np.asarray(values)

    def __repr__(self):
        return f"Wrapping(hash={id(self)})"


@dataclasses.dataclass
class Settings:
    group: object
    names: frozenset


def test_arrays_within_objects_and_sets_are_told_by_their_content():
    first = describe(Settings(Wrapping([[0, 1], [1, 0]]), frozenset("abcdef")))
    again = describe(Settings(Wrapping([[0, 1], [1, 0]]), frozenset("fedcba")))
    assert first == again
    assert first == {
        "": "Settings", "group": "[[0, 1], [1, 0]]", "names": "{a, b, c, d, e, f}",
    }  # fmt: skip
    other = describe(Settings(Wrapping([[0, 1], [1, 1]]), frozenset("abcdef")))
    assert differences(first, other) == ["group was [[0, 1], [1, 0]], is [[0, 1], [1, 1]]"]
    large = [describe(Wrapping(np.arange(20.0) + shift))[""] for shift in (0, 0, 1)]
    assert large[0] == large[1] != large[2]
    assert describe(np.float32(0.5)) == {"": "0.5"} == describe(Wrapping(0.5))


@pytest.mark.medium
@pytest.mark.netket
def test_no_setting_of_any_domain_depends_on_the_process():
    """Neither on the seed of Python's hashes: runs go on in another process, or share several."""
    processes = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "tests.described", seed]
        processes.append(subprocess.Popen(command, env=environment))
    assert [process.wait() for process in processes] == [0, 0]
    first, second = (json.loads(Path(seed).read_text()) for seed in ("1", "2"))
    assert len(first) > 80 and first.keys() == second.keys()
    for name, described in first.items():
        assert not differences(described, second[name]), name

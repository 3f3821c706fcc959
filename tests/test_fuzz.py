"""A few cases of `make fuzz` with fixed seeds, and what it takes for a finding."""

import random
import time
from pathlib import Path

import pytest

from fuzz.case import Kind, Wrong
from fuzz.command import ritz
from fuzz.damage import OF_BYTES
from fuzz.processes import judge, scenario
from fuzz.settings import Settings
from fuzz.structures import Structures
from fuzz.wild import wild


class Reading(Structures):
    """Only what needs no potential."""

    def prepare(self):
        return

    def case(self, chance, folder):
        given = [wild(chance, good=chance.random() < 0.4) for _ in range(2)]
        Path("some.extxyz").write_text("".join(one.text for one in given))
        self._read(given, chance)


@pytest.mark.netket
@pytest.mark.parametrize(("kind", "cases"), [(Reading, 150), (Settings, 12)])
def test_no_case_is_a_finding(kind, cases, tmp_path):
    made = kind(tmp_path)
    found = [made.try_case(1, number, tmp_path) for number in range(cases)]
    assert [str(one) for one in found if one is not None] == []


class Odd(Kind):
    name = "odd"
    limit = 0.2

    def prepare(self):
        return

    def case(self, chance, folder):
        self.done.append(f"{number}" if (number := chance.randrange(3)) else "zero")
        if number == 0:
            raise Wrong("not so")
        if number == 1:
            time.sleep(5)
        raise ZeroDivisionError("in two\nlines")


def test_findings_tell_how_to_repeat_them(tmp_path):
    found = [Odd(tmp_path).try_case(7, number, tmp_path) for number in range(8)]
    came = {one.came for one in found}
    assert "not so" in came and "it took more than 0.2 s" in came
    assert any(text.startswith("ZeroDivisionError in test_fuzz.py:") for text in came)
    assert "repeat: python -m fuzz --only odd --seed 7 --case 3" in str(found[3])
    again = Odd(tmp_path).try_case(7, 3, tmp_path)
    assert again == found[3]


def test_a_traceback_of_a_command_is_a_finding(monkeypatch):
    def fail(_):
        raise RuntimeError("no")

    monkeypatch.setattr("ritz.cli.commands.status.run", fail)
    with pytest.raises(Wrong, match="raised RuntimeError in test_fuzz"):
        ritz("status", "nowhere")


def test_damage_changes_something_and_is_the_same_for_a_seed():
    data = b"step,loss\n0,1.25\n1,1.5\n2,3.25\n"
    for way in OF_BYTES:
        made = [way(data, random.Random(3)) for _ in range(2)]
        assert made[0] == made[1]
    assert sum(way(data, random.Random(1)) != data for way in OF_BYTES) > len(OF_BYTES) - 3


def end(**changes):
    usual = {
        "error": None,
        "step": 24,
        "reason": "FINISHED",
        "message": "",
        "parameters": [1.0],
        "losses": [0.5],
        "rows": {"csv": list(range(24))},
        "began": True,
    }
    return {**usual, **changes}


@pytest.mark.parametrize(
    ("second", "first"),
    [
        ({"step": 23}, {}),
        ({"reason": "STOPPED"}, {}),
        ({"losses": [0.25]}, {}),
        ({"error": "ValueError: x"}, {}),
        ({}, {"rows": {"csv": [0, 0, *range(1, 23)]}}),
        ({}, {"rows": {"csv": list(range(22))}}),
    ],
)
def test_processes_that_end_apart_are_a_finding(second, first):
    given = {**scenario(random.Random(0)), "deeds": []}
    judge(given, [end(), end()])
    with pytest.raises(Wrong):
        judge(given, [end(**first), end(**second)])

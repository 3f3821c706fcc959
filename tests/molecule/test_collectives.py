"""What devices send one another in a step of a molecule: a gather too many would show up."""

import pytest

from tests.arrangements import results
from tests.molecule.many_devices import N_WALKERS

NUMBER = 8
FEW = 500
"""Bytes of statistics."""


@pytest.mark.medium
def test_a_step_sends_what_its_rule_needs(tmp_path):
    names = ("KFAC", "gradient", "SPRING")
    found, _ = results("tests.step_collectives", tmp_path, "tests.molecule.many_devices", *names,
                       devices=4)  # fmt: skip
    n, medians = found["KFAC"]["n_parameters"], NUMBER * N_WALKERS
    for name, numbers in (("KFAC", 5 * n), ("gradient", n)):
        assert found[name].keys() == {"n_parameters", "all-reduce", "all-gather"}
        assert found[name]["all-gather"] == [1, medians]  # local energies are clipped by these
        assert found[name]["all-reduce"][1] < NUMBER * numbers + FEW, name
    scores, gram = NUMBER * N_WALKERS * n, NUMBER * N_WALKERS**2
    gathered = scores + 2 * gram + NUMBER * N_WALKERS + medians
    assert found["SPRING"]["all-gather"] == [5, gathered]

"""What devices send one another in a step of a molecule: a gather too many would show up."""

import pytest

from tests.arrangements import results
from tests.molecule.many_devices import N_WALKERS

N_DEVICES, NUMBER = 4, 8
FEW = 500
"""Bytes of statistics."""

VALUES = 3 * NUMBER * N_WALKERS
"""Bytes of energy, kinetic and potential energy of all walkers."""


@pytest.mark.medium
def test_a_step_sends_what_its_rule_needs(tmp_path):
    names = ("KFAC", "gradient", "SPRING", "pretraining", "FermiNet, KFAC")
    found, _ = results("tests.step_collectives", tmp_path, "tests.molecule.many_devices", *names,
                       devices=N_DEVICES)  # fmt: skip
    n = found["KFAC"]["n_parameters"]
    assert found["gradient"]["all-gather"] == [2, VALUES + N_DEVICES * NUMBER * n]
    count, sent = found["KFAC"]["all-gather"]  # besides: gradient and factors in one sum
    assert count == 2
    assert N_DEVICES * NUMBER * n < sent - VALUES < N_DEVICES * NUMBER * 5 * n
    for name in ("KFAC", "gradient"):
        assert found[name].keys() == {"n_parameters", "all-reduce", "all-gather"}
        assert found[name]["all-reduce"][0] == 2  # what the sampler counts
        assert found[name]["all-reduce"][1] < FEW
    n_of_network = found["pretraining"]["n_parameters"]
    assert found["pretraining"]["all-gather"] == [1, N_DEVICES * NUMBER * (n_of_network + 1)]
    assert found["FermiNet, KFAC"]["all-gather"][0] == 3  # besides: means of parameters
    scores, gram = NUMBER * N_WALKERS * n, NUMBER * N_WALKERS**2
    gathered = scores + 2 * gram + NUMBER * N_WALKERS + VALUES
    assert found["SPRING"]["all-gather"] == [5, gathered]

"""What devices send one another in a step of a lattice run: a gather too many would show up."""

import pytest

from tests.arrangements import results

pytest.importorskip("netket")

N_DEVICES, N_SAMPLES, NUMBER = 4, 48, 8
FEW = 1000
"""Bytes of statistics and of what samplers count."""


@pytest.mark.medium
def test_a_step_sends_what_its_rule_needs(tmp_path):
    names = ("SR", "minSR", "SPRING", "MARCH", "KFAC", "gradient")
    found, _ = results("tests.step_collectives", tmp_path, "tests.lattice.many_devices", *names,
                       devices=N_DEVICES)  # fmt: skip
    n = found["SR"]["n_parameters"]
    assert found["SR"].keys() == {"n_parameters", "all-reduce"}  # samples stay there
    assert NUMBER * n * n <= found["SR"]["all-reduce"][1] < NUMBER * (n * n + 2 * n) + FEW
    assert found["gradient"]["all-gather"] == [1, N_DEVICES * NUMBER * n]  # summed by each device
    count, sent = found["KFAC"]["all-gather"]  # means, then gradient and factors
    assert count == 2
    assert N_DEVICES * NUMBER * n < sent < N_DEVICES * NUMBER * 5 * n
    for name in ("KFAC", "gradient"):
        assert found[name].keys() == {"n_parameters", "all-reduce", "all-gather"}
        assert found[name]["all-reduce"][1] < FEW
    dense = found["minSR"]
    scores, gram = NUMBER * N_SAMPLES * n, NUMBER * N_SAMPLES**2
    solved = 2 * gram + NUMBER * N_SAMPLES  # by Cholesky, and by eigenvalues where that fails
    assert dense["all-gather"] == [4, scores + solved]
    assert dense["all-reduce"][1] < NUMBER * 2 * n + FEW
    assert dense["all-to-all"] == [1, gram / N_DEVICES]  # its rows, for the eigenvalues
    assert found["SPRING"] == found["MARCH"] == dense

"""What devices send one another in a step of training is what it must be, and no more."""

import pytest

from tests.arrangements import results

NUMBER = 8
"""Bytes of a number in double precision."""

SUMS = 6
"""Count, squares and absolute values of the errors of energies and of forces."""


@pytest.mark.medium
def test_a_step_sends_gradients_and_a_few_sums(tmp_path):
    found, _ = results("tests.mlip.collectives_run", tmp_path, devices=4)
    for name in ("forces", "streamed", "graph"):
        case = found[name]
        loss = 4  # sums and weights of energies and forces
        numbers = case["n_parameters"] + SUMS + loss
        assert case["in a step"] == {"all-reduce": [2, NUMBER * numbers]}, name
        epoch = {} if name == "streamed" else {"all-reduce": [1, NUMBER * SUMS]}
        assert case["in an epoch"] == epoch
        assert case["in a block"] == {}
    kfac = found["kfac"]
    numbers = kfac["n_parameters"] + kfac["n_curvature"] + SUMS + 4
    assert kfac["in a step"].keys() == {"all-reduce"}
    assert kfac["in a step"]["all-reduce"][1] == NUMBER * numbers


@pytest.mark.medium
def test_members_on_devices_of_their_own_send_only_what_rows_show(tmp_path):
    """Nothing is as long as the parameters."""
    found, _ = results("tests.mlip.collectives_run", tmp_path, "committee", devices=4)
    case = found["committee"]
    assert case["n_parameters"] > 700 and case["in an epoch"] == {}
    assert case["in a step"].keys() == {"all-reduce", "all-gather"}
    assert sum(size for _, size in case["in a step"].values()) < 500

"""What devices send one another in a step of training is what it must be, and no more."""

import pytest

from ritz.driver.processes.division import MOST_GATHERED
from tests.arrangements import results

NUMBER = 8
"""Bytes of a number in double precision."""

LOSS = 6
"""Sums and weights of energies and forces, and the numbers of atoms with known forces."""

SUMS = 6
"""Count, squares and absolute values of the errors of energies and of forces."""


def sent(*numbers):
    """Count and bytes by kind of some sums over four devices: few numbers are gathered."""
    found = {}
    for n in numbers:
        gathered = 4 * NUMBER * n
        kind, size = "all-reduce", NUMBER * n
        if gathered <= MOST_GATHERED:
            kind, size = "all-gather", gathered
        count, total = found.get(kind, (0, 0))
        found[kind] = [count + 1, total + size]
    return found


@pytest.mark.medium
def test_a_step_sends_gradients_and_a_few_sums(tmp_path):
    found, _ = results("tests.mlip.collectives_run", tmp_path, devices=4)
    for name in ("forces", "streamed", "graph", "wide"):
        case = found[name]
        assert case["in a step"] == sent(LOSS, case["n_parameters"] + SUMS), name
        assert case["in an epoch"] == ({} if name == "streamed" else sent(SUMS))
        assert case["in a block"] == {}
    kfac = found["kfac"]
    numbers = kfac["n_parameters"] + SUMS + kfac["n_curvature"]
    of_energies = 2  # weights and squares of errors
    assert kfac["in a step"] == sent(LOSS, of_energies, numbers)
    assert "all-reduce" in found["wide"]["in a step"]


@pytest.mark.medium
def test_members_on_devices_of_their_own_send_only_what_rows_show(tmp_path):
    """Nothing is as long as the parameters."""
    found, _ = results("tests.mlip.collectives_run", tmp_path, "committee", devices=4)
    case = found["committee"]
    assert case["n_parameters"] > 700 and case["in an epoch"] == {}
    assert sum(size for _, size in case["in a step"].values()) < 500

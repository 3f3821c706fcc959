"""What devices send one another in a step of a relaxation is what rows and the queue need."""

import pytest

from tests.arrangements import results

COLUMNS = 5
"""Place, energy, largest force, status, and whether it was evaluated, of each slot."""


@pytest.mark.medium
def test_a_step_sends_rows_and_counts(tmp_path):
    found, _ = results("tests.relax.collectives_run", tmp_path, "waiting", "all at once", devices=3)
    for name, n_queues in (("waiting", 2), ("all at once", 0)):
        case = found[name]
        rows = 8 * sum(case["n_slots"]) * COLUMNS
        ranks = 4 * case["n_devices"] * n_queues
        ended = 8 * 3 * (n_queues > 0)  # converged, unconverged, failed
        left = 8 * 2  # whether a list did not fit, and whether anything is left to do
        assert case["in a step"] == {
            "all-gather": [1 + (n_queues > 0), rows + ranks],
            "all-reduce": [1 + (n_queues > 0), ended + left],
        }, name
        assert case["in a block"] == {"all-reduce": [1, 2 * len(case["n_slots"])]}  # all is finite

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
        with_counts = sum(case["n_slots"]) + case["n_devices"]  # of those that have left
        rows = 8 * with_counts * COLUMNS
        free = 4 * case["n_devices"] * n_queues
        assert case["in a step"] == {"all-gather": [1 + (n_queues > 0), rows + free]}, name
        assert case["in a block"] == {"all-reduce": [1, 2 * len(case["n_slots"])]}  # all is finite

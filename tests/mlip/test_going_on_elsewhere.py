"""Runs that were saved with other numbers of devices and processes go on with the same rows."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.mlip.going_on"
BEFORE = (4, 5, 4, 60)
"""Steps after which the runs are saved: in the middle of an epoch, and of a queue."""

WHOLE = (9, 9, 9, 400)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saved", "resumed"),
    [((1, 1), (2, 1)), ((4, 1), (1, 1)), ((1, 2), (3, 1)), ((2, 1), (1, 3)), ((1, 1), (1, 2))],
)
def test_rows_are_those_of_an_uninterrupted_run(tmp_path, uninterrupted, saved, resumed):
    results(MODULE, tmp_path, tmp_path, *BEFORE, devices=saved[0], world=saved[1])
    found, said = results(MODULE, tmp_path, tmp_path, *WHOLE, devices=resumed[0], world=resumed[1])
    assert_equal(found, uninterrupted, rtol=1e-7, atol=1e-9)  # with the rows before
    told = f"goes on with {resumed[1]} process{'es' * (resumed[1] > 1)} on "
    assert told in said[0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return results(MODULE, folder, folder, *WHOLE)[0]

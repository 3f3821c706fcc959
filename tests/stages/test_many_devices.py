"""Stages give the same logs, digests and states in two processes and on two devices."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.stages.many_devices"


@pytest.mark.medium
@pytest.mark.netket
def test_two_processes_of_two_devices_give_what_one_gives(tmp_path):
    wanted, _ = results(MODULE, tmp_path)
    found, _ = results(MODULE, tmp_path, devices=2, world=2)
    assert_equal(found, wanted)

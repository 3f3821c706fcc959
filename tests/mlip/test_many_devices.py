"""Training and predictions are the same on several devices and in several processes."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.mlip.many_devices"


def n_devices(found):
    return {case.pop("n_devices") for case in found.values()}


def assert_same(found, wanted):
    """To rounding: sums have another order, and optimisers divide by roots of small numbers."""
    assert_equal(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.medium
def test_two_devices_give_what_one_gives(tmp_path):
    names = ("forces", "kfac", "committee, streamed")
    wanted, _ = results(MODULE, tmp_path, *names)
    found, said = results(MODULE, tmp_path, *names, devices=2)
    assert (n_devices(wanted), n_devices(found)) == ({1}, {2})
    assert_same(found, wanted)
    assert "compiled again" not in said[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("devices", "world"), [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_any_arrangement_gives_the_same(tmp_path, everything, devices, world):
    found, _ = results(MODULE, tmp_path, devices=devices, world=world)
    assert n_devices(found) == {devices * world}
    assert_same(found, everything)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    found, _ = results(MODULE, tmp_path_factory.mktemp("one"))
    assert n_devices(found) == {1}
    return found

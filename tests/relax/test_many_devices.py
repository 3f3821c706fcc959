"""Relaxation and dynamics are the same on several devices and in several processes."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.relax.many_devices"


def n_devices(found):
    return {case.pop("n_devices") for case in found.values()}


def assert_same(found, wanted):
    """To the last bit: each structure is computed alone, so that no sum has another order."""
    assert_equal(found, wanted, rtol=0, atol=0)


@pytest.mark.medium
def test_some_of_the_devices_give_what_one_gives(tmp_path):
    wanted, _ = results(MODULE, tmp_path, "waiting")
    found, _ = results(MODULE, tmp_path, "waiting", devices=4)  # the mesh of NetKet has four
    assert (n_devices(wanted), n_devices(found)) == ({1}, {3})  # as many as slots
    assert_same(found, wanted)
    assert wanted["waiting"]["reasons"] and wanted["waiting"]["frames"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("devices", "world"), [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_any_arrangement_gives_the_same(tmp_path, everything, devices, world):
    found, _ = results(MODULE, tmp_path, devices=devices, world=world)
    assert max(n_devices(found)) == devices * world
    assert_same(found, everything)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    found, _ = results(MODULE, tmp_path_factory.mktemp("one"))
    assert n_devices(found) == {1}
    return found

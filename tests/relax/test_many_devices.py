"""Relaxation and dynamics are the same on several devices and in several processes."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.relax.many_devices"
PARTS = "in parts"


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
    wanted = dict(everything)
    parts = [{PARTS: cases.pop(PARTS)} for cases in (found, wanted)]
    assert_equal(*parts, rtol=1e-12, atol=1e-15)  # bits as XLA compiles by default, see below
    assert_same(found, wanted)


@pytest.mark.medium
@pytest.mark.bits
def test_parts_of_batches_on_two_devices_change_no_bit(tmp_path, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    wanted, _ = results(MODULE, tmp_path, PARTS)
    found, _ = results(MODULE, tmp_path, PARTS, devices=2)
    assert (n_devices(wanted), n_devices(found)) == ({1}, {2})
    assert_same(found, wanted)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    found, _ = results(MODULE, tmp_path_factory.mktemp("one"))
    assert n_devices(found) == {1}
    return found

"""Relaxation and dynamics are the same on several devices and processes, bit for bit."""

import pytest

from tests.layouts import results
from tests.relax.many_devices import cases

MODULE = "tests.relax.many_devices"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return results(MODULE, tmp_path_factory.mktemp("one"))[0]


def assert_same(found, wanted):
    for name, case in wanted.items():
        for part in case.keys() - {"devices"}:
            assert found[name][part] == case[part], f"{name}, {part}"


@pytest.mark.medium
def test_two_devices_give_what_one_gives(tmp_path):
    """Each structure is computed alone, so that no sum has another order."""
    (wanted,) = results(MODULE, tmp_path / "one", "waiting")
    (found,) = results(MODULE, tmp_path / "two", "waiting", devices=2)
    assert wanted["waiting"]["devices"] == 1 and found["waiting"]["devices"] == 2
    assert_same(found, wanted)
    assert wanted["waiting"]["reasons"] and wanted["waiting"]["frames"][0] > 100


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "processes"), [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_any_layout_gives_the_same(tmp_path, everything, devices, processes):
    found = results(MODULE, tmp_path, devices=devices, processes=processes)
    assert len(found[0]) == len(cases())
    for one in found:
        assert_same(one, everything)

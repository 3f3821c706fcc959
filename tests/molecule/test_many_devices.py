"""Runs of molecules have the same rows on several devices and in several processes."""

import pytest

from tests.arrangements import assert_equal, results

MODULE = "tests.molecule.many_devices"
TELLING = (
    "SPRING", "KFAC", "gradient", "estimators", "evaluation", "two states",
    "FermiNet, gradient", "pretraining", "scan, gradient",
)  # fmt: skip


@pytest.mark.medium
def test_four_devices_give_what_one_gives(tmp_path):
    wanted, _ = results(MODULE, tmp_path, *TELLING)
    found, said = results(MODULE, tmp_path, *TELLING, devices=4)
    assert_equal(found, wanted)
    assert "compiled again" not in said[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("devices", "world"), [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_any_arrangement_gives_the_same(tmp_path, everything, devices, world):
    found, _ = results(MODULE, tmp_path, devices=devices, world=world, timeout=1500)
    assert_equal(found, everything)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return results(MODULE, tmp_path_factory.mktemp("one"))[0]

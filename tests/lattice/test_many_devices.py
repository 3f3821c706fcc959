"""Lattice runs have the same rows on several devices and in several processes."""

import pytest

from tests.arrangements import assert_equal, results

pytest.importorskip("netket")

MODULE = "tests.lattice.many_devices"
TELLING = (
    "SR, complex", "minSR", "SPRING", "KFAC", "observables", "autoregressive", "evaluation",
    "normalised, gradient", "normalised, KFAC",
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
    wanted = dict(everything)
    single = [{"": cases.pop("single precision")} for cases in (found, wanted)]
    assert_equal(found, wanted, exempt={("SR, CG", "info.solver_residual.value")})  # is rounding
    assert_equal(*single, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return results(MODULE, tmp_path_factory.mktemp("one"))[0]

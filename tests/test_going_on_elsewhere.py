"""Runs that were saved with other numbers of devices and processes go on with the same rows."""

import functools

import pytest

from tests.arrangements import assert_equal, results
from tests.going_on import DOMAINS

MODULE = "tests.going_on"
LAYOUTS = (
    ((1, 1), (2, 1)), ((4, 1), (1, 1)), ((1, 2), (3, 1)), ((2, 1), (1, 3)), ((1, 1), (1, 2)),
)  # fmt: skip
"""Devices and processes by which a run is saved, and by which it goes on."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("saved", "resumed"), LAYOUTS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_rows_are_those_of_an_uninterrupted_run(tmp_path, uninterrupted, domain, saved, resumed):
    pytest.importorskip("netket" if domain == "lattice" else "jax")
    devices, world = saved
    results(MODULE, tmp_path, tmp_path, domain, "before", devices=devices, world=world)
    devices, world = resumed
    found, said = results(MODULE, tmp_path, tmp_path, domain, "whole", devices=devices, world=world)
    assert_equal(found, uninterrupted(domain), rtol=1e-7, atol=1e-9)  # with the rows before
    assert f"goes on with {world} process{'es' * (world > 1)} on " in said[0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    @functools.cache
    def of(domain):
        folder = tmp_path_factory.mktemp("whole")
        return results(MODULE, folder, folder, domain, "whole")[0]

    return of

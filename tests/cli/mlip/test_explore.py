"""`ritz mlip explore`, and training that begins with what another run has trained."""

from pathlib import Path

import ase.io
import numpy as np
import pytest

from tests.cli.mlip.runs import SMALL
from tests.mlip.systems import tio2

pytestmark = pytest.mark.medium

EXPLORE = [
    "mlip", "explore", "folder=r", "explore.files=[begin.extxyz]", "progress=false",
    "explore.temperatures=[300,900]", "explore.steps=3", "explore.copies=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _files():
    ase.io.write("a.extxyz", [s.to_ase() for s in tio2()[:10]])
    begin = tio2()[0].to_ase()
    begin.rattle(0.05, seed=1)
    ase.io.write("begin.extxyz", begin)


TRAIN = [*SMALL, "data.train=[a.extxyz]", "train.iterations=2", "train.testpercent=30"]


def test_a_round(ritz):
    status, out, error = ritz(*TRAIN, "folder=r", "members=2")
    assert status == 0 and "calibration: expected errors are" in out, error

    status, out, error = ritz(*EXPLORE, "explore.force_limit=1000")
    assert status == 0, error
    assert "0 of 2 trajectories passed a limit, 0 selected; the largest expected errors" in out
    assert "There is nothing to compute: give a lower limit" in out
    assert not Path("r/candidates.extxyz").exists()

    out = ritz(*EXPLORE, "explore.force_limit=1000")[1]
    assert "nothing was left to do; --anew sets it aside" in out
    limits = ["explore.force_limit=null", "explore.energy_limit=1e-12"]
    status, _, error = ritz(*EXPLORE, *limits)
    assert status == 2 and "give --anew" in error

    status, out, error = ritz(*EXPLORE, *limits, "--anew", "--dry-run")
    assert status == 0 and "2 trajectories, everything can be built" in out, error
    status, out, error = ritz(*EXPLORE, *limits, "--anew")
    assert status == 0, error
    assert "2 of 2 trajectories passed a limit, 1 selected; r/candidates.extxyz" in out
    assert "begin_from=r data.train='[a.extxyz, LABELLED.extxyz]'" in out
    found = ase.io.read("r/candidates.extxyz", ":")
    assert len(found) == 1 and found[0].calc is None  # labels would be those of the committee
    assert found[0].info["step"] == 0 and found[0].info["expected_energy_error"] > 1e-12
    np.testing.assert_allclose(found[0].positions, ase.io.read("begin.extxyz").positions, atol=1e-7)

    status, out, error = ritz(*TRAIN, "folder=s", "members=2", "begin_from=r")
    assert status == 0, error
    status, _, error = ritz(*TRAIN, "folder=t", "members=3", "begin_from=r")
    assert status == 2 and "begin_from: r holds a committee of 2 members, but members=3" in error
    status, _, error = ritz(
        *TRAIN, "folder=t", "members=2", "begin_from=r", "potential.rad_order=3"
    )
    assert status == 2 and "begin_from: there is" in error and "give the same" in error


def test_mistakes(ritz):
    assert "begin_from: there is no file or folder 'x'" in ritz(*TRAIN, "begin_from=x")[2]
    assert ritz(*TRAIN, "folder=r")[0] == 0
    status, _, error = ritz(*EXPLORE)
    assert status == 2 and "folder: exploring needs a committee" in error, error
    assert "but r is not one; train a CommitteePotential, or by ritz mlip train members=4" in error
    for setting, told in {
        "explore.force_limit=-1": "explore.force_limit must be a positive number",
        "explore.force_limit=null": "explore.force_limit and energy_limit are both null",
        "explore.temperatures=[]": "explore.temperatures must have at least one",
        "explore.number=0": "explore.number must be",
    }.items():
        assert told in ritz(*EXPLORE, setting)[2]

"""Trainings on molecules that begin with the state of another geometry."""

from pathlib import Path

import jax
import numpy as np
import pytest

from ritz.cli.main import main
from ritz.cli.molecule.beginning import state_from
from ritz.cli.molecule.build import Builder
from ritz.cli.molecule.config import MoleculeRun
from ritz.cli.saved_configuration import configuration_in
from tests.cli.molecule.test_run_folders import SMALL


def hydrogen(distance):
    return [f"system.atoms=[[H,[0,0,0]],[H,[0,0,{distance}]]]", "system.unit=bohr"]


@pytest.mark.medium
def test_a_scan_begins_where_the_geometry_before_has_ended(capsys, caplog):
    given = ["molecule", "train", *SMALL, "train.n_walkers=32"]
    assert main([*given, *hydrogen(1.4), "folder=a"]) == 0
    follow = [*given, "train.iterations=2"]
    assert main([*follow, *hydrogen(1.5), "train.begin_from=a", "folder=b"]) == 0
    assert "Beginning with a after 6 steps" in caplog.text
    assert not Path("b/orbitals.npz").exists()  # nothing was pretrained
    builders = [Builder(configuration_in(MoleculeRun, "molecule", folder)) for folder in "ab"]
    same, moved = (state_from("a", builder) for builder in builders)
    jax.tree.map(np.testing.assert_array_equal, same.params, moved.params)
    before, after = (np.asarray(state.batched_data) for state in (same, moved))
    shift = after - before
    assert before.shape == (32, 2, 3) and np.all(shift[..., :2] == 0)
    nearer = before[..., 2] > 0.7
    assert np.all(shift[nearer, 2] > 0.049) and np.all(shift[~nearer, 2] < 0.051)
    assert 0.09 < shift[..., 2].max() <= 0.1 + 1e-6

    assert main([*follow, "system=He", "train.begin_from=a", "folder=d"]) == 2
    assert "a has other atoms (H H) than this run (He)" in capsys.readouterr().err
    wider = ["network.hidden=[[6, 2]]", *hydrogen(1.5), "train.begin_from=a", "folder=e"]
    assert main([*follow, *wider]) == 2
    assert "parameters of other shapes" in capsys.readouterr().err
    assert main([*follow, *hydrogen(1.5), "train.begin_from=nothing", "folder=f"]) == 2
    assert "train.begin_from: there is no run in nothing" in capsys.readouterr().err

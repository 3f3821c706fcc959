"""`ritz molecule` with several states, and with a penalty on their spins."""

import json
import shutil

import numpy as np
import pytest
import yaml

from ritz.cli.main import main
from ritz.cli.molecule.build import Builder
from ritz.cli.molecule.config import MoleculeRun, System
from ritz.cli.molecule.levels import state_lines, summary_of
from ritz.molecule import SpinPenalty, TotalEnergy
from ritz.plotting import read_log
from ritz.stages import read_digest
from ritz.stages.digest import Estimate
from tests.cli.molecule.test_run_folders import SMALL

TWO = [*SMALL, "network.hidden=[[4, 2]]", "n_states=2", "system=H"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states") / "run"
    assert main(["molecule", "train", *TWO, f"folder={folder}"]) == 0
    return folder


@pytest.mark.medium
def test_two_states_are_trained_and_evaluated_with_their_levels(trained, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    names = {p.name for p in folder.iterdir()}
    assert names >= {"orbitals.npz", "orbitals_1.npz", "pretrain_1.csv", "energy.png", "train.csv"}
    rows = read_log(folder)
    assert {"energy", "energy_0", "energy_1", "overlap_0_1", "acceptance_1"} < set(rows)
    given = [f"folder={folder}", "progress=false", "evaluate.n_walkers=24"]
    assert main(["molecule", "evaluate", *given]) == 0
    out = capsys.readouterr().out
    summary, digest = json.loads((folder / "summary.json").read_text()), read_digest(folder)
    low, high = summary["states"]
    for one in (low, high):
        assert one["energy"] == digest[f"energy_{one['state']}"].mean
    assert summary["energy"] == low["energy"] < high["energy"]
    gap = 27.211386 * (high["energy"] - low["energy"])
    assert high["excitation_ev"] == pytest.approx(gap) and gap > 0
    assert low["spin_squared"] == high["spin_squared"] == 0.75
    assert summary["squared_overlaps"]["0_1"] == digest["overlap_0_1"].mean
    assert summary["reliable"] is False  # after so few steps
    for state in (0, 1):
        told = f"state {state}: 12 steps are too few to know the error bar"
        assert told in summary["too_short"]
    assert digest["energy_1"].n_samples == 24 * 12
    assert "exact" not in summary  # the loss is a mean over states
    # After so few steps all is suspect, and the lines say so instead of showing errors.
    assert "hartree (suspect: " in out and f"S^2 {high['spin_squared']:.4f}" in out
    assert "eV above (suspect: " in out and "overlap 0, 1" in out


def test_lines_of_states_have_errors_or_doubts():
    def estimate(mean, error, suspect=""):
        return Estimate(mean, error, 0.1, 4.0, 1.0, 10, 100, mean > -1, suspect)

    digest = {
        "energy_0": estimate(-1.0, 0.001),
        "energy_1": estimate(-0.5, 0.002, "acceptance, r_hat"),
        "energy_2": estimate(-0.4, 0.002),
        "spin_squared_0": estimate(0.0, 0.0),
        "spin_squared_1": estimate(2.0, 0.1, "r_hat"),
        "spin_squared_2": estimate(2.0, 0.1),
        "overlap_0_1": estimate(0.001, 0.0002),
    }
    summary = summary_of(digest)
    assert summary.entries["reliable"] is False
    assert summary.entries["suspect"] == "acceptance, r_hat"
    assert summary.entries["too_short"] == (
        "state 0: 10 steps are too few to know the error bar, with an autocorrelation time of 4"
        ": evaluate longer"
    )
    assert state_lines(summary.entries) == [
        "state 0       -1 +- 0.001 hartree, S^2 0.0000",
        "state 1       -0.5 hartree (suspect: acceptance, r_hat), 13.606 eV above (suspect: "
        "acceptance, r_hat), S^2 2.0000 (suspect: r_hat)",
        "state 2       -0.4 +- 0.002 hartree, 16.327 +- 0.061 eV above, S^2 2.0000 +- 0.1",
        "overlap 0, 1   0.001 +- 0.0002 (squared)",
    ]


@pytest.mark.medium
def test_other_states_are_refused(trained, capsys):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["n_states"] == 2 and config["train"]["overlap_penalty"] == 2.0
    for action, changed, told in (
        ("train", "train.overlap_penalty=1", "train.overlap_penalty was 2.0, is 1.0"),
        ("evaluate", "n_states=3", "n_states was 2, is 3"),
    ):
        given = ["molecule", action, f"folder={trained}", "progress=false", changed]
        assert main(given) == 2
        assert told in capsys.readouterr().err


def test_too_many_states_are_told_before_any_is_pretrained(tmp_path, capsys):
    folder = tmp_path / "run"
    given = [*TWO, "n_states=30", "pretrain.basis=cc-pvdz", f"folder={folder}"]
    assert main(["molecule", "train", *given]) == 2
    assert "4 single excitations, too few for n_states=30" in capsys.readouterr().err
    assert not folder.exists() or not list(folder.glob("pretrain*"))


def test_a_penalty_on_overlaps_is_for_several_states(tmp_path, capsys):
    given = [*TWO, "n_states=1", "train.overlap_penalty=3", f"folder={tmp_path / 'run'}"]
    assert main(["molecule", "train", *given]) == 2
    assert "train.overlap_penalty=3 keeps several states apart" in capsys.readouterr().err


def test_determinants_for_all_states_are_asked_for_before_any_is_pretrained(tmp_path, capsys):
    folder = tmp_path / "run"
    given = [*TWO, "system=H2", "network.n_determinants=1", f"folder={folder}"]
    assert main(["molecule", "train", *given]) == 2
    assert "give it n_determinants=2" in capsys.readouterr().err
    assert not folder.exists() or not list(folder.glob("pretrain*"))


def test_the_spin_penalty_is_added_to_the_energy_that_is_minimised(tmp_path):
    run = MoleculeRun(system=System(name="Be"), n_states=2)
    run.pretrain.basis, run.train.spin_penalty = "slater", 0.7
    builder = Builder(run)
    parts = builder.train().parts  # type: ignore[attr-defined]
    assert parts.loss == "penalised"
    assert parts.estimators["spin_penalty"] == SpinPenalty(2, 2, 0.7)
    assert parts.estimators["penalised"] == TotalEnergy(("energy", "spin_penalty"))
    assert "penalised" not in builder.evaluate().parts.estimators  # type: ignore[attr-defined]
    singlet = builder.pretrain(tmp_path, state=1).orbitals  # type: ignore[attr-defined]
    run.train.spin_penalty = 0.0
    assert Builder(run).train().parts.loss == "energy"  # type: ignore[attr-defined]
    triplet = Builder(run).pretrain(tmp_path, state=1).orbitals  # type: ignore[attr-defined]
    np.testing.assert_array_equal(singlet.up, triplet.up)
    np.testing.assert_array_equal(singlet.down[1, :, 1], -triplet.down[1, :, 1])


@pytest.mark.parametrize(("given", "told"), [
    (["n_states=0"], "n_states must be a whole number of at least 1, but 0"),
    (["train.spin_penalty=-1"], "train.spin_penalty must be"),
    (["train.overlap_penalty=0"], "train.overlap_penalty must be"),
])  # fmt: skip
def test_settings_of_states_that_cannot_be_are_told(capsys, given, told):
    arguments = ["molecule", "train", *SMALL, "system=H2", "folder=none", *given]
    assert main(arguments) == 2
    assert told in capsys.readouterr().err

"""`ritz molecule`: run folders, settings, and what is refused."""

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from ritz.checkpoint.folder import CheckpointFolder
from ritz.cli.main import main
from ritz.plotting import read_log
from ritz.stages import EvaluationWorkStage, read_digest

pytestmark = pytest.mark.medium

SMALL = [
    "network=FermiNet", "network.hidden=[[8, 4]]", "network.n_determinants=1", "progress=false",
    "pretrain.iterations=6", "pretrain.n_walkers=16", "pretrain.burn_in=3",
    "train.iterations=6", "train.n_walkers=16", "train.burn_in=3",
    "train.sampler=Metropolis", "train.sampler.n_moves=2",
    "evaluate.iterations=12", "evaluate.n_walkers=16", "evaluate.burn_in=3",
]  # fmt: skip


def ritz(capsys, *arguments):
    status = main(["molecule", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("molecule") / "run"
    given = [*SMALL, "evaluate.estimators=[Dipole]"]
    assert main(["molecule", "train", "system=H2", *given, f"folder={folder}"]) == 0
    assert main(["molecule", "evaluate", f"folder={folder}", "progress=false"]) == 0
    return folder


def test_a_run_folder_holds_everything(trained):
    names = {p.name for p in trained.iterdir()}
    assert names >= {
        "config.yaml", "run.lock", "checkpoints", "energy.png", "summary.json", "digest.npz",
        "orbitals.npz", "pretrain.csv", "train.log", "train.csv", "evaluate.csv",
    }  # fmt: skip
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["system"]["name"] == "H2" and config["train"]["iterations"] == 6
    summary = json.loads((trained / "summary.json").read_text())
    digest = read_digest(trained)
    assert summary["energy"] == digest["energy"].mean and summary["exact"] == -1.174475714
    assert summary["variance_per_electron"] == digest["energy"].variance / 2
    assert isinstance(summary["reliable"], bool)
    assert {"dipole[0]", "dipole[1]", "dipole[2]", "kinetic", "potential"} < set(digest)
    assert -1.6 < summary["energy"] < -0.8
    assert read_log(trained)["energy"].iters.tolist() == list(range(6))


def test_the_status_of_a_run(trained, capsys):
    assert main(["status", str(trained)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train\n +step +6 of 6\n +energy +-[\d.]+ \+- [\d.]+ hartree\n", said), said
    shown = re.search(r"evaluate\n +step +12 of 12\n +energy +(-[\d.]+) ", said)
    result = json.loads((trained / "summary.json").read_text())["energy"]
    assert shown is not None and float(shown[1]) == pytest.approx(result, rel=1e-6)
    assert "acceptance" in said
    assert main(["plot", str(trained), "-o", "a.svg"]) == 0
    assert "reference -1.17448" in Path("a.svg").read_text()  # estimates are not called exact


def test_a_large_variance_is_called_unconverged(trained, capsys, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.setattr("ritz.cli.molecule.domain.LARGEST_VARIANCE", 0.0)
    status, out, error = ritz(capsys, "evaluate", f"folder={folder}", "progress=false")
    assert status == 0, error
    assert "reference     -1.1744757\n" in out and "exact" not in out
    assert "unconverged   the variance is " in out and "train longer" in out
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["reliable"] is False and "hartree^2 an electron" in summary["unconverged"]


def test_an_evaluation_begins_anew(trained, capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    first = json.loads((folder / "summary.json").read_text())["energy"]
    given = ("evaluate", f"folder={folder}", "progress=false", "evaluate.n_walkers=24")
    status, _, error = ritz(capsys, *given)
    assert status == 2 and "or give --anew, which sets the saved run aside and begins" in error
    status, _, error = ritz(capsys, *given, "--anew")
    summary = json.loads((folder / "summary.json").read_text())
    assert status == 0 and summary["steps"] == 12 and summary["energy"] != first, error
    assert read_digest(next((folder / "set_aside").iterdir()))["energy"].mean == first


def test_a_file_may_name_the_molecule_alone(capsys):
    Path("c.yaml").write_text("system: LiH\n")
    status, out, _ = ritz(capsys, "train", "--config=c.yaml", "--print_config")
    assert status == 0 and yaml.safe_load(out)["system"]["name"] == "LiH"


def test_the_same_command_again_takes_no_step_and_a_longer_one_goes_on(trained, capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    (folder / "orbitals.npz").unlink()  # they are needed for pretraining only
    before = (folder / "train.csv").read_bytes()
    status, out, error = ritz(capsys, "train", f"folder={folder}", "progress=false")
    assert status == 0, error
    assert out.startswith("the run has ended: finished all steps")
    assert (folder / "train.csv").read_bytes() == before
    longer = [f"folder={folder}", "progress=false", "train.iterations=8"]
    status, out, error = ritz(capsys, "train", *longer)
    assert status == 0 and "went on from step 6 to step 8" in out, error
    for changed, told in (
        ("system=H", "Settings that differ: system.name was H2, is H"),
        ("train.n_walkers=32", "train.n_walkers was 16, is 32"),
        ("network.n_determinants=2", "n_determinants was 1, is 2"),
        ("seed=3", "began with seed=0"),
    ):
        given = ["train", *longer]
        if changed == "system=H":
            given += ["--config", str(folder / "config.yaml")]
        status, _, error = ritz(capsys, *given, changed)
        assert status == 2 and told in error, error


def test_other_ways_to_say_what_molecule(capsys, tmp_path):
    xyz = tmp_path / "a.xyz"
    xyz.write_text("2\n\nH 0 0 0\nH 0 0 0.7408\n")
    found = {}
    for name, given in {
        "name": ["system=H2"],
        "file": [f"system.file={xyz}"],
        "atoms": ["system.atoms=[[H, [0, 0, 0]], [H, [0, 0, 1.4]]]", "system.unit=bohr"],
        "text": ["system.atoms=H 0 0 0; H 0 0 1.4", "system.unit=bohr"],
        "ion": ["system=H2", "system.charge=1", "system.spin=1"],
    }.items():
        status, out, error = ritz(capsys, "train", *given, *SMALL, "--dry_run", "folder=none")
        assert status == 0, error
        found[name] = out
    assert "H2, 1 electron with spin up and 1 with spin down" in found["name"]
    assert "1 with spin up" not in found["ion"] and "and 0 with spin down" in found["ion"]
    assert not Path("none").exists() and all("Nothing was written" in o for o in found.values())


@pytest.mark.parametrize(("given", "told"), [
    ([], "system: give one molecule, as system=LiH (of H, He,"),
    (["system=Hf2"], "system: there is no molecule 'Hf2' in the library"),
    (["system=Lih"], "did you mean LiH?"),
    (["system=H2", "system.file=a.xyz"], "system.name and system.file were given"),
    (["system.file=a.xyz"], "system: there is no file a.xyz"),
    (["system.atoms=[[H, [0, 0, 0]], [H, [0, 0, 1]]]"], "Give system.unit=bohr, say"),
    (["system=Li", "system.spin=0"], "system: spin=0 is impossible: it is n_up - n_down"),
    (["system=H", "system.charge=1"], "leaves no electrons; the largest charge of H is 0"),
    (["system=H", "preset=tiny"], "preset must be 'auto', 'small', 'ferminet', 'psiformer' or 'la"),
    (["system=H", "network=Fermi"], "network: there is no 'Fermi'"),
    (["system=H", "train.optimizer=adm"], "train.optimizer: "),
    (["system=H", "train.sampler=Metropolys"], "train.sampler: "),
    (["system=H", "train.sampler=NUTS"], "there are: MALA, Metropolis, OneParticle."),
    (["system=H", "evaluate.estimators=[Foo]"], "estimators.0: there is no 'Foo'"),
    (["system=H", "evaluate.estimators=[VMC]"], "an estimator is needed, but VMC is another class"),
    (["system=H", "evaluate.n_walkers=1"], "evaluate.n_walkers must be "),
    (["system=H", "pretrain.chunk_size=8"], "pretrain.chunk_size: there is no such setting"),
    (["system=H", "train.clip_method=mad"], "train.clip_method must be 'mean_absolute_deviation'"),
    (["system=H", "pretrain.n_walkers=0"], "pretrain.n_walkers must be "),
    (["system=H", "dtype=float16"], "dtype must be 'float32' or 'float64'"),
    (["system=H", "pretrain.basis=cc-pvxz"], "pretrain.basis: basis='cc-pvxz' is none that"),
    (["system=H2", "pretrain.basis=slater"], "pretrain.basis: Slater's rules are for atoms"),
    (["system=H", "trian.iterations=3"], "did you mean train.iterations"),
    (["system.module=atom", "system.symbol=Li"], "system.module: there is no such setting; write "
     "system=Li for an atom"),
    (["system=H", "wf.module=psiformer"], "such setting; write preset=psiformer, or small, ferm"),
    (["system=H", "train.optim.module=kfac"], "such setting; write train.update=KFAC, or train.up"),
    (["system=H", "workflow.save_path=runs/h"], "such setting; write folder=runs/lih. (see"),
    (["system=H", "--yml", "a.yml"], "such setting; write --config FILE."),
    (["system.atoms=H 0 0 0; H 0 0 1.4"], "Give system.unit=bohr, say"),
    (["system.atoms=H 0 0; H 0 0 1.4"], "system.atoms: 'H 0 0' was given, but a symbol and three "
     "coordinates are needed, as in 'H 0 0 0; H 0 0 1.4'"),
    (["system.atoms=[[Li, [0, 0, 0]]]"], "system: spin is missing: it is n_up - n_down"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(given, told, capsys):
    status, _, error = ritz(capsys, "train", *given, "--dry_run")
    assert status == 2 and error.startswith("ritz: ") and error.count("\n") == 1, error
    assert told in error


H2_ATOMS = "system.atoms=[[H, [0, 0, -{0}]], [H, [0, 0, {0}]]]"


@pytest.mark.parametrize(("given", "told"), [
    (["system=He"], "system.name was H2, is He"),
    (["system.name=null", H2_ATOMS.format(1), "system.unit=bohr"], "molecule.positions.0.2 was"),
    (["network.n_determinants=2"], "network.init_args.n_determinants was 1, is 2"),
    (["dtype=float64"], "dtype was float32, is float64"),
    (["evaluate.n_walkers=32"], "evaluate.n_walkers was 16, is 32"),
])  # fmt: skip
def test_evaluating_another_wave_function_is_refused(given, told, trained, capsys, tmp_path):
    """Also of another geometry, whose parameters have the same shapes."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    if not given[0].startswith("evaluate"):
        shutil.rmtree(folder / "checkpoints" / "evaluate")
    status, _, error = ritz(capsys, "evaluate", f"folder={folder}", "progress=false", *given)
    assert status == 2 and told in error and "holds another run" in error, error
    assert error.splitlines()[-1].count("run `ritz molecule train") == 0


def test_accepted_changes_and_other_words_for_the_same_molecule(trained, capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    command = ["train", "--config", str(folder / "config.yaml"), f"folder={folder}"]
    accepting = "train.accept_changes=[sampler, n_walkers]"
    for given, told in (
        (["system.name=null", H2_ATOMS.format(0.7), "system.unit=bohr"], ""),
        (["train.sampler=MALA"], "give train.accept_changes='[sampler]'"),
        (["train.sampler=MALA", accepting], ""),
        (["train.n_walkers=32", accepting], "differ: train.n_walkers was 16, is 32. What"),
    ):
        status, _, error = ritz(capsys, *command, "progress=false", *given)
        assert status == 2 * bool(told) and told in error, error


@pytest.mark.parametrize("n_walkers", [6, 40])
def test_another_number_of_walkers_still_begins_with_the_trained_ones(
    n_walkers, trained, capsys, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    shutil.rmtree(folder / "checkpoints" / "evaluate")
    begun = []
    create = EvaluationWorkStage.create_state

    def recorded(stage, key, **beginning):
        begun.append(np.asarray(beginning["batched_data"]))
        return create(stage, key, **beginning)

    monkeypatch.setattr(EvaluationWorkStage, "create_state", recorded)
    given = [f"folder={folder}", "progress=false", f"evaluate.n_walkers={n_walkers}"]
    status, _, error = ritz(capsys, "evaluate", *given)
    assert status == 0, error
    _, saved = CheckpointFolder(folder / "checkpoints" / "train").newest()
    walkers = next(v for v in map(np.asarray, saved.arrays.values()) if v.shape == (16, 2, 3))
    found, counts = np.unique(begun[0], axis=0, return_counts=True)
    known = {walker.tobytes() for walker in walkers}
    assert {walker.tobytes() for walker in found} <= known
    assert len(begun[0]) == n_walkers and len(found) == min(n_walkers, 16)
    assert counts.max() - counts.min() <= 1
    assert f"had 16 walkers and evaluate.n_walkers is {n_walkers}: " in caplog.text


def test_evaluating_nothing_is_refused(capsys):
    status, _, error = ritz(capsys, "evaluate", "system=H", "folder=empty")
    assert status == 2 and "run `ritz molecule train folder=empty` first" in error


@pytest.mark.bits
def test_an_interrupted_run_ends_with_the_same_rows(capsys):
    def rows(folder, *parts):
        for n in parts:
            given = ["system=H", *SMALL, f"train.iterations={n}", f"folder={folder}"]
            assert ritz(capsys, "train", *given)[0] == 0
        return np.asarray(read_log(folder)["energy"]["Mean"])

    np.testing.assert_array_equal(rows("a", 7), rows("b", 3, 7))


def test_an_evaluation_of_nothing_is_told(tmp_path, capsys):
    for given in ([], ["system=H"]):
        assert main(["molecule", "evaluate", f"folder={tmp_path / 'none'}", *given]) == 2
        assert "evaluate needs a trained wave function in" in capsys.readouterr().err

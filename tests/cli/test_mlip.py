"""`ritz mlip`."""

import csv
import json

import ase.io
import jax
import numpy as np
import pytest
import yaml

from ritz.cli.main import main
from ritz.mlip import ANNPotential, load_potential
from tests.mlip.systems import DATA, tio2

SMALL = [
    "progress=false", "train.testpercent=25", "train.warmup_epochs=1", "potential.rad_order=3",
    "potential.rad_cutoff=4.0", "potential.ang_order=2", "potential.ang_cutoff=3.0",
    "potential.hidden=[[4,tanh]]", f"data.train=[{DATA}/*.xsf]",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlip") / "run"
    assert main(["mlip", "train", *SMALL, "train.iterations=3", f"folder={folder}"]) == 0
    assert main(["mlip", "evaluate", f"folder={folder}"]) == 0
    return folder


def test_a_run_folder_holds_everything(trained):
    assert {p.name for p in trained.iterdir()} == {
        "config.yaml", "checkpoints", "errors.csv", "errors.png", "parity.png", "evaluate.csv",
        "potential.npz", "summary.json", "train.csv", "train.log",
    }  # fmt: skip
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["train"]["iterations"] == 3
    assert config["potential"]["init_args"]["hidden"] == [[4, "tanh"]]
    for picture in ("errors.png", "parity.png"):
        assert (trained / picture).read_bytes().startswith(b"\x89PNG")
    summary = json.loads((trained / "summary.json").read_text())
    for what, label in (("energy", ""), ("force", "_force")):
        final = summary["train"][f"final_RMSE{label}_test"]
        assert summary["evaluate"][f"RMSE_{what}"] == pytest.approx(final, rel=1e-4)


def test_the_same_command_goes_on(trained, capsys):
    command = ["mlip", "train", *SMALL, f"folder={trained}"]
    assert main([*command, "train.iterations=3"]) == 0
    assert "all epochs are done" in capsys.readouterr().out
    assert main([*command, "train.iterations=4"]) == 0
    with (trained / "errors.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("0123")


def test_predictions_and_export(trained, capsys):
    files = f"predict.files=[{DATA}/*1.xsf]"
    assert main(["mlip", "predict", f"folder={trained}", files]) == 0
    frames = ase.io.read(trained / "predictions.extxyz", ":")
    potential = load_potential(trained / "potential.npz")
    chosen = [s for s in tio2() if s.name == frames[0].info["name"]]
    found = potential.predict(chosen, eval_forces=True)
    assert frames[0].get_potential_energy() == pytest.approx(found.total_energy[0])
    np.testing.assert_allclose(frames[0].get_forces(), found.forces[0], atol=1e-7)
    capsys.readouterr()
    assert main(["mlip", "export", f"folder={trained}"]) == 0
    written = capsys.readouterr().out.split()
    again = ANNPotential.from_aenet_ascii(written)
    assert again.predict(chosen).total_energy == pytest.approx(found.total_energy, abs=1e-3)


@pytest.mark.slow
def test_a_committee(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["mlip", "train", *SMALL, "members=2", "train.iterations=2",
                 f"folder={folder}"]) == 0  # fmt: skip
    assert "Committee of 2 members" in capsys.readouterr().out
    files = f"predict.files=[{DATA}/*1.xsf]"
    assert main(["mlip", "predict", f"folder={folder}", files]) == 0
    assert main(["mlip", "evaluate", f"folder={folder}"]) == 0
    assert ase.io.read(folder / "predictions.extxyz").info["energy_std"] > 0


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.force_weight=7", "train.force_weight must be between 0 and 1, but 7.0 was given."),
        ("train.method=Adamm", "train.method: there is no 'Adamm' in ritz.mlip"),
        ("train.iteration=7", "train.iteration: there is no such setting; did you mean"),
        ("potential.foo=1", "potential.foo: chebyshev has no such argument; it takes: hidden,"),
        (
            "potential=pain",
            "potential: there is no 'pain' in ritz.cli.mlip_potentials",
        ),
        ("data.train=[none.xsf]", "data.train: there is no file 'none.xsf'"),
        ("data.atomic_energies=guess", "data.atomic_energies: 'guess' was given; it is"),
        ("train.memory_mode=mixed", "train.memory_mode='mixed' is reserved"),
    ],
)
def test_mistakes_are_told_by_their_key(setting, told, capsys, tmp_path):
    folder = tmp_path / "run"
    assert main(["mlip", "train", *SMALL, f"folder={folder}", setting]) == 2
    assert capsys.readouterr().err.startswith(f"ritz: {told}")
    assert not folder.exists()


def test_without_a_trained_potential(capsys, tmp_path):
    for action in ("evaluate", "predict", "export"):
        assert main(["mlip", action, f"folder={tmp_path}/none"]) == 2
        assert "run `ritz mlip train" in capsys.readouterr().err
    assert main(["mlip", "train", *SMALL, f"folder={tmp_path}/run", "--dry_run"]) == 0
    assert "18 structures of O, Ti, 6 held out" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()

"""`ritz mlip`."""

import csv
import json
import shutil

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


@pytest.mark.medium
def test_a_run_folder_holds_everything(trained):
    assert {p.name for p in trained.iterdir()} == {
        "config.yaml", "checkpoints", "errors.csv", "errors.png", "parity.npz", "parity.png",
        "evaluate.csv", "potential.npz", "summary.json", "train.csv", "train.log",
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
    assert main([*command, "train.iterations=2"]) == 0
    assert "train.iterations=2 is less than the 3 epochs of the run" in capsys.readouterr().out
    assert main([*command, "train.iterations=4"]) == 0
    with (trained / "errors.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("0123")


def test_the_folder_alone_goes_on(trained, capsys):
    assert main(["mlip", "train", f"folder={trained}", "progress=false"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"all epochs are done; everything in {trained}."), said
    assert main(["mlip", "train", "folder=none"]) == 2
    assert capsys.readouterr().err == (
        "ritz: data.train: which files? Give data.train='[data/*.xsf]', for example; or the folder "
        "of a run to go on with: none holds none.\n"
    )


@pytest.mark.medium
def test_kfac(tmp_path, capsys, caplog):
    folder = tmp_path / "run"
    settings = ["train.method=KFAC", "train.method.lr=0.05", "train.method.batchsize=12"]
    command = ["mlip", "train", *SMALL, "train.force_weight=0", f"folder={folder}"]
    assert main([*command, *settings, "train.iterations=2"]) == 0
    assert "KFAC has 4 Kronecker blocks of 130 parameters" in caplog.text
    told = yaml.safe_load((folder / "config.yaml").read_text())["train"]["method"]
    assert told["class_path"] == "KFAC" and told["init_args"]["lr"] == 0.05
    assert main([*command, *settings, "train.iterations=3"]) == 0
    with (folder / "errors.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("012")
    capsys.readouterr()
    assert main([*command, *settings, "train.method.decay=1", "train.iterations=4"]) == 2
    assert "train.method: decay must be below 1, but 1" in capsys.readouterr().err


def test_a_lost_result_is_written_again(trained, tmp_path, capsys):
    """Of a run in which all epochs are done."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "potential.npz").unlink()
    assert main(["mlip", "train", f"folder={folder}", "progress=false"]) == 0
    told = "epochs or more, and none was added; a larger train.iterations goes on."
    assert told in capsys.readouterr().out and (folder / "potential.npz").is_file()


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


@pytest.mark.medium
@pytest.mark.parametrize(
    ("method", "options", "changed"),
    [
        pytest.param(
            "lion",
            "method.learning_rate=0.002",
            "method.learning_rate=0.003",
            marks=pytest.mark.slow,
        ),
        (
            "{class_path: OptaxMethod, init_args: {batchsize: 9, optimizer: "
            "{class_path: optax.lion, init_args: {learning_rate: 0.002}}}}",
            "method.batchsize=6",
            "method.optimizer.learning_rate=0.003",
        ),
    ],
    ids=["name", "OptaxMethod"],
)
def test_a_method_of_optax(tmp_path, capsys, method, options, changed):
    folder = tmp_path / "run"
    command = ["mlip", "train", *SMALL, f"folder={folder}", "train.force_weight=0"]
    command += ["train.checkpoint_interval=1", f"train.method={method}", f"train.{options}"]
    assert main([*command, "train.iterations=2"]) == 0
    written = yaml.safe_load((folder / "config.yaml").read_text())["train"]["method"]
    assert written["class_path"] == yaml.safe_load(method) or "batchsize" in written["init_args"]
    n_batches = 3 if "OptaxMethod" in method else 1
    assert len((folder / "train.csv").read_text().splitlines()) == 1 + 2 * n_batches
    assert main([*command, "train.iterations=3"]) == 0
    with (folder / "errors.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("012")
    capsys.readouterr()
    assert main([*command, f"train.{changed}", "train.iterations=4"]) == 2
    told = capsys.readouterr().err
    assert "holds another run. Settings that differ: train.method.init_args." in told
    assert "learning_rate was 0.002, is 0.003" in told


@pytest.mark.medium
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.method=optax.constant_schedule", "train.method: constant_schedule needs value"),
        ("train.method=lionn", "train.method: there is no 'lionn' in ritz.mlip, optax; did you"),
        ("train.method=ritz.updates.SR", "train.method: Adam, AdamW, SGD or KFAC, or an "),
        ("train.force_weight=7", "train.force_weight must be between 0 and 1, but 7.0 was given."),
        ("train.method=Adamm", "train.method: there is no 'Adamm' in ritz.mlip, optax; did you"),
        ("train.iteration=7", "train.iteration: there is no such setting; did you mean"),
        (
            "potntial.rad_cutoff=7",
            "potntial.rad_cutoff: there is no such setting; did you mean potential.rad_cutoff? "
            "(see ritz mlip train --help)",
        ),
        ("potential.rad_cutof=7", "potential.rad_cutof: chebyshev has no such argument; did you"),
        ("ang_cutof=7", "ang_cutof: there is no such setting; did you mean potential.ang_cutoff?"),
        ("potential={ang_order: 3}", "potential: class_path is missing beside ang_order; write, f"),
        ("data=3", "data: '3' was given, but data is a group of settings; give one of them, such"),
        ("potential.foo=1", "potential.foo: chebyshev has no such argument; it takes: hidden,"),
        (
            "potential=pain",
            "potential: there is no 'pain' in ritz.cli.mlip.potentials",
        ),
        ("train.seed=1e20", "train.seed must lie between -2^63 and 2^63 - 1, but 100000000"),
        ("data.train=[none.xsf]", "data.train: there is no file 'none.xsf'"),
        ("data.atomic_energies=guess", "data.atomic_energies: 'guess' was given; it is"),
        ("train.memory_mode=mixed", "train.memory_mode='mixed' is reserved"),
        ("train.device=cuda:3", "train.device: there is no device 'cuda:3'; this machine has cpu"),
        ("data.stress_unit=MeV", "data.stress_unit='MeV' is no unit of stress; there are"),
        ("train.max_energy=-1e6", "train.max_energy, train.max_forces: of 24 structures none is"),
    ],
)
def test_mistakes_are_told_by_their_key(setting, told, capsys, tmp_path):
    folder = tmp_path / "run"
    assert main(["mlip", "train", *SMALL, f"folder={folder}", setting]) == 2
    assert capsys.readouterr().err.startswith(f"ritz: {told}")
    assert not folder.exists()


def test_predictions_need_a_file_that_can_hold_them(trained, capsys):
    files = f"predict.files=[{DATA}/*1.xsf]"
    for name, told in (("a.none", "tells no format"), ("POSCAR", "can hold one structure, but")):
        assert main(["mlip", "predict", f"folder={trained}", files, f"predict.output={name}"]) == 2
        assert f"predict.output: '{name}' {told}" in capsys.readouterr().err


def test_without_a_trained_potential(capsys, tmp_path):
    for action in ("evaluate", "predict", "export"):
        assert main(["mlip", action, f"folder={tmp_path}/none"]) == 2
        assert "run `ritz mlip train" in capsys.readouterr().err
    assert main(["mlip", "train", *SMALL, f"folder={tmp_path}/run", "--dry_run"]) == 0
    assert "18 structures of O, Ti, 6 held out" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


FRAME = """2
Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3{columns} {info} pbc="T T T"
Ti 0 0 {z}{forces}
O 2 2 0{forces}
"""
ALONE = "1\nProperties=species:S:1:pos:R:3 energy={} config_type=IsolatedAtom\n{} 0 0 0\n"


def frames(tmp_path, n, info="energy={n}", more="", forces=""):
    text = "".join(
        FRAME.format(info=info.format(n=n), z=0.01 * n, forces=forces,
                     columns=":forces:R:3" if forces else "")
        for n in range(n)
    )  # fmt: skip
    (tmp_path / "a.extxyz").write_text(text + more)
    return f"data.train=[{tmp_path}/a.extxyz]"


def refused(capsys, *settings):
    assert main(["mlip", "train", *SMALL[:-1], *settings, "--dry_run"]) == 2
    return capsys.readouterr().err


def test_labels_are_asked_for_by_their_settings(capsys, tmp_path):
    files = frames(tmp_path, 4, "E={n} REF_stress=1")
    has = "numbers under the keys E, REF_stress"
    told = refused(capsys, files)
    assert (
        "a.extxyz#frame=0 has no energy; say under which key its file has it: data.energy_key"
        in (told)
    )
    assert has in told
    told = refused(capsys, files, "data.energy_key=F")
    assert told.startswith("ritz: data.energy_key: ") and "frame 0" in told and has in told
    told = refused(capsys, files, "data.energy_key=E")
    assert "train.force_weight is above 0" in told and "data.forces_key; a.extxyz#frame" in told
    frames(tmp_path, 4, "energy={n} weight=0")
    told = refused(capsys, files, "train.force_weight=0")
    assert "structures none has a weight above 0" in told and "a.extxyz#frame=" in told


def test_isolated_atoms_give_the_energies(capsys, tmp_path, caplog):
    atoms = ALONE.format(-3.0, "Ti") + ALONE.format(-4.0, "O")
    files = frames(tmp_path, 8, more=atoms)
    command = ["mlip", "train", *SMALL[:-1], files, "train.force_weight=0", "--dry_run"]
    assert main(command) == 0
    assert "6 structures of O, Ti, 2 held out" in capsys.readouterr().out
    assert "isolated ones, in eV: O -4.000000, Ti -3.000000" in caplog.text
    assert main([*command, "data.atomic_energies={Ti: -1.0, O: -2.0}"]) == 0
    assert "2 isolated atoms are skipped" in caplog.text
    for energies, told in (
        ("{Ti: -1.0}", "data.atomic_energies has Ti, but the structures have O, Ti: give an"),
        ("{Ti: -1, O: -1, H: -1}", "data.atomic_energies has H, O, Ti, but the potential has the"),
    ):
        assert told in refused(capsys, files, f"data.atomic_energies={energies}")


def test_structures_are_left_out_before_the_rest_is_divided(tmp_path):
    from ritz.cli.mlip.config import Data, MLIPRun, Train
    from ritz.cli.mlip.data import splits
    from ritz.mlip import StructureDataset, TrainingConfig, read_structures
    from ritz.mlip.training.prepare import GivenData, resolve

    frames(tmp_path, 20, "energy={n}")
    file = str(tmp_path / "a.extxyz")
    limits = {"max_energy": 6.4, "testpercent": 20, "split_seed": 3, "force_weight": 0.0}
    given = MLIPRun(data=Data(train=[file], atomic_energies=None), train=Train(**limits))
    ours = [[s.name for s in part] for part in splits(given)[:2]]
    config = TrainingConfig(**limits)
    theirs = resolve(None, config, GivenData(read_structures(file)))
    theirs = [[s.name for s in part] for part in theirs]
    assert ours == theirs and [len(part) for part in ours] == [11, 2]
    assert len(StructureDataset(read_structures(file))) == 20


def test_elements_that_a_potential_does_not_know_are_named(trained, tmp_path, capsys):
    (tmp_path / "ni.xyz").write_text("1\nenergy=1.0\nNi 0 0 0\n")
    for action in ("predict", "evaluate"):
        assert (
            main(["mlip", action, f"folder={trained}", f"{action}.files=[{tmp_path}/ni.xyz]"]) == 2
        )
        told = capsys.readouterr().err
        assert "ni.xyz#frame=0 has atoms of Ni" in told
    settings = [*SMALL, f"data.test=[{tmp_path}/ni.xyz]", f"folder={tmp_path}/run"]
    assert main(["mlip", "train", *settings]) == 2
    assert "ni.xyz#frame=0 has atoms of Ni" in capsys.readouterr().err


@pytest.mark.medium
def test_a_run_that_diverges_writes_no_potential(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = [
        "train.method.mu=3.0e+38",
        "train.testpercent=0",
        "train.iterations=2",
        f"folder={folder}",
    ]
    assert main(["mlip", "train", *SMALL, *settings]) == 1
    assert capsys.readouterr().err.startswith("ritz: ")
    assert "potential.npz" not in {p.name for p in folder.iterdir()}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["stop_reason"] == "DIVERGED" and "on_divergence" in summary["message"]
    assert summary["RMSE_train"] is None and summary["finite"] is False
    # What the message advises is a setting.
    advised = [*settings[:-1], f"folder={tmp_path / 'other'}", "train.on_divergence=retry"]
    assert main(["mlip", "train", *SMALL, *advised, "--dry_run"]) == 0

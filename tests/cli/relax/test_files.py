"""`ritz relax`."""

import csv

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixScaled
from ase.units import GPa

from ritz.cli.main import main
from ritz.relax import relax
from tests.relax.systems import argon, argons, lennard_jones
from tests.relax.test_models import random_potential

MODEL = [
    "--model", "lennard-jones", "--model.epsilon=0.0104", "--model.sigma", "3.4",
    "--model.cutoff=6.0", "model.onset=5.0",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = argon(0)
    first.calc = SinglePointCalculator(first, energy=0.0)
    ase.io.write("two.extxyz", [first, argon(1)])
    ase.io.write("third.vasp", argon(2))
    random_potential().save("saved/potential.npz")
    return tmp_path


def table(name="relaxed.csv"):
    with open(name) as file:
        return list(csv.DictReader(file))


@pytest.mark.medium
def test_files_are_relaxed_and_bad_ones_reported(folder, capsys, caplog):
    (folder / "bad.cif").write_text("nonsense")
    clash = argon(3)
    clash.positions[1] = clash.positions[0]
    ase.io.write("clash.extxyz", clash)
    files = ["two.extxyz", "bad.cif", "third.vasp", "missing.xyz", "clash.extxyz"]

    status = main(["relax", *files, *MODEL, "--fmax", "0.005", "--trajectory", "way.traj"])

    assert status == 1
    rows = table()
    assert [row["file"] for row in rows] == [
        "two.extxyz", "two.extxyz", "bad.cif", "third.vasp", "missing.xyz", "clash.extxyz"
    ]  # fmt: skip
    assert [row["status"] for row in rows] == [
        "converged", "converged", "skipped", "converged", "skipped", "failed"
    ]  # fmt: skip
    assert "cannot be read" in rows[2]["reason"] and "No such file" in rows[4]["reason"]
    expected = relax(argons(3), lennard_jones(), fmax=0.005)
    energies = [float(rows[i]["energy"]) for i in (0, 1, 3)]
    np.testing.assert_allclose(energies, expected.energy, atol=1e-6)
    written = ase.io.read("relaxed.extxyz", ":")
    assert [a.info["file"] for a in written] == [rows[i]["file"] for i in (0, 1, 3, 5)]
    assert [a.info["status"] for a in written] == ["converged"] * 3 + ["failed"]
    assert rows[5]["reason"] == "atoms 0 (Ar) and 1 (Ar) are at one place"
    np.testing.assert_allclose(written[0].positions, expected.atoms[0].positions, atol=1e-6)
    assert len(ase.io.read("way.traj", ":")) > 8
    out = capsys.readouterr().out
    assert "3 converged, 2 skipped, 1 failed; relaxed.extxyz, relaxed.csv" in out
    assert "two.extxyz@1" in out and "bad.cif is skipped" in caplog.text


@pytest.mark.medium
def test_cells_logs_and_checkpoints(folder, capsys):
    command = [
        "relax", "third.vasp", *MODEL, "--cell", "--pressure=0.1", "--optimizer", "lbfgs",
        "--optimizer.memory=10", "--fmax=1e-4", "--log", "run",
        "--checkpoint", "saved", "--progress", "false",
        "--output", "out/a.extxyz", "--table", "out/a.csv",
    ]  # fmt: skip
    assert main(command) == 0
    before = ase.io.read("out/a.extxyz")
    np.testing.assert_allclose(before.get_stress()[:3], -0.1 * GPa, atol=1e-4)
    assert (folder / "run.log").exists()
    # Again: it goes on from what is saved, where nothing is left to do.
    assert main(command) == 0
    np.testing.assert_array_equal(ase.io.read("out/a.extxyz").positions, before.positions)
    assert table("out/a.csv")[0]["status"] == "converged"
    assert "structure/s" not in capsys.readouterr().err
    assert main([*command, "--pressure=0.2"]) == 2
    assert capsys.readouterr().err.endswith("give accept_changes='[stages]'.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.xyz", *MODEL], "no structure can be relaxed: nothing.xyz: it cannot be r"),
        (["two.extxyz", "--model", "lj"], "it is periodic, so that the potential needs a cutoff"),
        (["two.extxyz", "--model", "leonard-jones"], "did you mean LennardJones"),
        (["two.extxyz", *MODEL, "--model.depth=3"], "model.depth: LennardJones has no such"),
        (["two.extxyz", *MODEL, "--optimizer", "cg"], "there are: fire, fire2, lbfgs"),
        (["two.extxyz", *MODEL, "--pressure", "1"], "give --cell too"),
        (["two.extxyz", *MODEL, "--fmax=-1"], "fmax must be a positive number"),
        (["two.extxyz", *MODEL, "--fmax=.inf"], "fmax must be a positive number"),
        (["two.extxyz", *MODEL, "--every=0"], "every must be at least 1"),
        (["two.extxyz", *MODEL, "--max_steps=-1"], "max_steps must be at least 0"),
        (["two.extxyz", "--model", "nowhere/"], "model: there is no file or folder 'nowhere'"),
        (
            ["two.extxyz", "--model", "third.vasp"],
            "third.vasp is no potential that Ritz has written: it holds no arrays of NumPy",
        ),
        (
            ["two.extxyz", *MODEL, "--accept_changes=stages"],
            "'stages' was given, but list is needed; write accept_changes='[stages]'",
        ),
        (["two.extxyz", *MODEL, "--fmaks=1"], "--fmaks: there is no such option; did you mean --f"),
        (
            ["two.extxyz", *MODEL, "max_step=1"],
            "max_step: there is no such setting; did you mean",
        ),
        (["two.extxyz", "--model", "saved", "--model.sigma=3"], "saved is a trained potential"),
        (["two.extxyz", "--model", "saved"], "the potential does not know Ar; it knows Cu, Au"),
        (
            ["two.extxyz", "--model", "ase.calculators.emt.EMT"],
            "model: ase.calculators.emt.EMT is no potential that can be used here",
        ),
        (
            [],
            "ritz: files and --model must be given; files are names or patterns, such as new/*.cif"
            "; a model is a name such as lennard-jones",
        ),
        (["two.extxyz"], "ritz: --model must be given; a model is a name"),
        (MODEL, "ritz: files must be given; files are names or patterns, such as new/*.cif (see"),
        (
            ["two.extxyz", *MODEL, "--fmx", "0.1"],
            "--fmx: there is no such option; did you mean --fm",
        ),
        (["two.extxyz", *MODEL, "--modl.sigma=1"], "did you mean --model.sigma? (see ritz relax"),
        (["two.extxyz", *MODEL, "--model.sgma=1"], "did you mean model.sigma?"),
        (["two.extxyz", *MODEL, "--model.=1"], "arguments are written as model.ARGUMENT=VALUE"),
        (["two.extxyz", *MODEL, "--xyzzy"], "--xyzzy: there is no such option; there are: --h"),
        (["two.extxyz", *MODEL, "--output=a.out.none"], "output: 'a.out.none' tells no format"),
        (["two.extxyz", *MODEL, "--output=CONTCAR"], "'CONTCAR' can hold one structure, but there"),
        (["two.extxyz", *MODEL, "--checkpoint.x=a"], "checkpoint.x: checkpoint takes a value with"),
        (["two.extxyz", *MODEL, "--fmax.x=1"], "fmax.x: fmax takes a value without arguments"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, arguments, message):
    assert main(["relax", *arguments]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ritz: ") and message in last
    assert not (folder / "relaxed.csv").exists()


def test_a_reason_is_said_once_and_in_the_words_of_the_command_line(folder, capsys, caplog):
    ase.io.write("molecule.xyz", Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]]))
    (folder / "bad.cif").write_text("nonsense")
    command = ["relax", *MODEL, "--cell", "molecule.xyz"]
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "ritz: no structure can be relaxed: molecule.xyz: --cell was given, but only a cell that "
        "is periodic in all 3 directions can move, and this one is periodic in 0; relax it without "
        "--cell.\n"
    )
    assert main([*command, "molecule.xyz"]) == 2
    assert "no structure can be relaxed: all 2 are refused: --cell was" in capsys.readouterr().err
    assert caplog.text == ""
    assert main([*command, "bad.cif"]) == 2
    said = capsys.readouterr().err
    assert said.endswith("ritz: no structure can be relaxed, for the reasons above.\n")
    assert caplog.text.count("is skipped") == 2 and "molecule.xyz is skipped: --cell" in caplog.text


DISORDERED = """data_x
_cell_length_a 5.2
_cell_length_b 5.2
_cell_length_c 5.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ar1 Ar 0 0 0 0.5
Kr1 Kr 0 0 0 0.5
"""


def test_what_cannot_be_told_of_a_file_is_skipped_and_named(folder):
    """Partial occupancy, and constraints that cannot be held; `F F T` in an orthogonal cell can."""
    (folder / "disordered.cif").write_text(DISORDERED)
    atoms = argon(2)
    atoms.set_constraint(FixScaled([0], [True, True, False]))
    ase.io.write("oblique.vasp", atoms)
    atoms.set_cell(np.diag([10.6, 10.6, 10.6]))
    ase.io.write("orthogonal.vasp", atoms)
    files = ["disordered.cif", "oblique.vasp", "orthogonal.vasp"]

    main(["relax", *files, *MODEL, "--max_steps", "3", "--progress", "false"])

    rows = table()
    assert [row["status"] for row in rows] == ["skipped", "skipped", "unconverged"]
    assert "0.5 Ar and 0.5 Kr" in rows[0]["reason"]
    assert "FixScaled cannot be held" in rows[1]["reason"]
    before, after = ase.io.read("orthogonal.vasp"), ase.io.read("relaxed.extxyz")
    np.testing.assert_allclose(after.positions[0, :2], before.positions[0, :2], atol=1e-8)
    assert abs(after.positions[0, 2] - before.positions[0, 2]) > 1e-4


@pytest.mark.medium
@pytest.mark.parametrize("model", ["saved", "saved/potential.npz"])
def test_trained_potentials_are_models(folder, model):
    known = Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])
    close = Atoms("Cu2", [[0, 0, 0], [1.0, 0, 0]])
    ase.io.write("dimers.extxyz", [known, close, Atoms("Ni2", known.positions)])

    main(["relax", "dimers.extxyz", "--model", model, "--max_steps", "0", "--progress", "false"])

    rows = table()
    assert rows[0]["status"] != "failed"
    expected = relax(known, random_potential(), max_steps=0)
    assert float(rows[0]["energy"]) == pytest.approx(expected.energy, abs=1e-12)
    assert rows[1]["status"] == "failed" and "1 Angstrom apart" in rows[1]["reason"]
    assert "does not know Ni; it knows Cu, Au" in rows[2]["reason"]

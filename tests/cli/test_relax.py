"""`ritz relax`."""

import csv

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from ritz.cli.main import main
from ritz.relax import relax
from tests.relax.systems import argon, argons, lennard_jones

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
    return tmp_path


def table(name="relaxed.csv"):
    with open(name) as file:
        return list(csv.DictReader(file))


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
    np.testing.assert_allclose(written[0].positions, expected.atoms[0].positions, atol=1e-6)
    assert len(ase.io.read("way.traj", ":")) > 8
    out = capsys.readouterr().out
    assert "3 converged, 2 skipped, 1 failed; relaxed.extxyz, relaxed.csv" in out
    assert "two.extxyz@1" in out and "bad.cif is skipped" in caplog.text


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.xyz", *MODEL], "no structure can be relaxed: it cannot be read"),
        (["two.extxyz", "--model", "lj"], "it is periodic, so that the potential needs a cutoff"),
        (["two.extxyz", "--model", "leonard-jones"], "did you mean LennardJones"),
        (["two.extxyz", *MODEL, "--model.depth=3"], "model.depth: LennardJones has no such"),
        (["two.extxyz", *MODEL, "--optimizer", "cg"], "there are: fire, fire2, lbfgs"),
        (["two.extxyz", *MODEL, "--pressure", "1"], "give --cell too"),
        (["two.extxyz", *MODEL, "--fmax=-1"], "fmax must be a positive number"),
        (["two.extxyz"], "model"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, arguments, message):
    assert main(["relax", *arguments]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ritz: ") and message in last
    assert not (folder / "relaxed.csv").exists()

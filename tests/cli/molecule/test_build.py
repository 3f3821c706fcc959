"""`ritz molecule`: what its builder makes of a configuration."""

import contextlib
import re

import numpy as np
import pytest

from ritz.cli.molecule.build import Builder
from ritz.cli.molecule.config import MoleculeRun, System
from ritz.cli.molecule.jaqmc_names import OF_JAQMC
from ritz.cli.molecule.orbitals import ORBITALS
from ritz.cli.settings.parts import Part
from ritz.cli.settings.spelling import dotted_hints
from ritz.cli.settings.suggestions import owner
from ritz.molecule.orbitals import Orbitals, orbitals_of, saved_source, source_of
from ritz.molecule.vmc import default_update
from ritz.updates import SPRING, Gradient


def helium(**changes):
    """A run on helium, with orbitals of Slater's rules."""
    run = MoleculeRun(system=System(name="He", **changes))
    run.pretrain.basis = "slater"
    return run


def orbitals(run, folder, **kwargs):
    return Builder(run).pretrain(folder, **kwargs).orbitals  # type: ignore[attr-defined]


def test_saved_orbitals_are_used_for_the_same_molecule_and_basis_only(tmp_path, monkeypatch):
    first = orbitals(helium(), tmp_path, saves=False)
    assert not (tmp_path / ORBITALS).exists()
    orbitals(helium(), tmp_path)
    triplet = orbitals(helium(spin=2), tmp_path)
    assert triplet.up.shape[-1] == 2 and first.up.shape[-1] == 1
    assert Orbitals.load(tmp_path / ORBITALS).up.shape[-1] == 2  # what was computed last

    asked = []
    monkeypatch.setattr(
        "ritz.molecule.orbitals.orbitals_of",
        lambda molecule, basis: asked.append(basis) or orbitals_of(molecule, "slater"),
    )
    kept = orbitals(helium(spin=2), tmp_path)
    assert not asked
    np.testing.assert_array_equal(kept.up, triplet.up)
    other = helium(spin=2)
    other.pretrain.basis = "cc-pvtz"
    orbitals(other, tmp_path)
    (tmp_path / ORBITALS).write_bytes(b"cut off")
    orbitals(other, tmp_path)
    assert asked == ["cc-pvtz"] * 2


def test_the_first_process_computes_the_orbitals_and_the_others_read_them(tmp_path, monkeypatch):
    orbitals(helium(), tmp_path)
    content = (tmp_path / ORBITALS).read_bytes()
    other = helium()
    other.pretrain.basis = "cc-pvtz"  # the folder has none of these yet
    monkeypatch.setattr("jax.process_index", lambda: 1)
    monkeypatch.setattr("ritz.molecule.orbitals.orbitals_of", lambda *_: pytest.fail("computed"))
    with pytest.raises(ValueError, match="all processes need the same run folder"):
        orbitals(other, tmp_path)  # process 0 has not written, or its file is not seen
    assert (tmp_path / ORBITALS).read_bytes() == content

    def written(where):
        Orbitals.load(tmp_path / ORBITALS).save(tmp_path / ORBITALS, source_of(molecule, "cc-pvtz"))
        return contextlib.nullcontext()

    molecule = Builder(other).molecule
    monkeypatch.setattr("ritz.cli.molecule.orbitals.together", written)  # by process 0, meanwhile
    read = orbitals(other, tmp_path)
    np.testing.assert_array_equal(read.up, Orbitals.load(tmp_path / ORBITALS).up)


def test_estimators_of_one_class_are_numbered():
    run = helium()
    run.evaluate.estimators = [
        Part("Density", {"axis": "r"}), Part("Dipole"), Part("Density", {"axis": "z"}),
    ]  # fmt: skip
    estimators = Builder(run).evaluate().parts.estimators  # type: ignore[attr-defined]
    assert {"density", "density_2", "dipole"} < set(estimators)
    assert (estimators["density"].axis, estimators["density_2"].axis) == ("r", "z")


def test_spring_keeps_its_norm_cap_unless_another_is_given():
    cap = default_update().norm_cap
    for given, made in (
        (None, default_update()),
        (Part("SPRING", {"momentum": 0.95}), SPRING(momentum=0.95, norm_cap=cap)),
        (Part("ritz.updates.SPRING", {"norm_cap": None}), SPRING(momentum=0.99)),
        (Part("Gradient"), Gradient()),
    ):
        run = helium()
        run.train.update = given
        stage = Builder(run).train()
        assert stage.parts.optimizer_options["update"] == made  # type: ignore[attr-defined]


def test_the_optimiser_is_named_with_the_direction_that_it_takes():
    run = helium()
    assert Builder(run).optimizer_text == ""
    run.train.optimizer = Part("optax.adam", {"learning_rate": 1e-3})
    text = Builder(run).optimizer_text
    assert text.startswith("adam takes the direction of SPRING") and "train.update=Gradient" in text
    run.train.update = Part("Gradient")
    assert Builder(run).optimizer_text == "adam takes the direction of Gradient"


def test_pseudopotentials_come_with_their_basis_and_their_energy(tmp_path):
    run = MoleculeRun(system=System(name="LiH", ecp={"Li": "ccecp"}))
    builder = Builder(run)
    assert builder.molecule.ecp == (("Li", "ccecp"),) and builder.exact is None
    assert builder.system_text == "LiH, 1 electron with spin up and 1 with spin down"
    for stage in (builder.train(), builder.evaluate()):
        assert "pseudopotential" in stage.parts.estimators  # type: ignore[attr-defined]
    assert orbitals(run, tmp_path).up.shape[-1] == 1
    assert "ecp {'Li': 'ccecp'}, basis H cc-pvdz, Li ccecpccpvdz" in saved_source(
        tmp_path / ORBITALS
    )
    run.pretrain.basis = "cc-pvdz"
    with pytest.raises(ValueError, match="pretrain.basis: basis='cc-pvdz' does not belong to"):
        orbitals(run, tmp_path)


def test_settings_of_jaqmc_are_answered_with_those_that_exist():
    known = {"system", *(name for name, _ in dotted_hints(MoleculeRun))}  # short for system.name
    for name, told in OF_JAQMC.items():
        assert owner(name, MoleculeRun) is None, name
        for setting in re.findall(r"[a-z_]+(?:\.[a-z_]+)*(?==)|\b[a-z]+\.[a-z_]+", told):
            assert setting in known or owner(setting, MoleculeRun), (name, setting)

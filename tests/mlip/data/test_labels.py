"""Labels in files: keys, units, signs, notation, and what is refused."""

import json
import logging
import tarfile

import numpy as np
import pytest
from ase import Atoms, units

from ritz.mlip import (
    CachedStructureDataset,
    HDF5StructureDataset,
    Structure,
    StructureDataset,
    from_ase,
    iter_structures,
    read_structures,
)
from ritz.mlip.data.units import unit_factor
from tests.mlip.systems import DATA, config, descriptor, potential

FULL = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])


def frame(info: str, *, cell: str = "4 0 0 0 4 0 0 0 4", first: str = "0 0 0") -> str:
    return (
        f'2\nLattice="{cell}" Properties=species:S:1:pos:R:3 {info} pbc="T T T"\n'
        f"Ti {first}\nO 2 2 0\n"
    )


def read(tmp_path, text, **how):
    (tmp_path / "a.extxyz").write_text(text)
    return read_structures(tmp_path / "a.extxyz", **how)


@pytest.mark.parametrize("numbers", ["1 6 5 6 2 4 5 4 3", "1 2 3 4 5 6"])
def test_stress_of_nine_and_of_six_numbers(tmp_path, numbers):
    found = read(tmp_path, frame(f'E=-7.5 S="{numbers}"'), stress_key="S", stress_unit="kbar")
    np.testing.assert_allclose(found[0].stress, FULL * 0.1 * units.GPa, rtol=1e-12)
    np.testing.assert_array_equal(read(tmp_path, frame(f'stress="{numbers}"'))[0].stress, FULL)


def test_a_virial_is_minus_stress_times_volume(tmp_path):
    numbers = "1 6 5 6 2 4 5 4 3"
    for info, how in ((f'virial="{numbers}"', {}), (f'W="{numbers}"', {"virial_key": "W"})):
        found = read(tmp_path, frame(info), **how)
        np.testing.assert_allclose(found[0].stress, -FULL / 64, rtol=1e-12)
    both = frame(f'virial="{numbers}" stress="{numbers}"')
    with pytest.raises(ValueError, match="stress and virial disagree"):
        read(tmp_path, both)
    np.testing.assert_array_equal(read(tmp_path, both, stress_key="stress")[0].stress, FULL)
    found = read(tmp_path, both, virial_key="virial", energy_unit="meV")
    np.testing.assert_allclose(found[0].stress, -FULL / 64e3, rtol=1e-12)
    molecule = Atoms("O", info={"virial": FULL})
    assert from_ase(molecule).stress is None
    with pytest.raises(ValueError, match="needs three lattice vectors"):
        from_ase(molecule, virial_key="virial")


def test_units_by_name(tmp_path):
    atoms = Atoms("O", cell=[2.0, 2, 2], pbc=True, info={"energy": 1.0, "stress": FULL})
    atoms.set_array("forces", np.ones((1, 3)))
    found = from_ase(atoms, energy_unit="kcal/mol", forces_unit="Ha/bohr", stress_unit="GPa")
    assert found.energy == pytest.approx(units.kcal / units.mol)
    np.testing.assert_allclose(found.forces, units.Hartree / units.Bohr)
    np.testing.assert_allclose(found.stress, FULL * units.GPa)
    found = from_ase(atoms, energy_unit="Ry", length_unit="bohr")
    np.testing.assert_allclose(found.forces, units.Rydberg / units.Bohr)
    assert found.volume == pytest.approx(8 * units.Bohr**3)
    assert unit_factor("stress", "eV/A^3") == unit_factor("stress", "eV/Angstrom**3") == 1
    assert unit_factor("forces", "kcal/(mol A)") == unit_factor("energy", "kcal/mol")
    record = {"positions": [[0, 0, 1]], "species": ["O"], "e": "-2.0D+00"}
    (tmp_path / "r.jsonl").write_text(json.dumps(record))
    found = read_structures(tmp_path / "r.jsonl", "e", energy_unit="meV", length_unit="nm")[0]
    assert found.energy == -0.002 and found.positions[0, 2] == pytest.approx(10)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("energy_unit", "MeV"), ("stress_unit", "eV"), ("forces_unit", ""), ("length_unit", "inch")],
)
def test_unknown_units_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting}='{value}' is no unit of .*for example"):
        list(iter_structures([], **{setting: value}))


def test_numbers_in_the_notation_of_fortran(tmp_path):
    found = read(tmp_path, frame('energy=-7.5D+00 F="1.0d0 2"'))
    assert found[0].energy == -7.5 and found[0].keys == ("F", "energy")
    text = frame("energy=-7.5D+00", cell="4.0D+00 0 0 0 4 0 0 0 4", first="0 0 0.5D-01")
    found = read(tmp_path, frame("energy=1.0") + text)
    assert [s.energy for s in found] == [1.0, -7.5]
    assert found[1].positions[0, 2] == 0.05 and found[1].volume == pytest.approx(64)
    (tmp_path / "a.xsf").write_text("# total energy = -7.5D+00 eV\nATOMS\nO 0 0 0.1D+01\n")
    found = read_structures(tmp_path / "a.xsf")[0]
    assert found.energy == -7.5 and found.positions[0, 2] == 1


@pytest.mark.parametrize(
    ("info", "how", "told"),
    [
        ("energy=abc", {}, r"a.extxyz, frame 1: energy must be numbers, but 'abc' was given"),
        ("E=abc", {"energy_key": "E"}, r"energy \(under the key 'E'\) must be numbers, but 'abc'"),
        ('weight="1 2"', {}, "frame 1: weight must be one number, but array"),
        ("weight=heavy", {}, r"frame 1: weight must be numbers, but 'heavy' was given"),
        ("energy=nan", {}, "frame 1: .*energy must be finite, but nan was given"),
        ('stress="1 2 3"', {}, "frame 1: |special 3x3"),
        ('S="1 9 5 6 2 4 5 4 3"', {"stress_key": "S"}, "frame 1: stress must be symmetric"),
    ],
)
def test_bad_values_are_shown_with_file_and_frame(tmp_path, info, how, told):
    with pytest.raises(ValueError, match=told):
        read(tmp_path, frame('E=1.0 S="0 0 0 0 0 0"') + frame(info), **how)


OUTCAR = """ NELM   =     3;   NELMIN=  2
 EDIFF  = 0.1E-05   stopping-criterion for ELM
"""
LOOP = " Iteration {n}(   {last})\n total energy-change (2. order) :{change}  (-0.1E-02)\n"
REACHED = "---- aborting loop because EDIFF is reached ----\n"
END = "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"


@pytest.mark.parametrize(
    ("frames", "failed"),
    [
        ([LOOP.format(n=1, last=2, change="-0.1E-06") + REACHED], [False]),
        ([LOOP.format(n=1, last=3, change="-0.2E-02") + REACHED], [True]),
        ([LOOP.format(n=1, last=3, change=" 0.2E-06") + REACHED], [False]),
        ([LOOP.format(n=1, last=2, change="-0.1E-06"), REACHED], [True, False]),
        ([LOOP.format(n=1, last=3, change="-0.2E-06")
          + "---- aborting loop EDIFF was not reached (unconverged) ----\n"], [True]),
        (["a frame of a force field\n"], [False]),
    ],
)  # fmt: skip
def test_electrons_that_did_not_converge(tmp_path, frames, failed):
    from ritz.mlip.data.convergence import unconverged_frames

    path = tmp_path / "OUTCAR"
    path.write_text(OUTCAR + "".join(text + END for text in frames))
    assert unconverged_frames(path, None) == failed
    assert unconverged_frames(tmp_path / "other.xyz", None) == ()
    xml = "<i name='NELM'>2</i><i name='EDIFF'>1e-5</i>"
    step = "<scstep><energy><i name='e_fr_energy'>{}</i></energy></scstep>"
    for energies, wanted in (((1, 2), True), ((1, 1.000001), False), ((1,), False)):
        steps = "".join(step.format(energy) for energy in energies)
        path = tmp_path / "vasprun.xml"
        path.write_text(f"<modeling>{xml}<calculation>{steps}</calculation></modeling>")
        assert unconverged_frames(path, None) == [wanted]


def test_frames_that_did_not_converge_are_skipped(tmp_path, caplog):
    text = frame("energy=1.0") + frame("energy=2.0 converged=F") + frame("energy=3.0 converged=T")
    found = read(tmp_path, text)
    assert [s.name for s in found] == ["a.extxyz#frame=0", "a.extxyz#frame=2"]
    assert f"1 frame is skipped, .*converge: {tmp_path}/a.extxyz, frame 1." in caplog.text or (
        "a.extxyz, frame 1." in caplog.text and "1 frame is skipped" in caplog.text
    )
    assert len(read(tmp_path, text, keep_unconverged=True)) == 3
    assert [s.energy for s in read(tmp_path, text, index="1:")] == [3.0]


def isolated(symbol, energy, kind="IsolatedAtom"):
    return f"1\nProperties=species:S:1:pos:R:3 energy={energy} config_type={kind}\n{symbol} 0 0 0\n"


def test_isolated_atoms_give_energies(tmp_path, caplog):
    text = frame("energy=-10.0") + isolated("Ti", -3.0) + isolated("O", -4.0, "isolated_atom")
    structures = read(tmp_path, text)
    found = StructureDataset(structures, descriptor())
    assert len(found) == 1 and found.atomic_energies == {"O": -4.0, "Ti": -3.0}
    with caplog.at_level(logging.INFO):
        found = StructureDataset(structures, descriptor(), {"Ti": 1.0, "O": 2.0})
    assert len(found) == 1 and found.atomic_energies == {"Ti": 1.0, "O": 2.0}
    assert "2 isolated atoms are skipped" in caplog.text
    for energies, told in (
        ({"Ti": 1.0}, "has Ti, but the structures have O, Ti: give an energy in eV for O too"),
        ({"Ti": 1.0, "O": 2.0, "H": 3.0}, "the potential has the species O, Ti: leave H out"),
    ):
        with pytest.raises(ValueError, match=told):
            StructureDataset(structures, descriptor(), energies)
        with pytest.raises(ValueError, match=told):
            built = HDF5StructureDataset(tmp_path / "b.h5", descriptor(), energies)
            built.build_database(iter(structures))
    kept = HDF5StructureDataset(tmp_path / "a.h5", descriptor()).build_database(iter(structures))
    assert len(kept) == 1 and kept.atomic_energies == {"O": -4.0, "Ti": -3.0}
    with pytest.raises(ValueError, match="give an energy in eV for Ti too"):
        HDF5StructureDataset(tmp_path / "a.h5", descriptor(), {"O": 1.0}).get_structure(0)
    StructureDataset(structures[:2], descriptor())
    assert "no isolated atom of O" in caplog.text
    with pytest.raises(ValueError, match=r"a.extxyz#frame=1 and a.extxyz#frame=2 of Ti have the"):
        StructureDataset(read(tmp_path, frame("") + isolated("Ti", 1) + isolated("Ti", 2)))
    with pytest.raises(ValueError, match="no structures but isolated atoms"):
        StructureDataset(read(tmp_path, isolated("Ti", 1)))


def test_sites_that_are_shared_are_refused(tmp_path):
    sites = json.dumps({"0": {"Ti": 0.5, "O": 0.5}}).replace('"', '\\"')
    with pytest.raises(ValueError, match="frame 0: a site is occupied by 0.5 O and 0.5 Ti"):
        read(tmp_path, frame(f'occupancy="_JSON {sites}"'))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.xsf", b"\xff\xfe\x00", "a.xsf cannot be read"),
        ("a.jsonl", b'{"species": [', "a.jsonl, record 0"),
        ("a.jsonl", b"\xff\xfe", "a.jsonl, record 0"),
        ("a.jsonl", b"[1, 2]", "a.jsonl, record 0: a JSON object is needed"),
        ("a.tar.gz", b"\x1f\x8b nothing", "a.tar.gz cannot be read as an archive"),
        ("a.extxyz", b"2\nenergy=1\nO 0 0\n", "a.extxyz cannot be read"),
        ("a.cif", b"\xff\xfe\x00", "a.cif cannot be read"),
    ],
)
def test_damaged_files_are_named_in_one_line(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        read_structures(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_errors_in_archives_name_the_member(tmp_path):
    (tmp_path / "a.extxyz").write_text(frame("energy=abc"))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(tmp_path / "a.extxyz", "in/a.extxyz")
    with pytest.raises(
        ValueError, match=r"b.tar, in/a.extxyz: a.extxyz, frame 0: energy must be numbers"
    ):
        read_structures(tmp_path / "b.tar")


def close(distance, n):
    positions = [[0, 0, 0], [0, 0, distance]]
    return Structure(positions, ["Ti", "O"], energy=-1.0 * n, name=f"a.extxyz#frame={n}")


def test_atoms_that_are_too_close_to_train_on(caplog):
    usual = [close(1.0 + 0.1 * n, n) for n in range(4)]
    settings = config(iterations=0, force_weight=0.0, testpercent=0)
    for known in (StructureDataset, CachedStructureDataset):
        data = known([*usual, close(0.4, 4), close(0.3, 5)], descriptor())
        potential().driver(dataset=data, config=settings)
        assert "In 2 structures atoms are closer than min_cutoff=0.5 Angstrom" in caplog.text
        assert "a.extxyz#frame=5, atoms 0 (Ti) and 1 (O), 0.3 Angstrom; a.ext" in caplog.text
        caplog.clear()
        data = known([*usual, close(0.0, 4)], descriptor())
        with pytest.raises(ValueError, match=r"frame=4, atoms 0 \(Ti\) and 1 \(O\) are at one"):
            potential().driver(dataset=data, config=settings)
    potential().driver(usual, settings)
    assert not caplog.text


@pytest.mark.parametrize(
    ("setting", "value"), [("energy_unit", "Ha"), ("length_unit", "nm"), ("forces_unit", "Ry/A")]
)
def test_other_units_are_refused_for_xsf(setting, value):
    file = next(DATA.glob("*.xsf"))
    with pytest.raises(ValueError, match=f"are in eV and Angstrom, but {setting}={value} was"):
        read_structures(file, **{setting: value})
    assert len(read_structures(file, stress_unit="GPa")) == 1  # XSF files have no stress


def test_paths_are_no_structures():
    for given in ("a.xsf", ["a.xsf"], [DATA / "a.xsf"]):
        with pytest.raises(
            TypeError, match=r"a.xsf.* was given; read files with .*read_structures"
        ):
            potential().train(given, config())

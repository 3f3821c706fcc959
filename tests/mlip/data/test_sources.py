"""Archives and records as sources of structures."""

import json
import tarfile

import ase.io
import numpy as np
import pytest

from ritz.mlip import HDF5StructureDataset, iter_structures, read_structures
from ritz.mlip.data.labels import as_structure
from tests.mlip.systems import DATA, descriptor, tio2


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "data.tar.gz"
    files = sorted(DATA.glob("*.xsf"))[:3]
    ase.io.write(tmp_path / "more.extxyz", [s.to_ase() for s in tio2(2)])
    with tarfile.open(path, "w:gz") as made:
        for file in [*files, tmp_path / "more.extxyz"]:
            made.add(file, f"inner/{file.name}")
    return path


def test_archives_are_read_file_by_file(archive):
    found = read_structures(archive)
    assert [s.name for s in found[:3]] == [f.name for f in sorted(DATA.glob("*.xsf"))[:3]]
    assert [s.name for s in found[3:]] == ["more.extxyz#frame=0", "more.extxyz#frame=1"]
    assert found[4].energy == pytest.approx(tio2(2)[1].energy)
    one = next(iter_structures(archive))  # without reading the rest
    np.testing.assert_array_equal(one.forces, found[0].forces)
    d = descriptor()
    dataset = HDF5StructureDataset(archive.parent / "data.h5", d).build_database(archive)
    assert len(dataset) == 5 and dataset.get_structure(1).name == found[1].name


def test_mistakes_in_archives_are_told_by_file(archive, tmp_path):
    (tmp_path / "bad.xsf").write_text("nonsense")
    with tarfile.open(tmp_path / "bad.tar", "w") as made:
        made.add(tmp_path / "bad.xsf", "somewhere/bad.xsf")
    with pytest.raises(ValueError, match=r"bad\.tar, somewhere/bad\.xsf: .* has no atoms"):
        read_structures(tmp_path / "bad.tar")
    cut = archive.read_bytes()[:200]
    (tmp_path / "cut.tar.gz").write_bytes(cut)
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        read_structures(tmp_path / "cut.tar.gz")


def record(structure, **more):
    return {
        "positions": structure.positions.tolist(), "species": list(structure.species),
        "energy": structure.energy, "forces": structure.forces.tolist(),
        "cell": structure.cell.tolist(), **more,
    }  # fmt: skip


def test_records(tmp_path):
    wanted = tio2(3)
    found = as_structure(record(wanted[0], weight=2.0))
    np.testing.assert_array_equal(found.forces, wanted[0].forces)
    assert found.weight == 2 and found.is_periodic
    with pytest.raises(ValueError, match="this one has: energies, positions, species"):
        as_structure({"positions": [[0, 0, 0]], "species": ["H"], "energies": 1})
    lines = [json.dumps(record(s)) for s in wanted]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([*lines, ""]))
    several = read_structures(path)
    assert [s.energy for s in several] == [s.energy for s in wanted]
    assert several[1].name == "data.jsonl#record=1"
    dataset = HDF5StructureDataset(tmp_path / "data.h5", descriptor())
    assert len(dataset.build_database(map(json.loads, lines))) == 3
    path.write_text(lines[0] + "\n{")
    with pytest.raises(ValueError, match=r"data\.jsonl, record 1"):
        read_structures(path)


def test_labels_of_records_under_named_keys(tmp_path):
    path = tmp_path / "data.jsonl"
    plain = record(tio2(1)[0])
    plain["dft"] = plain.pop("energy")
    path.write_text(json.dumps(plain))
    assert read_structures(path, energy_key="dft")[0].energy == tio2(1)[0].energy
    with pytest.raises(ValueError, match="nothing under 'pbe'; there is: cell, dft, forces"):
        read_structures(path, energy_key="pbe")

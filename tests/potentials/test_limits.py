"""What damaged or malicious files must not do."""

import gzip
import io
import tarfile
import time

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from ritz.cli.main import main
from ritz.mlip import read_structures
from ritz.potentials.limits import check_declared, parse_json

XYZ = '2\nenergy=-1.5 pbc="F F F"\nH 0.0 0.0 0.0\nH 0.0 0.0 0.7\n'


def archive(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as made:
        for info, content in members:
            made.addfile(info, None if content is None else io.BytesIO(content))
    return path


def file(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, None


def test_archives_that_unpack_to_too_much_are_refused_before_that(tmp_path):
    bomb = archive(tmp_path / "bomb.tar.gz", [file("a.xyz", bytes(200 * 2**20))])
    assert bomb.stat().st_size < 2**20
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=r"bomb.tar.gz unpacks to more than 128 MiB, 100 times its"
    ):
        read_structures(bomb)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (file("../a.xyz", XYZ.encode()), "../a.xyz: it is outside of the archive"),
        (file("/tmp/a.xyz", XYZ.encode()), "/tmp/a.xyz: it is outside of the archive"),
        (special("a.xyz", tarfile.SYMTYPE, "/etc/passwd"), "a.xyz: it is a link, and only files"),
        (special("a.xyz", tarfile.LNKTYPE, "b.xyz"), "a.xyz: it is a link"),
        (special("a.xyz", tarfile.CHRTYPE), "a.xyz: it is a device"),
        (special("a.xyz", tarfile.FIFOTYPE), "a.xyz: it is a device"),
        (file("b.tar.gz", b"x"), "b.tar.gz: archives within archives are not read"),
    ],
)
def test_members_that_are_no_files_of_the_archive_are_refused(tmp_path, member, message):
    made = archive(tmp_path / "x.tar", [file("good.xyz", XYZ.encode()), member], "w")
    with pytest.raises(ValueError, match=rf"x.tar, {message}"):
        read_structures(made)


def test_ordinary_archives_are_read(tmp_path):
    folder = special("data", tarfile.DIRTYPE)
    made = archive(tmp_path / "x.tar.xz", [folder, file("data/a.xyz", XYZ.encode())], "w:xz")
    assert [s.energy for s in read_structures(made)] == [-1.5]


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.xyz.gz"])
def test_numbers_of_atoms_that_a_file_cannot_hold_are_refused(tmp_path, name, capsys):
    text = (XYZ + XYZ.replace("2\n", "1000000000\n", 1)).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=rf"{name}, frame 1: 1000000000 atoms are declared, but 2 l"
    ):
        read_structures(path)
    assert main(["relax", str(path), "--model", "lj"]) == 2
    assert "1000000000 atoms are declared" in capsys.readouterr().err
    assert time.perf_counter() - start < 5
    path.write_bytes(b"-3\n\n") if not name.endswith("gz") else None
    if not name.endswith("gz"):
        with pytest.raises(ValueError, match="frame 0: -3 atoms are declared"):
            read_structures(path)


def test_poscars_are_looked_at_too(tmp_path):
    path = tmp_path / "POSCAR"
    ase.io.write(path, bulk("Cu"), format="vasp")
    check_declared(path)
    lines = path.read_text().splitlines()
    lines[6] = "1000000000"
    path.write_text("\n".join(lines))
    with pytest.raises(
        ValueError, match="POSCAR: 1000000000 atoms are declared, but 2 lines follow"
    ):
        read_structures(path)


def test_compressed_text_may_be_dense_but_not_endless(tmp_path):
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress(XYZ.encode() * 1000))
    assert len(read_structures(path)) == 1000
    path.write_bytes(gzip.compress(b"1000\n" + (b" " * 2**20 + b"\n") * 130, 1))
    with pytest.raises(ValueError, match="a.xyz.gz unpacks to more than 128 MiB"):
        check_declared(path)


def test_frames_of_a_file_that_is_still_written_can_be_read(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(XYZ + "2\n\nH 0 0 0\n")
    assert len(read_structures(path, index=":1")) == 1
    vectors = XYZ + "VEC1 1 0 0\nVEC2 0 1 0\nVEC3 0 0 1\n" + XYZ
    path.write_text(vectors)
    check_declared(path)
    assert check_declared(tmp_path / "none.xyz") is None


def test_nesting_has_a_limit(tmp_path):
    deep = "[" * 100_000
    with pytest.raises(ValueError, match="the JSON is nested too deeply: at most about"):
        parse_json(deep)
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"positions": {deep}\n')
    with pytest.raises(ValueError, match="a.jsonl, record 0: the JSON is nested too deeply"):
        read_structures(path)


def test_big_files_cost_little_more(tmp_path):
    path = tmp_path / "a.xyz"
    rows = "\n".join(f"H {x:.6f} 0.0 0.0" for x in np.arange(20_000.0))
    path.write_text(f"20000\n\n{rows}\n" * 5)
    start = time.perf_counter()
    check_declared(path)
    mine = time.perf_counter() - start
    start = time.perf_counter()
    list(ase.io.iread(path, ":"))
    assert mine < 0.5 * (time.perf_counter() - start)

"""Reads labelled structures from files."""

import glob
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, cast

import ase.io

from ritz.mlip.labels import from_ase
from ritz.mlip.structure import Structure, as_structure
from ritz.mlip.xsf import read_xsf
from ritz.potentials.limits import check_declared, parse_json, readable_members

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]


def read_structures(
    paths: Paths,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    format: str | None = None,
    index: str = ":",
) -> list[Structure]:
    """Read structures with their labels from files of any format that ASE reads, and aenet's XSF.

    Archives (.tar, .tar.gz, .tgz, .tar.bz2, .tar.xz) are read file by file, without unpacking them
    as a whole. Files of records (.jsonl) have a JSON object in each line, with the arguments of
    `Structure`.

    Args:
        paths: A file, a pattern such as "data/*.xsf", a folder (all of its files), or several.
        energy_key: Under which key the energies are, see `from_ase`; XSF files have their own.
        forces_key: The same for forces.
        stress_key: The same for stresses.
        format: ASE's name of the format; None tells it from the file. "xsf" is aenet's form.
        index: Which frames of each file, as `ase.io.read` takes it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be read, or lacks a label under a key that was given; it is
            named.
    """
    return list(iter_structures(paths, energy_key, forces_key, stress_key, format, index))


def iter_structures(
    paths: Paths,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    format: str | None = None,
    index: str = ":",
) -> Iterator[Structure]:
    """The same, one structure after another, for data larger than memory."""
    for path in expand(paths):
        if path.name.endswith(_ARCHIVES):
            yield from _archived(path, energy_key, forces_key, stress_key, format, index)
            continue
        if format is None and path.suffix == ".jsonl":
            yield from _records(path, energy_key, forces_key, stress_key)
            continue
        if format == "xsf" or (format is None and path.suffix == ".xsf"):
            yield read_xsf(path)
            continue
        for frame, atoms in enumerate(_frames(path, index, format)):
            name = f"{path.name}#frame={frame}"
            try:
                yield from_ase(atoms, energy_key, forces_key, stress_key, name)
            except ValueError as error:
                raise ValueError(f"{path}, frame {frame}: {error}") from error


def _archived(path: Path, *how: Any) -> Iterator[Structure]:
    """The structures of all files of an archive, one after another."""
    try:
        with tarfile.open(path) as archive, tempfile.TemporaryDirectory() as folder:
            for member in readable_members(archive, path):
                file = Path(folder) / Path(member.name).name
                if member.name.endswith(_ARCHIVES):
                    raise ValueError(
                        f"{path}, {member.name}: archives within archives are not read."
                    )
                with open(file, "wb") as copy:
                    shutil.copyfileobj(cast(Any, archive.extractfile(member)), copy)
                try:
                    yield from iter_structures(file, *how)
                except ValueError as error:
                    raise ValueError(f"{path}, {member.name}: {error}") from error
                file.unlink()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be read as an archive: {error}") from error


def _records(path: Path, *keys: str | None) -> Iterator[Structure]:
    """The structures of a file with a record in each line."""
    with path.open() as file:
        for number, line in enumerate(file):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
                record = {"name": f"{path.name}#record={number}", **record}
                for label, key in zip(("energy", "forces", "stress"), keys, strict=True):
                    if key is not None:
                        record[label] = _taken(record, key)
                yield as_structure(record)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, record {number}: {error}") from error


def _taken(record: dict[str, Any], key: str) -> Any:
    if key not in record:
        raise ValueError(f"there is nothing under {key!r}; there is: {', '.join(sorted(record))}.")
    return record.pop(key)


def _frames(path: Path, index: str, format: str | None) -> Iterator[Any]:
    check_declared(path, format)
    try:
        yield from ase.io.iread(path, index, format)
    except Exception as error:  # ASE's readers raise whatever the parsing of a bad file gives
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def expand(paths: Paths) -> list[Path]:
    """All files that are meant, in order.

    Raises:
        FileNotFoundError: If there is none of some name.
    """
    found: list[Path] = []
    for given in [paths] if isinstance(paths, str | PathLike) else paths:
        path = Path(given)
        if path.is_dir():
            found += sorted(inner for inner in path.iterdir() if inner.is_file())
        elif path.exists():
            found.append(path)
        elif matches := sorted(glob.glob(os.fspath(given))):
            found += map(Path, matches)
        else:
            raise FileNotFoundError(f"there is no file {os.fspath(given)!r}.")
    return found

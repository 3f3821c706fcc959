"""Reads labelled structures from files."""

import concurrent.futures
import functools
import glob
import io
import logging
import lzma
import multiprocessing
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast

import ase.io
from ase import Atoms
from ase.utils import string2index

from ritz.driver.signatures import suggests_names
from ritz.mlip.data.convergence import says_unconverged, unconverged_frames
from ritz.mlip.data.labelling import Labelling
from ritz.mlip.data.labels import StructureLike, as_structure, from_record, structure_from_atoms
from ritz.mlip.data.structure import Structure
from ritz.mlip.data.xsf import read_xsf
from ritz.potentials.limits import check_declared, parse_json, readable_members
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_FORTRAN = re.compile(r"(?<![\w.])([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)(?![\w.])")
"""Numbers such as -7.5D+00."""

_SIX = re.compile(r"""\b(stress|virial)=["'{]([^"'}]*)["'}]""")
"""Where XYZ files have stress or virial."""

_MOST_TOLD = 5
"""Number of files or frames that a message lists."""

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]


class ReadOptions(NamedTuple):
    """How files of structures are read: keys, units and which frames."""

    labelling: Labelling
    format: str | None
    index: str
    keep_unconverged: bool
    skipped: list[str]
    """Frames that were skipped; filled while files are read."""


@functools.partial(suggests_names, more=(Labelling,))
def read_structures(
    paths: Paths,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    format: str | None = None,
    index: str = ":",
    *,
    keep_unconverged: bool = False,
    **more: Any,
) -> list[Structure]:
    """Read structures with their labels from files of any format that ASE reads, and aenet's XSF.

    Archives (.tar, .tar.gz, .tgz, .tar.bz2, .tar.xz) are read file by file, without unpacking them
    as a whole. Files of records (.jsonl) have a JSON object in each line, with the arguments of
    `Structure`. Frames whose electronic structure did not converge are skipped with a warning:
    those with `converged=F`, and those of VASP's OUTCAR and vasprun.xml that ended after NELM
    iterations.

    Args:
        paths: A file, a pattern such as "data/*.xsf", a folder (all of its files), or several.
        energy_key: Under which key the energies are, see `from_ase`; XSF files have their own.
        forces_key: The same for forces.
        stress_key: The same for stresses.
        format: ASE's name of the format; None tells it from the file. "xsf" is aenet's form.
        index: Which frames of each file, as `ase.io.read` takes it.
        keep_unconverged: Whether frames that did not converge are read like the others, where
            labels do not matter.
        more: `virial_key`, `energy_unit`, `length_unit`, `forces_unit` and `stress_unit`, see
            `from_ase`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be read, or lacks a label under a key that was given; it is
            named.
    """
    return list(
        iter_structures(
            paths,
            energy_key,
            forces_key,
            stress_key=stress_key,
            format=format,
            index=index,
            keep_unconverged=keep_unconverged,
            **more,
        )
    )


@functools.partial(suggests_names, more=(Labelling,))
def iter_structures(
    paths: Paths,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    format: str | None = None,
    index: str = ":",
    *,
    keep_unconverged: bool = False,
    **more: Any,
) -> Iterator[Structure]:
    """Read structures one after another, for data larger than memory; see `read_structures`."""
    labelling = Labelling(energy_key, forces_key, stress_key, **more)
    return read_files(expand_paths(paths), labelling, format, index, keep_unconverged)


def read_files(
    files: Iterable[Path],
    labelling: Labelling,
    format: str | None = None,
    index: str = ":",
    keep_unconverged: bool = False,
) -> Iterator[Structure]:
    """The structures of files, one after another, see `read_structures`."""
    how = ReadOptions(labelling, format, index, keep_unconverged, [])
    for file in files:
        yield from _read_file_structures(file, how)
    if how.skipped:
        _logger.warning(
            "%s skipped, since their electronic structure did not converge: %s",
            counted(len(how.skipped), "frame", "is"),
            _listed(how.skipped),
        )


def _listed(names: Sequence[str]) -> str:
    left = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {left} more." if left > 0 else ".")


def _read_file_structures(path: Path, how: ReadOptions) -> Iterator[Structure]:
    if path.name.endswith(_ARCHIVES):
        yield from _read_archive(path, how)
    elif how.format is None and path.suffix == ".jsonl":
        yield from _read_records(path, how)
    elif how.format == "xsf" or (how.format is None and path.suffix == ".xsf"):
        _check_units_of_xsf(path, how.labelling)
        try:
            yield read_xsf(path)
        except (ValueError, TypeError) as error:
            raise ValueError(_one_line(path, error)) from error
    else:
        yield from _read_with_ase(path, how)


def _check_units_of_xsf(path: Path, labelling: Labelling) -> None:
    """Refuse other units than those of aenet's XSF files."""
    scales = {**labelling.scales, "length": labelling.length}
    for label in ("energy", "length", "forces"):
        if scales[label] != 1:
            name = f"{label}_unit"
            raise ValueError(
                f"{path}: XSF files are in eV and Angstrom, but {name}={getattr(labelling, name)} "
                "was given; leave it out, and write structures in other units as extxyz."
            )


def _read_with_ase(path: Path, how: ReadOptions) -> Iterator[Structure]:
    failed: Sequence[bool] | None = None
    for frame, atoms in enumerate(_frames(path, how.index, how.format)):
        name = f"{path.name}#frame={frame}"
        if not how.keep_unconverged:
            if failed is None:
                failed = _flags_of_index(unconverged_frames(path, how.format), how.index)
            if (frame < len(failed) and failed[frame]) or says_unconverged(atoms):
                how.skipped.append(f"{path}, frame {frame}")
                continue
        try:
            yield structure_from_atoms(atoms, how.labelling, name)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, frame {frame}: {error}") from error


def _flags_of_index(flags: Sequence[bool], index: str) -> Sequence[bool]:
    if not flags:
        return flags
    chosen: Any = string2index(index) if isinstance(index, str) else index
    return flags[chosen] if isinstance(chosen, slice) else [flags[chosen]]


def _read_archive(path: Path, how: ReadOptions) -> Iterator[Structure]:
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
                inner = how._replace(skipped=[])
                try:
                    yield from _read_file_structures(file, inner)
                except ValueError as error:
                    told = str(error).replace(str(file), file.name)
                    raise ValueError(f"{path}, {member.name}: {told}") from error
                how.skipped.extend(
                    f"{path}, {told.replace(str(file), member.name)}" for told in inner.skipped
                )
                file.unlink()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as an archive: {told}") from error


def _read_records(path: Path, how: ReadOptions) -> Iterator[Structure]:
    """The structures of a file with a record in each line."""
    number = 0
    try:
        with path.open() as file:
            for number, line in enumerate(file):
                if not line.strip():
                    continue
                record = parse_json(line)
                if not isinstance(record, dict):
                    raise ValueError(f"a JSON object is needed, but {line.strip()[:40]!r} is there")
                if record.pop("converged", True) in (False, 0) and not how.keep_unconverged:
                    how.skipped.append(f"{path}, record {number}")
                    continue
                name = f"{path.name}#record={number}"
                yield from_record({"name": name, **record}, how.labelling)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}, record {number}: {error}") from error


def _frames(path: Path, index: str, format: str | None) -> Iterator[Atoms]:
    check_declared(path, format)
    count = 0
    try:
        for atoms in ase.io.iread(path, index, format):
            yield atoms
            count += 1
    except Exception as error:  # ASE's readers raise whatever the parsing of a bad file gives
        left = _repaired_frames(path, index, format)
        if left is None:
            raise ValueError(_one_line(path, error, f"{type(error).__name__}: ")) from error
        yield from left[count:]


def _repaired_frames(path: Path, index: str, format: str | None) -> list[Atoms] | None:
    """The frames of an XYZ file with what ASE does not read in another form; None if it has none.

    That is numbers in Fortran's notation, and `stress` or `virial` with the 6 numbers of Voigt.
    """
    if format not in (None, "extxyz", "xyz") or path.suffix not in (".xyz", ".extxyz"):
        return None
    try:
        text, count = _FORTRAN.subn(r"\1E\2", path.read_text())
        text, more = _SIX.subn(_nine_numbers, text)
        known = format or "extxyz"
        return list(ase.io.iread(io.StringIO(text), index, known)) if count + more else None
    except Exception:  # the first error tells more
        return None


def _nine_numbers(found: re.Match[str]) -> str:
    numbers = found[2].split()
    if len(numbers) != 6:
        return found[0]
    xx, yy, zz, yz, xz, xy = numbers
    return f'{found[1]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'


def _one_line(path: Path, error: BaseException, kind: str = "") -> str:
    """The text of an error, in one line that names the file."""
    told = " ".join(str(error).split())
    if told.startswith(str(path)):
        return told
    return f"{path} cannot be read: {kind}{told}"


def expand_paths(paths: Paths) -> list[Path]:
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


Sources = Paths | Iterable[StructureLike]
"""Files, patterns or folders; or structures or records, one after another."""


def read_sources(sources: Sources, labelling: Labelling, workers: int) -> Iterator[Structure]:
    """Structures of files, read by several processes, or as they are given.

    Args:
        sources: Where they are from.
        labelling: Keys and units of energies, forces and stress.
        workers: How many processes there are; 0 for this one.
    """
    is_path = isinstance(sources, str | PathLike)
    listed: Any = [sources] if is_path else sources
    if not is_path and not isinstance(listed, Iterator):
        listed = list(listed)
    if isinstance(listed, Iterator) or not all(isinstance(s, str | PathLike) for s in listed):
        yield from map(as_structure, listed)
        return
    files = expand_paths(listed)
    if not workers:
        yield from read_files(files, labelling)
        return
    context = multiprocessing.get_context("spawn")  # JAX has threads, which forks do not survive
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        for structures in pool.map(_read_file, files, [labelling] * len(files)):
            yield from structures


def _read_file(file: Path, labelling: Labelling) -> list[Structure]:
    return list(read_files([file], labelling))

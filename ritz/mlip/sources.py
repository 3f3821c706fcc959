"""Reads the sources of a data set, with several processes."""

import concurrent.futures
import multiprocessing
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from ritz.mlip.labelling import Labelling
from ritz.mlip.reading import Paths, expand, read_files
from ritz.mlip.structure import Structure, as_structure

Sources = Paths | Iterable[Any]
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
    files = expand(listed)
    if not workers:
        yield from read_files(files, labelling)
        return
    context = multiprocessing.get_context("spawn")  # JAX has threads, which forks do not survive
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        for structures in pool.map(_read_file, files, [labelling] * len(files)):
            yield from structures


def _read_file(file: Path, labelling: Labelling) -> list[Structure]:
    return list(read_files([file], labelling))

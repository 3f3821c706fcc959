"""Files of trained potentials: arrays and JSON, no pickles."""

import json
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "ritz.mlip 1"
"""What a file says it is."""

_HEADER = "header"


def write(path: str | PathLike[str], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a file at once: readers never see a part of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    text = json.dumps({"format": FORMAT, **header})
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_HEADER: np.array(text)}, **arrays)
    partial.replace(path)


def read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file.

    Raises:
        ValueError: If it is none of these files.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no potential that Ritz has written: it is no .npz file.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop(_HEADER)))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no potential that Ritz has written: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {header.get('format')!r}; this version reads {FORMAT!r}."
        )
    return header, arrays

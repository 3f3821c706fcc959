"""Files of trained potentials: arrays and JSON, no pickles."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ritz.mlip.plain_json import dumps

FORMAT = "ritz.mlip 1"
"""What a file says it is."""

_HEADER = "header"


def write(path: str | PathLike[str], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a file at once: readers never see a part of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    text = dumps({"format": FORMAT, **header})
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_HEADER: np.array(text)}, **arrays)
    partial.replace(path)


def read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file.

    Raises:
        ValueError: If it is none of these files.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop(_HEADER)))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
    except Exception as error:  # zip and NumPy raise many kinds for damaged bytes
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is no potential that Ritz has written: {told}") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {header.get('format')!r}; this version reads {FORMAT!r}."
        )
    return header, arrays

"""Files of trained potentials: arrays and JSON."""

import io
import json
from os import PathLike
from pathlib import Path

import jax
import numpy as np

from ritz.folders.files import atomic_write
from ritz.folders.summary import without_nan
from ritz.types import Settings


def dump_json(value: object, *, indent: int | None = None) -> str:
    """JSON that every reader takes: NaN and infinities, which JSON does not have, become null."""
    return json.dumps(without_nan(value)[0], allow_nan=False, indent=indent)


FORMAT = "ritz.mlip 1"
"""Name and version of the format, in each file."""

_HEADER = "header"


class NotFiniteError(ValueError):
    """A potential has parameters that are not finite, and is not written."""


def write_potential(
    path: str | PathLike[str], header: Settings, arrays: dict[str, np.ndarray]
) -> None:
    """Write a file at once: readers never see a part of it. Of several processes the first writes.

    Args:
        path: The file; folders that are not there are made.
        header: Settings and statistics, as JSON can hold them.
        arrays: Parameters and normalisation by name.
    """
    if jax.process_index() != 0:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = dump_json({"format": FORMAT, **header})
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{_HEADER: np.array(text)}, **arrays)
    atomic_write(path, content.getvalue())


def read_potential(path: str | PathLike[str]) -> tuple[Settings, dict[str, np.ndarray]]:
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
        if "pickle" in told:  # what NumPy thinks of any other file
            told = "it holds no arrays of NumPy"
        raise ValueError(f"{path} is no potential that Ritz has written: {told}") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {header.get('format')!r}; this version reads {FORMAT!r}."
        )
    return header, arrays

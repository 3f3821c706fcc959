"""Arrays by name in files of NumPy."""

import zipfile
import zlib
from pathlib import Path

import numpy as np


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file, by name.

    Raises:
        ValueError: If it is missing or damaged, or holds something else.
    """
    try:
        with open(file, "rb") as content, np.load(content, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} holds no arrays by name: {error}") from error

"""Files that a command is to write: where, and in which format."""

from pathlib import Path
from typing import cast


def placed(folder: Path, name: str) -> Path:
    """A path as it is given, or in the folder if it is only a name; its own folder is made."""
    path = folder / name if len(Path(name).parts) == 1 else Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def check_output(name: str, path: str, n_structures: int) -> None:
    """Refuse a file of structures whose name tells no format that can hold them.

    Args:
        name: The setting, for messages.
        path: The file.
        n_structures: How many structures it is to hold.

    Raises:
        ValueError: With what is allowed.
    """
    from ase.io import formats

    try:
        kind = formats.get_ioformat(cast(str, formats.filetype(path, read=False)))
    except (formats.UnknownFileTypeError, ValueError, OSError):
        kind = None
    if kind is None or not kind.can_write:
        raise ValueError(
            f"{name}: {path!r} tells no format in which structures can be written; end it with "
            ".extxyz, .traj, .cif or the like."
        )
    if n_structures > 1 and kind.single:
        raise ValueError(
            f"{name}: {path!r} can hold one structure, but there are {n_structures}; end it with "
            ".extxyz, .traj, .cif or the like."
        )

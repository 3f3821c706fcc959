"""Reads potentials and committees from files and folders."""

from os import PathLike
from pathlib import Path

from ritz.mlip.committee.potential import CommitteePotential
from ritz.mlip.committee.results import METADATA
from ritz.mlip.potentials.base import AbstractMLIP, load_potential
from ritz.mlip.training.start import BEST

POTENTIAL = "potential.npz"
"""The potential of a run folder."""

COMMITTEE = "committee"
"""The folder of its members in a run folder."""


def load_saved(path: str | PathLike[str]) -> AbstractMLIP | CommitteePotential:
    """Read what was trained.

    Args:
        path: A file that `save` wrote; a folder that a committee was trained into; a run folder of
            `ritz mlip train`; or the folder of checkpoints that `train` wrote its best model into.

    Raises:
        ValueError: If it is none of these.
    """
    path = Path(path)
    if path.is_file():
        return load_potential(path)
    for folder in (path, path / COMMITTEE):
        if (folder / METADATA).is_file():
            return CommitteePotential.from_directory(folder)
    for name in (POTENTIAL, BEST):
        if (path / name).is_file():
            return load_potential(path / name)
    raise ValueError(
        f"there is no trained potential in {path}: a run folder has {POTENTIAL} or {COMMITTEE}/ "
        "when `ritz mlip train` has ended."
    )

"""The structures that `ritz relax` reads, each a row of the table of results."""

import dataclasses
import glob
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ritz.potentials import AbstractPotential
from ritz.potentials.limits import check_declared

if TYPE_CHECKING:
    from ase import Atoms

    from ritz.relax import FrechetCell

_logger = logging.getLogger("ritz")


@dataclasses.dataclass
class TableRow:
    """A structure of a file, or a file that cannot be read; a row of the table.

    Args:
        file: As it was given.
        frame: The place of the structure in it, from 0.
        formula: Chemical.
        atoms: Number of atoms.
        energy: In eV.
        fmax: The largest force, in eV/Angstrom.
        status: "converged", "unconverged", "failed", "running", or "skipped".
        steps: Number of steps taken.
        reason: Why it was skipped or has failed; empty for others.
        given: The structure as it was read; None if it is skipped.
        relaxed: The relaxed structure; None before, or if it is skipped.
    """

    file: str
    frame: int | None = None
    formula: str | None = None
    atoms: int | None = None
    energy: float | None = None
    fmax: float | None = None
    status: str = ""
    steps: int | None = None
    reason: str = ""
    given: "Atoms | None" = None
    relaxed: "Atoms | None" = None

    @property
    def name(self) -> str:
        """The file, and the frame if it is not the first."""
        return f"{self.file}@{self.frame}" if self.frame else self.file

    def skip(self, reason: str) -> None:
        """Leave the structure out of the relaxation, and note why."""
        self.given, self.status, self.reason = None, "skipped", reason


def read(files: Sequence[str]) -> list[TableRow]:
    """A row for each structure, and for each file that cannot be read.

    Args:
        files: Files, or patterns such as new/*.cif.
    """
    import ase.io

    rows: list[TableRow] = []
    for file in _matching(files):
        try:
            check_declared(Path(file))
            frames: Any = ase.io.read(file, index=":")
            if not frames:
                raise ValueError("it holds no structure")
        except Exception as error:  # readers of a hundred formats fail in as many ways
            told = " ".join(str(error).split())
            rows.append(TableRow(file))
            rows[-1].skip(f"it cannot be read ({type(error).__name__}{': ' * bool(told)}{told})")
            continue
        rows += [
            TableRow(file, frame, atoms.get_chemical_formula(), len(atoms), given=atoms)
            for frame, atoms in enumerate(frames)
        ]
    return rows


def _matching(files: Sequence[str]) -> Iterator[str]:
    """The files; a pattern that no file matches stays as it is."""
    for file in files:
        is_pattern = glob.has_magic(file) and not Path(file).exists()
        yield from (is_pattern and sorted(glob.glob(file))) or [file]


def refuse(rows: Sequence[TableRow], model: AbstractPotential, cell: "FrechetCell | None") -> None:
    """Skip the structures that cannot be treated.

    Args:
        rows: All rows.
        model: The potential.
        cell: How cells move; None if they do not.
    """
    from ritz.relax import FIRE
    from ritz.relax.checks import check_structure

    stage = FIRE(cell=cell)
    for row in rows:
        if row.given is None:
            continue
        try:
            check_structure(row.given, model)
            _check_cell(row.given, cell)
            stage.check(row.given)
        except ValueError as error:
            row.skip(str(error))


def _check_cell(atoms: "Atoms", cell: "FrechetCell | None") -> None:
    if cell is None or all(atoms.pbc):
        return
    raise ValueError(
        "--cell was given, but only a cell that is periodic in all 3 directions can move, and this "
        f"one is periodic in {int(sum(atoms.pbc))}; relax it without --cell."
    )


def tell_skipped(rows: Sequence[TableRow]) -> None:
    """Say which structures are skipped, and why.

    Raises:
        ValueError: If no others are left; a reason that all of them share is said there alone.
    """
    skipped = [row for row in rows if row.status == "skipped"]
    nothing_left = len(skipped) == len(rows)
    if nothing_left and len({row.reason for row in skipped}) == 1:
        names = skipped[0].name if len(skipped) == 1 else f"all {len(skipped)} are refused"
        raise ValueError(f"no structure can be relaxed: {names}: {skipped[0].reason}")
    for row in skipped:
        _logger.warning("%s is skipped: %s", row.name, row.reason)
    if nothing_left:
        raise ValueError("no structure can be relaxed, for the reasons above.")

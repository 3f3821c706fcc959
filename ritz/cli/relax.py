"""Relax structures from files, all at once.

The model is a trained potential, as its file or the run folder of ritz mlip train; or a class of
ritz.relax or any class path, whose arguments are given as --model.epsilon=0.01. Energies are in eV,
lengths in Angstrom, pressures in GPa. The exit status is 0 if all have converged, otherwise 1.
"""

import argparse
import csv
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ritz.cli.output_format import check_output
from ritz.cli.parts import Override, Part, overridden
from ritz.loggers.files import atomic_write
from ritz.potentials.limits import check_declared
from ritz.stages.contract import Contract, ContractError
from ritz.stages.parts import make

_logger = logging.getLogger("ritz")
_SHORT = {"lj": "LennardJones"}
_COLUMNS = ("file", "frame", "formula", "atoms", "energy", "fmax", "status", "steps", "reason")
PARTS = {"model": False, "optimizer": False}
"""The options that name classes, whose arguments can be given."""


def add_arguments(parser: Any) -> None:
    """Say what `ritz relax` takes."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="structures, as ASE reads them")
    parser.add_argument(
        "--model", type=str, required=True,
        help="lennard-jones or the like, a run folder, a file such as potential.npz, a class path",
    )  # fmt: skip
    parser.add_argument("--fmax", type=float, default=0.05, help="largest force, in eV/Angstrom")
    parser.add_argument(
        "--optimizer",
        type=str,
        default="fire",
        help="fire, fire2, lbfgs, gradient_descent or a class path",
    )
    parser.add_argument("--cell", action="store_true", help="let cells move too")
    parser.add_argument(
        "--pressure", type=float, default=0.0, help="outside, on moving cells, in GPa"
    )
    parser.add_argument("--max_steps", type=int, default=10_000, help="steps of each structure")
    parser.add_argument("--max_atoms", type=int, help="atoms that are treated at once")
    parser.add_argument(
        "--output", type=str, default="relaxed.extxyz", help="where the structures go"
    )
    parser.add_argument("--table", type=str, default="relaxed.csv", help="where the table goes")
    parser.add_argument(
        "--trajectory", type=str, help="write the way there: NAME.traj or NAME.extxyz"
    )
    parser.add_argument("--every", type=int, default=10, help="steps between frames of it")
    parser.add_argument("--log", type=str, help="path prefix for a log of all steps")
    parser.add_argument(
        "--checkpoint", type=str, help="folder: save there, and go on from what is saved"
    )
    parser.add_argument("--progress", type=bool, default=True, help="whether to show a bar")


def run(options: argparse.Namespace, overrides: Sequence[Override] = ()) -> int:
    """Read, relax and write.

    Args:
        options: See `add_arguments`.
        overrides: Arguments of the parts.

    Returns:
        The exit status.

    Raises:
        ValueError: If an option is wrong, or no structure can be read.
    """
    import ritz.relax  # noqa: F401

    _check(options)
    parts: dict[str, Any] = {name: Part(getattr(options, name)) for name in PARTS}
    for field, way, value in overrides:
        parts[field] = overridden(field, parts[field], way, value, False)
    model = _model(parts["model"])
    rows = _read(options.files)
    cell = _cell(options)
    _refuse(rows, model, cell)
    good = [row for row in rows if "structure" in row]
    _tell_skipped(rows, nothing_left=not good)
    check_output("output", options.output, len(good))
    found = _relax(options, [row["structure"] for row in good], model, parts["optimizer"], cell)
    for i, row in enumerate(good):
        row |= {
            "energy": float(found.energy[i]), "fmax": float(found.fmax[i]),
            "status": found.status[i], "steps": int(found.steps[i]), "result": found.atoms[i],
        }  # fmt: skip
        if row["status"] == "failed":
            row["reason"] = found.reason[i]
    _write(options, rows)
    return 0 if all(row["status"] == "converged" for row in rows) else 1


def _check(options: Any) -> None:
    """Refuse numbers that are out of range, before anything is read.

    Raises:
        ValueError: With the option.
    """
    from ritz.relax.numbers import finite, positive

    positive("fmax", options.fmax)
    finite("pressure", options.pressure, "GPa")
    for name, least in (("max_steps", 0), ("max_atoms", 1), ("every", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, but {value} was given.")


def _model(part: Part) -> Any:
    """The potential: from a file or folder, or made from its class.

    Raises:
        ValueError: If it is none.
    """
    from ritz.potentials import AbstractPotential, AbstractPotentialSource
    from ritz.relax.arguments import CALCULATORS, potential_of

    name = part.class_path
    if _is_path(name):
        if part.init_args:
            raise ValueError(
                f"model.{next(iter(part.init_args))}: {name} is a trained potential, without "
                "arguments."
            )
        return _potential(potential_of, name, name)
    if "." not in name and ":" not in name:
        camel = "".join(word[:1].upper() + word[1:] for word in name.replace("_", "-").split("-"))
        part = Part(_SHORT.get(name, camel), part.init_args)
    contract = Contract("a potential of ritz.relax", (AbstractPotential, AbstractPotentialSource))
    try:
        made = make("model", part.as_dict(), {}, ("ritz.relax",), contract)
    except ContractError as error:
        if name.startswith("ase.calculators."):
            raise ValueError(
                f"model: {name} is no potential that can be used here: it is a calculator of ASE, "
                f"{CALCULATORS}"
            ) from error
        raise
    return _potential(potential_of, name, made)


def _is_path(name: str) -> bool:
    path = Path(name)
    return "/" in name or path.suffix == ".npz" or path.exists()


def _potential(potential_of: Any, name: str, given: Any) -> Any:
    try:
        return potential_of(given)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"model: {name} is no potential that can be used here: {error}") from error


def _optimizer(part: Part) -> Any:
    from ritz.relax import AbstractOptimizer
    from ritz.relax.relaxing import OPTIMIZERS

    short = OPTIMIZERS.get(part.class_path)
    if short is None and "." not in part.class_path and ":" not in part.class_path:
        raise ValueError(
            f"optimizer: {part.class_path!r} was given; there are: {', '.join(OPTIMIZERS)}."
        )
    path = part.class_path if short is None else f"{short.__module__}.{short.__name__}"
    takes = Contract("an optimizer of ritz.relax", (AbstractOptimizer,))
    return make("optimizer", {"class_path": path, "init_args": part.init_args}, takes=takes)


def _cell(options: Any) -> Any:
    from ritz.relax import FrechetCell

    if not options.cell:
        if options.pressure:
            raise ValueError("pressure: only moving cells feel it; give --cell too.")
        return None
    return FrechetCell(pressure=options.pressure)


def _read(files: list[str]) -> list[dict[str, Any]]:
    """A row for each structure, and for each file that cannot be read."""
    import ase.io

    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            check_declared(Path(file))
            frames: Any = ase.io.read(file, index=":")
            if not frames:
                raise ValueError("it holds no structure")
        except Exception as error:  # readers of a hundred formats fail in as many ways
            told = " ".join(str(error).split())
            reason = f"it cannot be read ({type(error).__name__}{': ' * bool(told)}{told})"
            rows.append({"file": file, "status": "skipped", "reason": reason})
            continue
        rows += [
            {
                "file": file, "frame": frame, "formula": atoms.get_chemical_formula(),
                "atoms": len(atoms), "structure": atoms,
            }
            for frame, atoms in enumerate(frames)
        ]  # fmt: skip
    return rows


def _refuse(rows: list[dict[str, Any]], model: Any, cell: Any) -> None:
    """Skip the structures that cannot be treated."""
    from ritz.relax import FIRE
    from ritz.relax.checks import check_structure

    stage = FIRE(cell=cell)
    for row in rows:
        atoms = row.get("structure")
        if atoms is None:
            continue
        try:
            check_structure(atoms, model)
            _check_cell(atoms, cell)
            stage.check(atoms)
        except ValueError as error:
            del row["structure"]
            row |= {"status": "skipped", "reason": str(error)}


def _check_cell(atoms: Any, cell: Any) -> None:
    if cell is None or all(atoms.pbc):
        return
    raise ValueError(
        "--cell was given, but only a cell that is periodic in all 3 directions can move, and this "
        f"one is periodic in {int(sum(atoms.pbc))}; relax it without --cell."
    )


def _tell_skipped(rows: list[dict[str, Any]], nothing_left: bool) -> None:
    """Say which structures are skipped, and why.

    Raises:
        ValueError: If no others are left; a reason that all of them share is said there alone.
    """
    skipped = [row for row in rows if "reason" in row]
    shared = nothing_left and len({row["reason"] for row in skipped}) == 1
    if shared:
        names = _name(skipped[0]) if len(skipped) == 1 else f"all {len(skipped)} are refused"
        raise ValueError(f"no structure can be relaxed: {names}: {skipped[0]['reason']}")
    for row in skipped:
        _logger.warning("%s is skipped: %s", _name(row), row["reason"])
    if nothing_left:
        raise ValueError("no structure can be relaxed, for the reasons above.")


def _relax(options: Any, structures: Any, model: Any, optimizer: Part, cell: Any) -> Any:
    from ritz.checkpoint import Checkpoint
    from ritz.relax import Trajectory, relax

    out: list[Any] = [options.log] if options.log else []
    if options.trajectory:
        out.append(Trajectory(options.trajectory, every=options.every))
    callbacks = [Checkpoint(options.checkpoint)] if options.checkpoint else []
    settings = {} if options.max_atoms is None else {"max_atoms": options.max_atoms}
    return relax(
        structures, model, options.fmax, _optimizer(optimizer), options.max_steps, cell=cell,
        callback=callbacks, out=out, show_progress=options.progress,
        resume=bool(options.checkpoint), **settings,
    )  # fmt: skip


def _write(options: Any, rows: list[dict[str, Any]]) -> None:
    import ase.io

    results = []
    for row in rows:
        atoms = row.get("result")
        if atoms is not None:
            atoms.info |= {"file": str(row["file"]), "frame": row["frame"], "status": row["status"]}
            results.append(atoms)
    for path in (options.output, options.table):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(options.output, results)
    text = io.StringIO()
    table: Any = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    atomic_write(Path(options.table), text.getvalue().encode())
    sys.stdout.write(_text(rows))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    told = ", ".join(f"{n} {status}" for status, n in counts.items())
    sys.stdout.write(f"{told}; {options.output}, {options.table}\n")


def _text(rows: list[dict[str, Any]], most: int = 50) -> str:
    """The table for people; only its first rows if it is long."""
    width = max(len(_name(row)) for row in rows[:most])
    lines = [f"{'structure':<{width}}  {'atoms':>6}  {'energy/eV':>14}  {'fmax':>9}  "
             f"{'steps':>6}  status"]  # fmt: skip
    for row in rows[:most]:
        if "energy" in row:
            why = f": {row['reason']}" if row.get("reason") else ""
            lines.append(
                f"{_name(row):<{width}}  {row['atoms']:>6}  {row['energy']:>14.6f}  "
                f"{row['fmax']:>9.2e}  {row['steps']:>6}  {row['status']}{why}"
            )
        else:
            lines.append(f"{_name(row):<{width}}  {row['status']}: {row['reason']}")
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most} more, in the table")
    return "\n".join(lines) + "\n"


def _name(row: dict[str, Any]) -> str:
    return f"{row['file']}@{row['frame']}" if row.get("frame") else str(row["file"])

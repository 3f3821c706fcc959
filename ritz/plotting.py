"""Pictures of runs, from any log that Ritz or NetKet writes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ritz.extras import needs
from ritz.folders.columns import LogColumns, open_log, thinned
from ritz.folders.summary import SUMMARY as SUMMARY

if TYPE_CHECKING:
    from ritz.loggers.history import HistoryDict

_READERS = {".log", ".json", ".csv", ".h5", ".hdf5"}
_MOST_POINTS = 4000
"""A picture has fewer dots from left to right."""
_NO_LOSS = ("wallclock", "attempts", "block")
_ERRORS = ("Sigma", "error_of_mean")


def find_log(path: Path) -> Path:
    """The log behind a path: the file itself, a file with a known suffix added, or in a folder.

    Raises:
        ValueError: If there is none.
    """
    if path.is_file():
        return path
    if path.is_dir():
        names = ["train.log", "train.h5", "train.csv", "run.log", "run.h5", "run.csv"]
        found = [path / n for n in names if (path / n).is_file()]
        found += sorted(p for p in path.iterdir() if p.suffix in (".log", ".h5", ".csv"))
        if found:
            return found[0]
        raise ValueError(f"no log in the folder {path}; one of {', '.join(names)} is looked for.")
    for suffix in sorted(_READERS):
        if path.with_name(path.name + suffix).is_file():
            return path.with_name(path.name + suffix)
    raise ValueError(f"there is no run {path}.")


def read_log(path: str | Path) -> "HistoryDict":
    """The histories of a log file or run folder, with rows that are still in its journal.

    Raises:
        ValueError: If there is no log, or it cannot be read.
    """
    from ritz.loggers.hdf5_log import read_hdf5
    from ritz.loggers.journaled import with_journal
    from ritz.loggers.runtime_log import RuntimeLog

    file = find_log(Path(path))
    if file.suffix == ".csv":
        return _read_csv(file)
    if file.suffix in (".h5", ".hdf5"):
        log = RuntimeLog.of(read_hdf5(file))
    elif file.suffix in (".log", ".json"):
        log = RuntimeLog.deserialize(file)
    else:
        raise ValueError(f"{file} is no log: its name ends in none of {', '.join(_READERS)}.")
    return with_journal(log, file.with_name(file.name + ".journal")).data


def _read_csv(file: Path) -> "HistoryDict":
    """Columns `A.x` and `A.y` become the fields of A."""
    from ritz.loggers.files import complete_lines
    from ritz.loggers.history import History, HistoryDict

    header, *rows = list(csv.reader(line.decode() for line in complete_lines(file))) or [[]]
    if header[:1] != ["step"]:
        raise ValueError(f"{file} is no CSV log: its first column is not `step`.")
    columns: dict[str, dict[str, int]] = {}
    for place, column in enumerate(header[1:], start=1):
        name, _, field = column.partition(".")
        columns.setdefault(name, {})[field or "value"] = place
    data = HistoryDict()
    for name, places in columns.items():
        for row in rows:
            cells = {field: row[at] for field, at in places.items() if at < len(row) and row[at]}
            if cells:
                data.setdefault(name, History()).append(int(row[0]), _numbers(cells))
    return data


def _numbers(cells: dict[str, str]) -> dict[str, Any]:
    """Cells as numbers; those with text stay as they are."""
    try:
        return {field: float(cell) for field, cell in cells.items()}
    except ValueError:
        return dict(cells)


def exact_value(path: str | Path) -> float | None:
    """The exact energy noted in a run folder, if it is."""
    path = Path(path)
    summary = (path if path.is_dir() else path.parent) / SUMMARY
    try:
        return float(json.loads(summary.read_text())["exact"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def statistics_name(log: LogColumns) -> str:
    """The first quantity with a mean: the loss."""
    for name, fields in log.quantities.items():
        if "Mean" in fields or "mean" in fields:
            return name
    for name in log.quantities:
        if name not in _NO_LOSS:
            return name
    raise ValueError(f"{log.path} holds no quantity to draw.")


class _Curve(NamedTuple):
    """What is drawn of a quantity of a run."""

    label: str
    steps: np.ndarray
    values: np.ndarray
    error: np.ndarray | None
    middle: float
    """The step at which the second half of the rows begins."""


def plot_runs(
    paths: Sequence[str | Path],
    output: str | Path,
    quantity: str | None = None,
    exact: float | None = None,
) -> Path:
    """Draw one or several runs: the loss with its error band, and the V-score below it.

    Args:
        paths: Log files or run folders.
        output: The picture; its suffix says the format.
        quantity: What to draw; by default the first logged quantity that has a mean.
        exact: A line at this value; by default what the first run folder's summary tells.

    Returns:
        `output`.

    Raises:
        ValueError: If a log is missing or unreadable, or does not have the quantity.
    """
    with needs("A plot", "plot"):
        import matplotlib
        from matplotlib.figure import Figure

    logs = [open_log(find_log(Path(path))) for path in paths]
    name = quantity or statistics_name(logs[0])
    curves = [_curve(log, name, Path(path)) for log, path in zip(logs, paths, strict=True)]
    if exact is None:
        exact = exact_value(paths[0])
    has_score = any("v_score" in log.quantities for log in logs)
    figure = Figure(figsize=(7, 5.5 if has_score else 3.8), layout="constrained")
    axes = figure.subplots(
        2 if has_score else 1,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[2, 1] if has_score else [1],
    )[:, 0]
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for place, (log, curve) in enumerate(zip(logs, curves, strict=True)):
        colour = colours[place % len(colours)]
        _draw(axes[0], curve, colour)
        if has_score and "v_score" in log.quantities:
            score = _curve(log, "v_score", Path(paths[place]))
            if np.any(score.values > 0):  # an eigenstate, or frozen chains, have none
                axes[1].semilogy(score.steps, score.values, color=colour, lw=1)
    if exact is not None:
        axes[0].axhline(exact, color="black", ls="--", lw=1, label=f"exact {exact:.6g}")
    axes[0].set_ylabel(name)
    axes[0].legend(frameon=False, loc="upper right")
    _draw_end(axes[0], curves, exact, colours)
    if has_score:
        axes[1].set_ylabel("V-score")
    axes[-1].set_xlabel("step")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(output, dpi=150)
    except ValueError as error:
        raise ValueError(f"cannot draw {output}: {error}") from error
    return output


def _draw_end(ax: Any, curves: list[_Curve], exact: float | None, colours: Any) -> None:
    """Show the second half again on a scale of its own, where the beginning dwarfs it."""
    halves = [curve.values[curve.steps >= curve.middle] for curve in curves]
    everything = np.concatenate([curve.values for curve in curves])
    known = [] if exact is None else [exact]
    end = np.concatenate([*halves, known])
    end, everything = end[np.isfinite(end)], everything[np.isfinite(everything)]
    if len(end) < 20 or np.ptp(end) > 0.1 * np.ptp(everything):
        return
    inset = ax.inset_axes((0.3, 0.3, 0.66, 0.4))
    for place, curve in enumerate(curves):
        _draw(inset, curve, colours[place % len(colours)])
    if exact is not None:
        inset.axhline(exact, color="black", ls="--", lw=1)
    inset.set_xlim(min(c.middle for c in curves), max(c.steps[-1] for c in curves))
    margin = 0.1 * np.ptp(end)
    inset.set_ylim(np.min(end) - margin, np.max(end) + margin)
    inset.tick_params(labelsize="small")
    inset.set_title("second half", fontsize="small")


def _curve(log: LogColumns, name: str, path: Path) -> _Curve:
    """A quantity of a log, with as many points as a picture can show.

    Raises:
        ValueError: If the log does not have it, or it holds no numbers.
    """
    if name not in log.quantities:
        raise ValueError(f"{path} has no quantity {name!r}; it has: {', '.join(log.quantities)}.")
    field = log.main_field(name)
    if field is None:
        fields = ", ".join(log.quantities[name])
        raise ValueError(f"{path}: {name} has no main value among its fields {fields}.")
    try:
        steps, values = log.column(name, field)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {name} cannot be drawn: {error}") from error
    if not len(steps):
        raise ValueError(f"{path} has no rows of {name} yet.")
    places = thinned(values, _MOST_POINTS)
    error = next((f for f in _ERRORS if f in log.quantities[name]), None)
    band = None
    if error is not None:
        band_steps, errors = log.column(name, error)
        band = errors[places] if np.array_equal(band_steps, steps) else None
    label = path.name if path.is_dir() else f"{path.parent.name}/{path.stem}".lstrip("/")
    return _Curve(label, steps[places], values[places], band, float(steps[len(steps) // 2]))


def _draw(ax: Any, curve: _Curve, colour: Any) -> None:
    ax.plot(curve.steps, curve.values, color=colour, lw=1, label=curve.label)
    if curve.error is not None:
        error = np.nan_to_num(curve.error)
        ax.fill_between(
            curve.steps, curve.values - error, curve.values + error, color=colour, alpha=0.3, lw=0
        )

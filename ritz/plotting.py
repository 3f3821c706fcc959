"""Pictures of runs, from any log that Ritz or NetKet writes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ritz.extras import needs
from ritz.loggers.files import complete_lines
from ritz.loggers.hdf5_log import read_hdf5
from ritz.loggers.history import History, HistoryDict
from ritz.loggers.journaled import with_journal
from ritz.loggers.runtime_log import RuntimeLog

SUMMARY = "summary.json"
"""The file of a run folder with its result; `exact` in it is drawn as a line."""

_READERS = {".log", ".json", ".csv", ".h5", ".hdf5"}


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


def read_log(path: str | Path) -> HistoryDict:
    """The histories of a log file or run folder, with rows that are still in its journal.

    Raises:
        ValueError: If there is no log, or it cannot be read.
    """
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


def _read_csv(file: Path) -> HistoryDict:
    """Columns `A.x` and `A.y` become the fields of A."""
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


def statistics_name(data: HistoryDict) -> str:
    """The first quantity with a mean: the loss."""
    for name, history in data.items():
        if isinstance(history, History) and "Mean" in history:
            return name
    for name, history in data.items():
        if isinstance(history, History) and name not in ("wallclock", "attempts"):
            return name
    raise ValueError("the log holds no quantity to draw.")


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

    runs = [(Path(path), read_log(path)) for path in paths]
    name = quantity or statistics_name(runs[0][1])
    if exact is None:
        exact = exact_value(paths[0])
    has_score = any("v_score" in data for _, data in runs)
    figure = Figure(figsize=(7, 5.5 if has_score else 3.8), layout="constrained")
    axes = figure.subplots(2 if has_score else 1, 1, sharex=True, squeeze=False,
                           height_ratios=[2, 1] if has_score else [1])[:, 0]  # fmt: skip
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for place, (path, data) in enumerate(runs):
        colour = colours[place % len(colours)]
        _draw_quantity(axes[0], data, name, path, colour)
        if has_score and "v_score" in data:
            score = data["v_score"]
            axes[1].semilogy(score.iters, score.values, color=colour, lw=1)
    if exact is not None:
        axes[0].axhline(exact, color="black", ls="--", lw=1, label=f"exact {exact:.6g}")
    axes[0].set_ylabel(name)
    axes[0].legend(frameon=False, loc="upper right")
    _draw_end(axes[0], runs, name, exact, colours)
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


def _draw_end(
    ax: Any, runs: list[tuple[Path, HistoryDict]], name: str, exact: float | None, colours: Any
) -> None:
    """Show the second half again on a scale of its own, where the beginning dwarfs it."""
    halves = [np.real(d[name].values)[len(d[name]) // 2 :] for _, d in runs]
    everything = np.concatenate([np.real(d[name].values) for _, d in runs])
    known = [] if exact is None else [exact]
    end = np.concatenate([*halves, known])
    end, everything = end[np.isfinite(end)], everything[np.isfinite(everything)]
    if len(end) < 20 or np.ptp(end) > 0.1 * np.ptp(everything):
        return
    inset = ax.inset_axes((0.3, 0.3, 0.66, 0.4))
    for place, (path, data) in enumerate(runs):
        _draw_quantity(inset, data, name, path, colours[place % len(colours)])
    if exact is not None:
        inset.axhline(exact, color="black", ls="--", lw=1)
    first = min(d[name].iters[len(d[name]) // 2] for _, d in runs)
    inset.set_xlim(first, max(d[name].iters[-1] for _, d in runs))
    margin = 0.1 * np.ptp(end)
    inset.set_ylim(np.min(end) - margin, np.max(end) + margin)
    inset.tick_params(labelsize="small")
    inset.set_title("second half", fontsize="small")


def _draw_quantity(ax: Any, data: HistoryDict, name: str, path: Path, colour: Any) -> None:
    if name not in data or not isinstance(data[name], History):
        known = ", ".join(k for k, v in data.items() if isinstance(v, History))
        raise ValueError(f"{path} has no quantity {name!r}; it has: {known}.")
    history = data[name]
    mean = np.real(history.values)
    label = path.name if path.is_dir() else f"{path.parent.name}/{path.stem}".lstrip("/")
    ax.plot(history.iters, mean, color=colour, lw=1, label=label)
    if "Sigma" in history:
        error = np.nan_to_num(np.real(history["Sigma"]))
        ax.fill_between(history.iters, mean - error, mean + error, color=colour, alpha=0.3, lw=0)

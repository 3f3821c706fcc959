"""Plots of runs, from any log that Ritz or NetKet writes."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ritz.extras import needs
from ritz.folders.columns import LogColumns, open_log, thinned
from ritz.folders.summary import read_summary
from ritz.folders.view import ANY_RUN, ERRORS, Quantity, RunView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ritz.loggers.history import HistoryDict

_READERS = {".log", ".json", ".csv", ".h5", ".hdf5"}
_SUFFIXES = (".log", ".h5", ".csv")
_MOST_POINTS = 4000
"""Number of points per curve; more than a picture has pixels."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
"""Lines of the runs of a picture: where they are the same, those below show through."""
_NO_LOSS = ("wallclock", "attempts", "block")


def find_log(path: Path, names: Sequence[str] = ANY_RUN.logs) -> Path:
    """The log behind a path: the file itself, a file with a known suffix added, or in a folder.

    Args:
        path: A file or folder.
        names: Names of logs, without suffix, that are preferred in a folder; the usual ones follow.

    Raises:
        ValueError: If there is no log.
    """
    if path.is_file():
        return path
    if path.is_dir():
        preferred = dict.fromkeys((*names, *ANY_RUN.logs))
        files = [f"{name}{suffix}" for name in preferred for suffix in _SUFFIXES]
        found = [path / file for file in files if (path / file).is_file()]
        found += sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
        if found:
            return found[0]
        raise ValueError(f"no log in the folder {path}; one of {', '.join(files)} is looked for.")
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


def _numbers(cells: dict[str, str]) -> dict[str, float | str]:
    """Cells as numbers; cells with text stay strings."""
    try:
        return {field: float(cell) for field, cell in cells.items()}
    except ValueError:
        return dict(cells)


def exact_value(path: str | Path) -> float | None:
    """The exact energy in the summary of a run folder; None if there is none."""
    path = Path(path)
    try:
        return float(read_summary(path if path.is_dir() else path.parent)["exact"])
    except (ValueError, KeyError, TypeError):
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
    """Data of one curve: a quantity of a run."""

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
    view: RunView = ANY_RUN,
) -> Path:
    """Draw the curves of one or several runs over each other, with error bands.

    Args:
        paths: Log files or run folders.
        output: The image file; its suffix sets the format.
        quantity: What to draw at the top; by default the first curve of `view`.
        exact: Value of a horizontal line there; by default that of the first run's summary.
        view: The curves; by default the loss, which is the first logged quantity that has a mean,
            and the V-score.

    Returns:
        `output`.

    Raises:
        ValueError: If a log is missing or unreadable, or does not have the quantity.
    """
    with needs("A plot", "plot"):
        import matplotlib
        from matplotlib.figure import Figure

    logs = [open_log(find_log(Path(path), view.logs)) for path in paths]
    shown = _shown(logs, quantity, view)
    panels = [_panel(logs, one, paths, demanded=one == shown[0]) for one in shown]
    if exact is None:
        exact = exact_value(paths[0])
    extra = len(shown) - 1
    figure = Figure(figsize=(7, 3.8 + 1.7 * extra), layout="constrained")
    heights = [2, *[1] * extra]
    axes = figure.subplots(1 + extra, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for ax, one, curves in zip(axes, shown, panels, strict=True):
        _draw_panel(ax, one, curves, colours)
    if exact is not None:
        axes[0].axhline(exact, color="black", ls="--", lw=1, label=f"{view.reference} {exact:.6g}")
    axes[0].legend(frameon=False, loc="upper right")
    if not shown[0].logarithmic:
        _draw_end(axes[0], [c for c in panels[0] if c is not None], exact, colours)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(output, dpi=150)
    except ValueError as error:
        raise ValueError(f"cannot draw {output}: {error}") from error
    return output


def _shown(logs: Sequence[LogColumns], quantity: str | None, view: RunView) -> list[Quantity]:
    """The curves to draw: those that a log has, with the requested one at the top."""
    logged = {name for log in logs for name in log.quantities}
    curves = [one for one in view.curves if one.name in logged or not one.name]
    if quantity is not None:
        curves = [view.quantity(quantity), *(c for c in curves[1:] if c.name != quantity)]
    elif not curves or curves[0] != view.curves[0]:
        curves = [Quantity(), *curves]
    if curves[0].name:
        return curves
    return [view.quantity(statistics_name(logs[0])), *curves[1:]]


def _panel(
    logs: Sequence[LogColumns], quantity: Quantity, paths: Sequence[str | Path], demanded: bool
) -> list["_Curve | None"]:
    """A quantity of several logs; None for those without it, unless it is demanded."""
    curves: list[_Curve | None] = []
    for log, path in zip(logs, paths, strict=True):
        try:
            curves.append(_curve(log, quantity, Path(path)))
        except ValueError:
            if demanded:
                raise
            curves.append(None)
    return curves


def _draw_panel(
    ax: "Axes", quantity: Quantity, curves: Sequence["_Curve | None"], colours: Sequence[str]
) -> None:
    for place, curve in enumerate(curves):
        if curve is not None:
            _draw(ax, curve, colours[place % len(colours)], _DASHES[place % len(_DASHES)])
    drawn = np.concatenate([curve.values for curve in curves if curve is not None])
    drawn = drawn[
        np.isfinite(drawn) & (drawn > 0)
    ]  # the V-score of eigenstates is 0, which a logarithm cannot show
    if quantity.logarithmic and len(drawn) and np.max(drawn) > 10 * np.min(drawn):
        ax.set_yscale("log", nonpositive="mask")
    ax.set_ylabel(quantity.title)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_end(
    ax: "Axes", curves: list[_Curve], exact: float | None, colours: Sequence[str]
) -> None:
    """Show the second half again on a scale of its own, where the beginning dwarfs it."""
    halves = [curve.values[curve.steps >= curve.middle] for curve in curves]
    everything = np.concatenate([curve.values for curve in curves])
    known = [] if exact is None else [exact]
    end = np.concatenate([*halves, known])
    end, everything = end[np.isfinite(end)], everything[np.isfinite(everything)]
    if len(end) < 20 or np.ptp(end) > 0.1 * np.ptp(everything):
        return
    inset = ax.inset_axes((0.3, 0.46, 0.66, 0.32))
    for place, curve in enumerate(curves):
        _draw(inset, curve, colours[place % len(colours)], _DASHES[place % len(_DASHES)])
    if exact is not None:
        inset.axhline(exact, color="black", ls="--", lw=1)
    inset.set_xlim(min(c.middle for c in curves), max(c.steps[-1] for c in curves))
    margin = 0.1 * np.ptp(end)
    inset.set_ylim(np.min(end) - margin, np.max(end) + margin)
    inset.tick_params(labelsize="small")
    for label in [*inset.get_xticklabels(), *inset.get_yticklabels()]:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
    inset.set_title("second half", fontsize="small")


def _curve(log: LogColumns, quantity: Quantity, path: Path) -> _Curve:
    """A quantity of a log in its unit, with as many points as a picture can show.

    Raises:
        ValueError: If the log does not have it, or it holds no numbers.
    """
    name = quantity.name
    if name not in log.quantities:
        raise ValueError(
            f"{path} has no quantity {name!r}; it has: {', '.join(log.quantities)}. Name one that "
            "all of the runs have; on the command line with --quantity."
        )
    field = quantity.field or log.main_field(name)
    if field not in log.quantities[name]:
        fields = ", ".join(log.quantities[name])
        wanted = quantity.field or "main value"
        raise ValueError(f"{path}: {name} has no {wanted} among its fields {fields}.")
    try:
        steps, values = log.column(name, field)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {name} cannot be drawn: {error}") from error
    if not len(steps):
        raise ValueError(f"{path} has no rows of {name} yet.")
    places = thinned(values, _MOST_POINTS)
    values = quantity.scale * values
    errors_of = () if quantity.field else ERRORS
    error = next((f for f in errors_of if f in log.quantities[name]), None)
    band = None
    if error is not None:
        band_steps, errors = log.column(name, error)
        band = quantity.scale * errors[places] if np.array_equal(band_steps, steps) else None
    label = path.name if path.is_dir() else f"{path.parent.name}/{path.stem}".lstrip("/")
    return _Curve(label, steps[places], values[places], band, float(steps[len(steps) // 2]))


def _draw(ax: "Axes", curve: _Curve, colour: str, dashes: Any) -> None:
    is_point = np.count_nonzero(np.isfinite(curve.values)) == 1  # which a line does not show
    marker = "o" if is_point else None
    style = {"color": colour, "ls": dashes, "lw": 1, "marker": marker}
    ax.plot(curve.steps, curve.values, label=curve.label, **style)
    if curve.error is not None:
        error = np.nan_to_num(curve.error)
        ax.fill_between(
            curve.steps, curve.values - error, curve.values + error, color=colour, alpha=0.3, lw=0
        )

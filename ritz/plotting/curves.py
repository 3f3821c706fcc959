"""Curves of runs: quantities of their logs, with errors, thinned to what a picture can show."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ritz.folders.columns import UNREADABLE, LogColumns, open_log, thinned
from ritz.folders.view import ANY_RUN, ERRORS, Quantity, RunView
from ritz.plotting.labels import labels_of
from ritz.plotting.logs import find_log

_MOST_POINTS = 4000
"""Number of points per curve; more than a picture has pixels."""
_NO_LOSS = ("wallclock", "attempts", "block")


class Curve(NamedTuple):
    """Data of one curve: a quantity of a run, in the unit that it is shown in."""

    label: str
    steps: np.ndarray
    values: np.ndarray
    error: np.ndarray | None
    middle: float
    """The step at which the second half of the rows begins."""


class RunLog(NamedTuple):
    """The log of a run, opened."""

    label: str
    """What the run is called in pictures."""
    columns: LogColumns


class Panel(NamedTuple):
    """Curves of a quantity over each other."""

    quantity: Quantity
    curves: list[Curve | None]
    """One for each run; None for a run without the quantity."""
    is_main: bool
    """Whether it is the quantity with which an exact value is compared."""

    @property
    def drawn(self) -> list[Curve]:
        """The curves that there are."""
        return [curve for curve in self.curves if curve is not None]

    @property
    def is_logarithmic(self) -> bool:
        """Whether the axis of the values is: those above 0 span more than a decade.

        The V-score of eigenstates is 0, which a logarithm cannot show.
        """
        values = np.concatenate([curve.values for curve in self.drawn])
        shown = values[np.isfinite(values) & (values > 0)]
        is_wide = len(shown) > 0 and bool(np.max(shown) > 10 * np.min(shown))
        return self.quantity.logarithmic and is_wide


def open_runs(paths: Sequence[str | Path], view: RunView = ANY_RUN) -> list[RunLog]:
    """Open the logs of runs, which are called by the shortest paths that tell them apart.

    Args:
        paths: Log files or run folders.
        view: Says which logs are preferred.

    Raises:
        ValueError: If a log is missing or unreadable.
    """
    logs = [open_log(find_log(Path(path), view.logs)) for path in paths]
    return [RunLog(*pair) for pair in zip(labels_of(paths), logs, strict=True)]


def panels_of(
    logs: Sequence[RunLog],
    quantity: str | None = None,
    view: RunView = ANY_RUN,
    most: int = _MOST_POINTS,
) -> list[Panel]:
    """Curves of several runs, a panel for each quantity that one of them has.

    Args:
        logs: From `open_runs`.
        quantity: The first quantity; by default the first curve of `view`.
        view: The quantities.
        most: Number of points of a curve, about.

    Raises:
        ValueError: If a log does not have the first quantity.
    """
    first, *further = _shown(logs, quantity, view)
    for log in logs:
        if log.columns.quantities and first.name not in log.columns.quantities:
            raise ValueError(
                f"{_lack(log, first.name)} Name one that all of the runs have; on the command line "
                "with --quantity."
            )
    is_main = quantity is None or first.name == _main_name(logs, view)
    panels = [Panel(first, [_curve(log, first, most) for log in logs], is_main)]
    return panels + _secondary(logs, further, most)


def panels_of_readable(
    logs: Sequence[RunLog], view: RunView = ANY_RUN, most: int = _MOST_POINTS
) -> tuple[list[Panel], dict[str, str]]:
    """Curves as of `panels_of`, without the runs that lack the first quantity.

    Args:
        logs: From `open_runs`.
        view: The quantities.
        most: Number of points of a curve, about.

    Returns:
        The panels, and by the label of a run without a curve in the first one the reason.
    """
    try:
        first, *further = _shown(logs, None, view)
    except ValueError as error:
        return [], {log.label: str(error) for log in logs}
    curves: list[Curve | None] = []
    reasons = {}
    for log in logs:
        try:
            curves.append(_curve(log, first, most))
        except ValueError as error:
            curves.append(None)
            reasons[log.label] = str(error)
    main = [Panel(first, curves, is_main=True)] if len(reasons) < len(logs) else []
    return main + _secondary(logs, further, most), reasons


def _main_name(logs: Sequence[RunLog], view: RunView) -> str | None:
    """Name of the quantity that is drawn first by default; None if the logs have none."""
    try:
        return _shown(logs, None, view)[0].name
    except ValueError:
        return None


def _secondary(logs: Sequence[RunLog], quantities: Sequence[Quantity], most: int) -> list[Panel]:
    """Panels of further quantities, those without any curve left out."""
    panels = [Panel(q, [_curve_if_any(log, q, most) for log in logs], False) for q in quantities]
    return [panel for panel in panels if panel.drawn]


def _shown(logs: Sequence[RunLog], quantity: str | None, view: RunView) -> list[Quantity]:
    """The curves to draw: those that a log has, with the requested one at the top."""
    logged = {name for log in logs for name in log.columns.quantities}
    curves = [shown for shown in view.curves if shown.name in logged or not shown.name]
    if quantity is not None:
        curves = [view.quantity(quantity), *(c for c in curves[1:] if c.name != quantity)]
    elif not curves or curves[0] != view.curves[0]:
        curves = [Quantity(), *curves]
    if curves[0].name:
        return curves
    return [view.quantity(_loss_name(logs)), *curves[1:]]


def _loss_name(logs: Sequence[RunLog]) -> str:
    """The loss of the first run that has logged one: its first quantity with a mean, if any."""
    for log in logs:
        quantities = log.columns.quantities
        means = [name for name, fields in quantities.items() if {"Mean", "mean"} & set(fields)]
        names = means or [name for name in quantities if name not in _NO_LOSS]
        if names:
            return names[0]
    raise ValueError(f"{logs[0].columns.path} holds no quantity to draw.")


def _curve_if_any(log: RunLog, quantity: Quantity, most: int) -> Curve | None:
    try:
        return _curve(log, quantity, most)
    except ValueError:
        return None


def _curve(log: RunLog, quantity: Quantity, most: int) -> Curve:
    """A quantity of a log in its unit, with as many points as a picture can show.

    Raises:
        ValueError: If the log does not have it, or it holds no numbers.
    """
    name, columns, label = quantity.name, log.columns, log.label
    if not columns.quantities:
        raise ValueError(f"{label} has no rows yet.")
    if name not in columns.quantities:
        raise ValueError(_lack(log, name))
    field = quantity.field or columns.main_field(name)
    if field not in columns.quantities[name]:
        fields = ", ".join(columns.quantities[name])
        wanted = quantity.field or "main value"
        raise ValueError(f"{label}: {name} has no {wanted} among its fields {fields}.")
    try:
        steps, values = columns.column(name, field)
        places = thinned(values, most)
        values = quantity.scale * values[places]
        error = _error(columns, quantity, steps)
    except UNREADABLE as problem:
        raise ValueError(f"{label}: {name} cannot be drawn: {problem}") from problem
    if not len(steps):
        raise ValueError(f"{label} has no rows of {name} yet.")
    band = None if error is None else quantity.scale * error[places]
    return Curve(label, steps[places], values, band, float(steps[len(steps) // 2]))


def _lack(log: RunLog, name: str) -> str:
    """What is told of a run without a quantity."""
    return f"{log.label} has no quantity {name!r}; it has: {', '.join(log.columns.quantities)}."


def _error(columns: LogColumns, quantity: Quantity, steps: np.ndarray) -> np.ndarray | None:
    """The errors of the means of a quantity, if they are there at all of its steps."""
    names = () if quantity.field else ERRORS
    field = next((f for f in names if f in columns.quantities[quantity.name]), None)
    if field is None:
        return None
    error_steps, error = columns.column(quantity.name, field)
    return error if np.array_equal(error_steps, steps) else None

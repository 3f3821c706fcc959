"""Curves of runs: quantities of their logs, with errors, thinned to what a picture can show."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ritz.folders.columns import LogColumns, open_log, thinned
from ritz.folders.view import ANY_RUN, ERRORS, Quantity, RunView
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


def panels_of(
    paths: Sequence[str | Path],
    quantity: str | None = None,
    view: RunView = ANY_RUN,
    most: int = _MOST_POINTS,
) -> list[tuple[Quantity, list[Curve | None]]]:
    """Curves of several runs, by quantity; None stands for a run without it.

    Args:
        paths: Log files or run folders.
        quantity: The first quantity; by default the first curve of `view`.
        view: The quantities.
        most: Number of points of a curve, about.

    Raises:
        ValueError: If a log is missing or unreadable, or does not have the first quantity.
    """
    logs = [open_log(find_log(Path(path), view.logs)) for path in paths]
    shown = _shown(logs, quantity, view)
    return [(one, _panel(logs, one, paths, most, demanded=one == shown[0])) for one in shown]


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
    logs: Sequence[LogColumns],
    quantity: Quantity,
    paths: Sequence[str | Path],
    most: int,
    demanded: bool,
) -> list[Curve | None]:
    """A quantity of several logs; None for those without it, unless it is demanded."""
    curves: list[Curve | None] = []
    for log, path in zip(logs, paths, strict=True):
        try:
            curves.append(_curve(log, quantity, Path(path), most))
        except ValueError:
            if demanded:
                raise
            curves.append(None)
    return curves


def statistics_name(log: LogColumns) -> str:
    """The first quantity with a mean: the loss."""
    for name, fields in log.quantities.items():
        if "Mean" in fields or "mean" in fields:
            return name
    for name in log.quantities:
        if name not in _NO_LOSS:
            return name
    raise ValueError(f"{log.path} holds no quantity to draw.")


def _curve(log: LogColumns, quantity: Quantity, path: Path, most: int) -> Curve:
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
    places = thinned(values, most)
    values = quantity.scale * values
    errors_of = () if quantity.field else ERRORS
    error = next((f for f in errors_of if f in log.quantities[name]), None)
    band = None
    if error is not None:
        band_steps, errors = log.column(name, error)
        band = quantity.scale * errors[places] if np.array_equal(band_steps, steps) else None
    label = path.name if path.is_dir() else f"{path.parent.name}/{path.stem}".lstrip("/")
    return Curve(label, steps[places], values[places], band, float(steps[len(steps) // 2]))

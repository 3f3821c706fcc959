"""The numbers that `ritz status` shows of a stage, from its logs, checkpoints and summary."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ritz.cli.result_text import value_text
from ritz.folders.columns import UNREADABLE, open_log
from ritz.folders.summary import read_summary
from ritz.folders.view import ERRORS, Quantity, RunView
from ritz.types import Settings

LoggedRow = tuple[int, dict[str, Settings]]
"""Step and quantities of a row, as logs hold it."""


def clock_and_loss(
    logs: list[Path], row: LoggedRow | None, manifest: Settings, view: RunView
) -> tuple[float | None, str | None]:
    """Seconds of the run and its loss, from the log, or else from the checkpoint.

    The seconds are None where they are not known, and where the loss is no longer finite, since no
    time is left to be told then.
    """
    loss = manifest["loss"] or {}
    quantity = view.quantity(str(loss.get("name")))
    text = _loss_text(quantity, loss.get("mean"), loss.get("error"), loss.get("suspect"))
    if row is None or row[0] < manifest["step"]:
        return manifest["elapsed"], text
    found = row[1]
    fields = found.get(quantity.name, {})
    mean = _main(fields)
    error = next((fields[f] for f in ERRORS if f in fields), None)
    clock = _number(found.get("wallclock", {}).get("value"))
    if mean is not None and not _is_finite(mean):
        return None, _last_finite(logs, quantity)
    return clock, _loss_text(quantity, mean, error, _mark(found)) or text


def result_text(path: Path, manifest: Settings, view: RunView, step: int) -> str | None:
    """The loss in the summary, where it is the result of all steps so far, as of an evaluation."""
    quantity = view.quantity(str((manifest["loss"] or {}).get("name")))
    result = read_summary(path.parent.parent).get(path.name)
    key = quantity.label or quantity.name
    if not isinstance(result, dict) or key not in result or result.get("steps") != step:
        return None
    value, error, mark = (result.get(name) for name in (key, "error", "suspect"))
    return _loss_text(quantity, value, error, mark if isinstance(mark, str) else None)


def numbers(
    logs: list[Path], row: LoggedRow | None, manifest: Settings, view: RunView
) -> Iterator[str]:
    """The newest values of what is shown besides the loss, a line for each."""
    loss = (manifest["loss"] or {}).get("name")
    for quantity in view.numbers:
        if quantity.name == loss:
            continue
        value = _number(_main(row[1].get(quantity.name, {}))) if row is not None else None
        if value is None:
            found = _last_value(logs, quantity.name)
            value = None if found is None else found[1]
        if value is not None and math.isfinite(value):
            yield f"{_label(quantity)} {_with_unit(f'{quantity.scale * value:.8g}', quantity)}"


def _main(fields: Settings) -> Any:
    """The main value of a quantity; None if it has none."""
    return next((fields[f] for f in ("Mean", "mean", "value") if f in fields), None)


def newest_row(logs: list[Path]) -> LoggedRow | None:
    """The last row of the first log that can be read."""
    for file in logs:
        try:
            found = open_log(file).last()
        except UNREADABLE:
            continue
        if found is not None:
            return found
    return None


def _last_finite(logs: list[Path], quantity: Quantity) -> str:
    """The last finite value of the loss, with its step, or a dash."""
    found = _last_value(logs, quantity.name)
    if found is None:
        return f"{_label(quantity)} -"
    value = _with_unit(f"{quantity.scale * found[1]:.8g}", quantity)
    return f"{_label(quantity)} {value} at step {found[0]}, not finite since"


def _last_value(logs: list[Path], name: str) -> tuple[int, float] | None:
    """The last finite value of a quantity, with its step."""
    for file in logs:
        try:
            log = open_log(file)
            found = log.last_finite(name, log.main_field(name) or "value")
        except UNREADABLE:
            continue
        if found is not None:
            return found
    return None


def _mark(row: dict[str, Settings]) -> str:
    """Why a row cannot be trusted; empty where it can."""
    if "suspect" not in row:
        return ""
    mark = row["suspect"].get("value")
    mark = mark.decode() if isinstance(mark, bytes) else mark
    return mark if isinstance(mark, str) else "see the log"


def _is_finite(value: object) -> bool:
    number = _number(value)
    return number is not None and math.isfinite(number)


def _number(value: Any) -> float | None:
    try:
        return float(getattr(value, "real", value))
    except (TypeError, ValueError):
        return None


def _loss_text(quantity: Quantity, mean: Any, error: Any, mark: str | None) -> str | None:
    mean, error = _number(mean), _number(error)
    if mean is None:
        return None
    if not math.isfinite(mean):
        return f"{_label(quantity)} -"
    error = None if error is None else quantity.scale * error
    value = f"{quantity.scale * mean:.8g}"
    if mark:
        return f"{_label(quantity)} {value_text(_with_unit(value, quantity), error, mark)}"
    return f"{_label(quantity)} {_with_unit(value_text(value, error), quantity)}"


def _with_unit(value: str, quantity: Quantity) -> str:
    return f"{value} {quantity.unit}".rstrip()


def _label(quantity: Quantity) -> str:
    return f"{quantity.label or quantity.name.lower():<15}"

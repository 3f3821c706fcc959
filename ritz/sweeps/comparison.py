"""Tables of what runs have given, by what differs between them."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ritz.extras import needs
from ritz.folders.config import domain_of
from ritz.folders.summary import SUMMARY
from ritz.sweeps.naming import short_names
from ritz.sweeps.results import ENERGY, result_of, runs_in, settings_of

if TYPE_CHECKING:
    import pandas as pd

DOMAIN = "domain"
"""The only column of settings, of runs of several domains."""
SEED = "seed"
"""The setting that comes last: runs that differ in it alone are samples of one."""
_NOT_COMPARED = ("folder", "train.begin_from")
"""Settings that differ because the folders do."""
_LAST = ("steps", "seconds", "stop_reason")
QUANTITIES = (ENERGY, "RMSE_test", "RMSE_energy", "RMSE_train", "converged")
"""What is compared where nothing is named: the first of these that the runs have."""


def compare(
    folders: Sequence[str | Path],
    quantity: str = "",
    where: Mapping[str, object] | None = None,
    sort: str = "",
    *,
    everything: bool = False,
) -> "pd.DataFrame":
    """What runs have given, one row for each.

    Columns are the settings that differ, by as many of the last parts of their names as tell them
    apart, or only the `domain` where that differs; the quantity, of the energy with its `error`;
    `suspect` where a result is; `steps`, `seconds` and `stop_reason`, which is "RUNNING" while a
    run goes on, "KILLED" where its process is gone, and "FAILED" or "PRUNED" where a sweep says so.
    What goes on has the numbers of its newest checkpoint. `frame.attrs` has the names of the
    settings as `varied`, in full as the keys of `names`, and that of the quantity as `quantity`.

    Args:
        folders: Run folders, or folders with run folders, such as that of a sweep.
        quantity: An entry of `summary.json`; by default the energy, or the first error there is.
        where: Column, or full name of a setting -> value: only runs that have it.
        sort: What to sort by, likewise, with "-" in front from the highest down; by default runs
            are sorted by what differs.
        everything: Whether all numbers of the summaries are columns.

    Raises:
        MissingExtra: If pandas is not installed.
        ValueError: If a folder has no runs, no run has what `where` asks for, or a column is not
            there.
    """
    runs = list(dict.fromkeys(run for folder in folders for run in runs_in(Path(folder))))
    frame = _chosen(table_of(runs, quantity, everything=everything), where or {})
    return _sorted(frame, sort) if sort else frame


def table_of(
    runs: Sequence[Path], quantity: str = "", *, everything: bool = False
) -> "pd.DataFrame":
    """The table of `compare` of given runs, sorted by what differs.

    Args:
        runs: Run folders; of one with checkpoints alone no setting is known.
        quantity: See `compare`.
        everything: See `compare`.

    Raises:
        MissingExtra: If pandas is not installed.
        ValueError: If no run has the quantity.
    """
    with needs("A table of runs", "sweep"):
        import pandas as pd

    domains = [domain_of(run) for run in runs]
    settings = [settings_of(run) for run in runs]
    if len(set(domains) - {None}) > 1:  # of which hardly any setting is the same
        settings = [{DOMAIN: domain} for domain in domains]
    varied = _varied(settings)
    short = short_names(varied)
    results = [result_of(run) for run in runs]
    if quantity:
        _check_quantity(quantity, results)
    quantity = quantity or _quantity(results)
    columns = _result_columns(results, quantity, everything)
    rows = [
        {short[key]: _cell(own.get(key)) for key in varied}
        | {name: result.get(name) for name in columns}
        for own, result in zip(settings, results, strict=True)
    ]
    frame = pd.DataFrame(rows, index=pd.Index([str(run) for run in runs], name="run"))
    names = {key: short[key] for key in varied}
    frame.attrs = {"varied": [*names.values()], "names": names, "quantity": quantity}
    return _sorted(frame, "")


def _varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of settings that not all runs have alike."""
    names = dict.fromkeys(name for own in settings for name in own if name not in _NOT_COMPARED)
    varied = [n for n in names if any(own.get(n) != settings[0].get(n) for own in settings)]
    return sorted(varied, key=SEED.__eq__)  # the seed last


def _cell(value: Any) -> Any:
    """A setting as it stands in a table."""
    if isinstance(value, list):
        return value[0] if len(value) == 1 else "x".join(map(str, value))
    return value


def _quantity(results: Sequence[Mapping[str, Any]]) -> str:
    there = {name for result in results for name in result}
    return next((name for name in QUANTITIES if name in there), QUANTITIES[0])


def _check_quantity(quantity: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a name that no result has, unless there are no results yet."""
    there = list(dict.fromkeys(name for own in results for name in own if name != "stop_reason"))
    if there and quantity not in there:
        raise ValueError(
            f"no run has {quantity!r} in its {SUMMARY}; there are: {', '.join(there)}."
        )


def _result_columns(
    results: Sequence[Mapping[str, Any]], quantity: str, everything: bool
) -> list[str]:
    there = list(dict.fromkeys(name for result in results for name in result))
    first = [quantity, *(("error", "relative_error") if quantity == ENERGY else ()), "suspect"]
    if everything:
        first += [name for name in there if name not in (*first, *_LAST, "result_of", "message")]
    return [name for name in first if name in there or name == quantity] + list(_LAST)


def _chosen(frame: Any, where: Mapping[str, object]) -> Any:
    for name, value in where.items():
        column = column_of(frame, name)
        left = frame[[_is_equal(cell, value) for cell in frame[column]]]
        if not len(left):
            there = ", ".join(dict.fromkeys(str(cell) for cell in frame[column]))
            raise ValueError(f"no run that is left has {name}={value}; there are: {there}.")
        frame = left
    return frame


def _is_equal(cell: Any, value: object) -> bool:
    if isinstance(value, str) and not isinstance(cell, str):
        try:
            return float(cell) == float(value)
        except (TypeError, ValueError):
            return str(cell).lower() == value.lower()
    return cell == value


def _sorted(frame: Any, sort: str) -> Any:
    columns = frame.attrs["varied"]
    if sort:
        columns = [column_of(frame, sort.removeprefix("-"))]
    if not columns:
        return frame
    order = sorted(
        range(len(frame)), key=lambda row: [_order(frame[name].iloc[row]) for name in columns]
    )
    return frame.iloc[order[::-1] if sort.startswith("-") else order]


def _order(value: Any) -> tuple[int, float, list[tuple[int, str]]]:
    """A key by which numbers come before text, 4x4 before 10x10, and what is missing last."""
    is_number = isinstance(value, int | float) and not math.isnan(value)
    if is_number:
        return 0, float(value), []
    words = re.findall(r"(\d*)(\D*)", str(value))
    return 1 + (not isinstance(value, str)), 0.0, [(int(n or 0), text) for n, text in words]


def column_of(frame: "pd.DataFrame", name: str) -> str:
    """The column of this name, or of the setting with this full name.

    Raises:
        ValueError: If there is none.
    """
    column = frame.attrs["names"].get(name, name)
    if column not in frame.columns:
        raise ValueError(f"there is no column {name!r}; there are: {', '.join(frame.columns)}.")
    return column


def text_of(frame: "pd.DataFrame") -> str:
    """The table as text, with error bars."""
    bare = "suspect" in frame and not any(isinstance(cell, str) for cell in frame["suspect"])
    shown: Any = frame.drop(columns=["suspect"] if bare else [])
    quantity = frame.attrs["quantity"]
    formats: dict[str, Any] = {quantity: _number_text(9), "seconds": _number_text(3)}
    formats |= {name: _number_text(2) for name in ("error", "relative_error")}
    formats["steps"] = _number_text(9)
    formats = {name: one for name, one in formats.items() if name in shown}
    shown = shown.astype(object).where(shown.notna(), "").rename_axis(None)
    varied = frame.attrs["varied"]
    return shown.to_string(index=not varied or DOMAIN in varied, formatters=formats)


def _number_text(digits: int) -> Any:
    return lambda value: f"{value:.{digits}g}" if isinstance(value, int | float) else str(value)

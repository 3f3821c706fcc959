"""Tables of what runs have given, by what differs between them."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ritz.extras import needs
from ritz.folders.config import CONFIG
from ritz.folders.lock import owner_is_alive, read_lock
from ritz.folders.summary import SUMMARY, read_summary
from ritz.sweeps.naming import short_names

if TYPE_CHECKING:
    import pandas as pd

SEED = "seed"
"""The setting that comes last: runs that differ in it alone are samples of one."""
_NOT_COMPARED = ("folder", "train.begin_from")
"""Settings that differ because the folders do."""
_LAST = ("steps", "seconds", "stop_reason")
_DEEPEST = 3
"""Levels of folders below a given one in which runs are looked for."""
QUANTITIES = ("energy", "RMSE_test", "RMSE_energy", "RMSE_train", "converged")
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
    apart; the quantity with its `error`; `suspect` where a result is; `steps`, `seconds` and
    `stop_reason`, which is "RUNNING" while a run goes on and "KILLED" where its process is gone.
    `frame.attrs` has the names of the settings as `varied` and that of the quantity as `quantity`.

    Args:
        folders: Run folders, or folders with run folders, such as that of a sweep.
        quantity: An entry of `summary.json`; by default the energy, or the first error there is.
        where: Column -> value: only runs that have it.
        sort: The column to sort by, with "-" in front from the highest down; by default runs are
            sorted by what differs.
        everything: Whether all numbers of the summaries are columns.

    Raises:
        MissingExtra: If pandas is not installed.
        ValueError: If a folder has no runs, or a column is not there.
    """
    with needs("A table of runs", "sweep"):
        import pandas as pd

    runs = list(dict.fromkeys(run for folder in folders for run in runs_in(Path(folder))))
    settings = [_settings(run) for run in runs]
    varied = _varied(settings)
    short = short_names(varied)
    results = [_result(run) for run in runs]
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
    frame.attrs = {"varied": [short[key] for key in varied], "quantity": quantity}
    return _sorted(_chosen(frame, where or {}), sort)


def runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is that of a run, or else those below it.

    Raises:
        ValueError: If there are none.
    """
    found = list(_runs(folder, _DEEPEST))
    if not found:
        what = "there is no folder" if not folder.is_dir() else "no run in the folder"
        raise ValueError(f"{what} {folder}; a run has a {CONFIG} or a {SUMMARY}.")
    return found


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / CONFIG).is_file() or (folder / SUMMARY).is_file():
        yield folder
    elif depth and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and path.name not in ("checkpoints", "set_aside"):
                yield from _runs(path, depth - 1)


def _settings(run: Path) -> dict[str, Any]:
    """The settings of a run by dotted names, arguments of classes below the name of the class."""
    with needs("A table of runs", "cli"):
        import yaml

    try:
        content = yaml.safe_load((run / CONFIG).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return dict(_flat(content)) if isinstance(content, dict) else {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "class_path" in value:
        yield name, str(value["class_path"]).rpartition(".")[2]
        yield from _flat(value.get("init_args") or {}, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{place}")
    elif name:
        yield name, value


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


def _result(run: Path) -> dict[str, Any]:
    """The newest result of a run, and how it ended."""
    summary = read_summary(run)
    found = {name: value for name, value in summary.items() if not isinstance(value, dict)}
    owner = read_lock(run)
    if owner is not None and owner.get("ended") is None:
        going = owner_is_alive(owner, run)
        found["stop_reason"] = "KILLED" if going is False else "RUNNING"
    return found


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
    first = [quantity, "error", "relative_error", "suspect"]
    if everything:
        first += [name for name in there if name not in (*first, *_LAST, "result_of", "message")]
    return [name for name in first if name in there or name == quantity] + list(_LAST)


def _chosen(frame: Any, where: Mapping[str, object]) -> Any:
    for column, value in where.items():
        _check_column(frame, column)
        frame = frame[[_is_equal(cell, value) for cell in frame[column]]]
    return frame


def _is_equal(cell: Any, value: object) -> bool:
    if isinstance(value, str) and not isinstance(cell, str):
        try:
            return float(cell) == float(value)
        except (TypeError, ValueError):
            return str(cell).lower() == value.lower()
    return cell == value


def _sorted(frame: Any, sort: str) -> Any:
    columns = [sort.removeprefix("-")] if sort else frame.attrs["varied"]
    for column in columns:
        _check_column(frame, column)
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


def _check_column(frame: "pd.DataFrame", column: str) -> None:
    if column not in frame.columns:
        raise ValueError(f"there is no column {column!r}; there are: {', '.join(frame.columns)}.")


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
    return shown.to_string(index=not frame.attrs["varied"], formatters=formats)


def _number_text(digits: int) -> Any:
    return lambda value: f"{value:.{digits}g}" if isinstance(value, int | float) else str(value)

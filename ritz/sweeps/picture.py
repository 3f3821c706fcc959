"""A picture of a table of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ritz.extras import needs
from ritz.picture_style import COLOURS, DPI, finite_error, open_frame, plain_text, whole_steps
from ritz.sweeps.comparison import SEED, column_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def draw(frame: "pd.DataFrame", output: str | Path, against: str = "") -> Path:
    """Draw the quantity of runs against a setting, with error bars, into a file.

    Runs that agree in all other settings but the seed are one curve; of several at one place each
    is drawn, and the curve goes through their mean. Where a result is suspect, its mark is open and
    without an error bar, which cannot be trusted.

    Args:
        frame: From `compare`.
        output: The file; its suffix sets the format.
        against: The setting at the x axis; by default the first that is a number.

    Raises:
        MissingExtra: If matplotlib is not installed.
        ValueError: If there is no such column, it holds no numbers, or the format is not known.
    """
    figure = draw_comparison(frame, against)
    try:
        figure.savefig(output, dpi=DPI)
    except ValueError as error:
        raise ValueError(f"cannot draw {output}: {error}") from error
    return Path(output)


def draw_comparison(
    frame: "pd.DataFrame", against: str = "", scale: float = 1.0, unit: str = ""
) -> "Figure":
    """The picture that `draw` writes, as a figure of matplotlib.

    Args:
        frame: From `compare`.
        against: The setting at the x axis; by default the first that is a number.
        scale: Factor from the quantity in the table to its unit.
        unit: Unit at the axis of the quantity; empty for none.

    Raises:
        MissingExtra: If matplotlib is not installed.
        ValueError: If there is no such column, or it holds no numbers.
    """
    with needs("A picture of runs", "plot"):
        from matplotlib.figure import Figure

    varied, quantity = frame.attrs["varied"], frame.attrs["quantity"]
    x = against or next((name for name in varied if name != SEED and _is_number(frame, name)), "")
    if not x:
        raise ValueError("no setting with numbers differs; name a column with --against.")
    x = column_of(frame, x)
    if not _is_number(frame, x):
        raise ValueError(f"{x} holds no numbers, against which nothing can be drawn.")
    others = [name for name in varied if name not in (x, SEED)]
    drawn: Any = frame[frame[quantity].map(_finite) & frame[x].map(_finite)]
    if not len(drawn):
        raise ValueError(f"no run has a finite {quantity} yet.")
    groups: Any = drawn.groupby(others, dropna=False, sort=False) if others else [((), drawn)]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    for place, (values, group) in enumerate(groups):
        label = ", ".join(f"{n}={v}" for n, v in zip(others, values, strict=True))
        scaled = group.assign(**{quantity: scale * group[quantity].astype(float)})
        colour = COLOURS[place % len(COLOURS)]
        _draw_group(ax, scaled, x, quantity, colour, plain_text(label))
    ax.set_xlabel(plain_text(x))
    ax.set_ylabel(plain_text(f"{quantity} ({unit})" if unit else quantity))
    if all(float(value).is_integer() for value in drawn[x]):
        whole_steps(ax)
    open_frame(ax)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize="small")
    return figure


def _draw_group(ax: Any, group: Any, x: str, quantity: str, colour: Any, label: str) -> None:
    places, values = group[x].to_numpy(float), group[quantity].to_numpy(float)
    errors, suspect = np.zeros(len(group)), np.zeros(len(group), bool)
    if "error" in group:
        errors = finite_error(group["error"].to_numpy(float))
    if "suspect" in group:
        suspect = np.array([isinstance(mark, str) and bool(mark) for mark in group["suspect"]])
    style = {"fmt": "o", "ms": 4, "color": colour}
    if not np.all(suspect):
        good = ~suspect
        ax.errorbar(places[good], values[good], errors[good], capsize=2, label=label, **style)
        label = ""
    if np.any(suspect):
        told = f"{label}, suspect".lstrip(", ")
        ax.errorbar(places[suspect], values[suspect], mfc="none", label=told, **style)
    unique = np.unique(places)
    means = [np.mean(values[places == place]) for place in unique]
    ax.plot(unique, means, color=colour, lw=1, alpha=0.7)


def _is_number(frame: Any, name: str) -> bool:
    return any(_finite(cell) for cell in frame[name])


def _finite(cell: Any) -> bool:
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return is_number and bool(np.isfinite(cell))

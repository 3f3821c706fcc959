"""A picture of a table of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ritz.extras import needs
from ritz.picture_style import COLOURS, DPI, open_frame, whole_steps
from ritz.sweeps.comparison import SEED, column_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def draw(frame: "pd.DataFrame", output: str | Path, against: str = "") -> Path:
    """Draw the quantity of runs against a setting, with error bars, into a file.

    Runs that agree in all other settings but the seed are one curve; of several at one place each
    is drawn, and the curve goes through their mean.

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


def draw_comparison(frame: "pd.DataFrame", against: str = "") -> "Figure":
    """The picture that `draw` writes, as a figure of matplotlib.

    Args:
        frame: From `compare`.
        against: The setting at the x axis; by default the first that is a number.

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
    for place, (values, own) in enumerate(groups):
        label = ", ".join(f"{n}={v}" for n, v in zip(others, values, strict=True))
        _draw_group(ax, own, x, quantity, COLOURS[place % len(COLOURS)], label)
    ax.set_xlabel(x)
    ax.set_ylabel(quantity)
    if all(float(value).is_integer() for value in drawn[x]):
        whole_steps(ax)
    open_frame(ax)
    if others:
        ax.legend(frameon=False, fontsize="small")
    return figure


def _draw_group(ax: Any, own: Any, x: str, quantity: str, colour: Any, label: str) -> None:
    places, values = own[x].to_numpy(float), own[quantity].to_numpy(float)
    errors = np.zeros(len(own))
    if "error" in own:
        errors = np.nan_to_num(own["error"].to_numpy(float))
    ax.errorbar(places, values, errors, fmt="o", ms=4, capsize=2, color=colour, label=label)
    unique = np.unique(places)
    means = [np.mean(values[places == place]) for place in unique]
    ax.plot(unique, means, color=colour, lw=1, alpha=0.7)


def _is_number(frame: Any, name: str) -> bool:
    return any(_finite(cell) for cell in frame[name])


def _finite(cell: Any) -> bool:
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return is_number and bool(np.isfinite(cell))

"""The style that all pictures of Ritz share."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
    "#17becf",
)
"""Colours of curves, in their order: those called tab10 in matplotlib."""
DPI = 150


def open_frame(axes: "Axes") -> None:
    """Leave the left and the lower line of the frame around a picture only."""
    axes.spines[["top", "right"]].set_visible(False)


def whole_steps(axes: "Axes") -> None:
    """Label whole steps or epochs only at the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def finite_error(error: np.ndarray) -> np.ndarray:
    """Errors as they are drawn: 0 in place of those that are not finite."""
    return np.where(np.isfinite(error), error, 0.0)


def plain_text(label: str) -> str:
    """A label for matplotlib, which shows "$" as it is and begins with no underscore.

    The legend leaves out labels that begin with one.
    """
    text = label.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def draw_curve(
    axes: Any,
    steps: np.ndarray,
    values: np.ndarray,
    error: np.ndarray | None,
    color: str,
    **style: Any,
) -> None:
    """Draw values over steps with their error as a band; a single value is a dot.

    Args:
        axes: Where to draw, axes of matplotlib.
        steps: Shape (n,).
        values: Shape (n,).
        error: One standard error of each, shape (n,); None for no band.
        color: Colour of line and band.
        **style: Further arguments of the line, such as `label`.
    """
    is_point = np.count_nonzero(np.isfinite(values)) == 1  # which a line does not show
    axes.plot(steps, values, color=color, lw=1, marker="o" if is_point else None, **style)
    if error is not None:
        band = finite_error(error)
        axes.fill_between(steps, values - band, values + band, color=color, alpha=0.3, lw=0)

"""The style that all pictures of Ritz share."""

from typing import TYPE_CHECKING

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

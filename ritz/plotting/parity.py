"""Pictures of predicted against known values."""

from typing import TYPE_CHECKING

import numpy as np

from ritz.picture_style import open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "parity.npz"
"""File of a run folder: `energy` and `force`, shape (2, n), known and predicted."""
UNITS = {"energy": "eV/atom", "force": "eV/Å"}
"""Units of predicted quantities, by name."""
_MANY = 1000


def draw_parity(axes: "Axes", name: str, known: np.ndarray, predicted: np.ndarray) -> None:
    """Draw predicted over known values, and the line on which they agree.

    Args:
        axes: Where to draw.
        name: "energy" or "force", a key of `UNITS`.
        known: Known values, shape (n,), n > 0.
        predicted: Predicted values, shape (n,).
    """
    size = 3 if len(known) > _MANY else 5
    axes.axline((known[0], known[0]), slope=1, color="black", lw=0.8)
    axes.plot(known, predicted, ".", ms=size, alpha=0.5, rasterized=True)
    axes.set_xlabel(f"known {name} ({UNITS[name]})")
    axes.set_ylabel(f"predicted {name} ({UNITS[name]})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.locator_params(axis="x", nbins=3)  # numbers may be long
    axes.ticklabel_format(useOffset=False)
    open_frame(axes)

"""Pictures of runs, with error bands."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ritz.extras import needs
from ritz.folders.view import ANY_RUN, RunView
from ritz.picture_style import COLOURS, DPI, draw_curve, open_frame, plain_text, whole_steps
from ritz.plotting.curves import Panel, open_runs, panels_of
from ritz.plotting.logs import exact_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
"""Lines of the runs of a picture: where they are the same, those below show through."""


def plot_runs(
    paths: Sequence[str | Path],
    output: str | Path,
    quantity: str | None = None,
    exact: float | None = None,
    view: RunView = ANY_RUN,
) -> Path:
    """Draw the curves of one or several runs over each other, with error bands.

    Args:
        paths: Log files or run folders.
        output: The image file; its suffix sets the format.
        quantity: What to draw at the top; by default the first curve of `view`.
        exact: Value of a horizontal line there; by default that of the summaries of the runs,
            unless they have different ones.
        view: The curves; by default the loss, which is the first logged quantity that has a mean,
            and the V-score.

    Returns:
        `output`.

    Raises:
        ValueError: If a log is missing or unreadable, or does not have the quantity.
    """
    figure = draw_runs(paths, quantity, exact, view)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(output, dpi=DPI)
    except ValueError as error:
        raise ValueError(f"cannot draw {output}: {error}") from error
    return output


def draw_runs(
    paths: Sequence[str | Path],
    quantity: str | None = None,
    exact: float | None = None,
    view: RunView = ANY_RUN,
) -> "Figure":
    """The picture that `plot_runs` writes, as a figure of matplotlib.

    Args:
        paths: Log files or run folders.
        quantity: What to draw at the top; by default the first curve of `view`.
        exact: Value of a horizontal line there; by default that of the summaries of the runs,
            unless they have different ones.
        view: The curves.

    Raises:
        MissingExtra: If matplotlib is not installed.
        ValueError: If a log is missing or unreadable, or does not have the quantity.
    """
    with needs("A plot", "plot"):  # before logs are read
        import matplotlib.figure  # noqa: F401

    panels = panels_of(open_runs(paths, view), quantity, view)
    if exact is None and panels[0].is_main:
        known = {value for path in paths if (value := exact_value(path)) is not None}
        exact = known.pop() if len(known) == 1 else None
    return draw_panels(panels, exact, view.reference)


def draw_panels(panels: Sequence[Panel], exact: float | None, reference: str) -> "Figure":
    """Draw panels one below the other, as a figure of matplotlib.

    Args:
        panels: From `panels_of`, at least one.
        exact: Value of a horizontal line in the first panel; None for no line.
        reference: What that line is called.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    with needs("A plot", "plot"):
        from matplotlib.figure import Figure

    top = panels[0]
    extra = len(panels) - 1
    figure = Figure(figsize=(7, 3.8 + 1.7 * extra), layout="constrained")
    heights = [2, *[1] * extra]
    axes = figure.subplots(1 + extra, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        _draw_panel(ax, panel)
    if exact is not None:
        axes[0].axhline(exact, color="black", ls="--", lw=1, label=f"{reference} {exact:.6g}")
    axes[0].legend(frameon=False, loc="upper right")
    if not top.quantity.logarithmic:
        _draw_end(axes[0], top, exact)
    axes[-1].set_xlabel("step")
    whole_steps(axes[-1])
    return figure


def _draw_panel(ax: "Axes", panel: Panel) -> None:
    _draw_curves(ax, panel)
    if panel.is_logarithmic:
        ax.set_yscale("log", nonpositive="mask")
    ax.set_ylabel(panel.quantity.title)
    open_frame(ax)


def _draw_end(ax: "Axes", panel: Panel, exact: float | None) -> None:
    """Show the second half again on a scale of its own, where the beginning dwarfs it."""
    curves = panel.drawn
    halves = [curve.values[curve.steps >= curve.middle] for curve in curves]
    everything = np.concatenate([curve.values for curve in curves])
    known = [] if exact is None else [exact]
    end = np.concatenate([*halves, known])
    end, everything = end[np.isfinite(end)], everything[np.isfinite(everything)]
    if len(end) < 20 or np.ptp(end) > 0.1 * np.ptp(everything):
        return
    inset = ax.inset_axes((0.3, 0.46, 0.66, 0.32))
    _draw_curves(inset, panel)
    if exact is not None:
        inset.axhline(exact, color="black", ls="--", lw=1)
    inset.set_xlim(min(c.middle for c in curves), max(c.steps[-1] for c in curves))
    margin = 0.1 * np.ptp(end)
    inset.set_ylim(np.min(end) - margin, np.max(end) + margin)
    inset.tick_params(labelsize="small")
    for label in [*inset.get_xticklabels(), *inset.get_yticklabels()]:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
    inset.set_title("second half", fontsize="small")


def _draw_curves(ax: "Axes", panel: Panel) -> None:
    """Draw the curves, each run in the colour that it has in all panels."""
    for place, curve in enumerate(panel.curves):
        if curve is not None:
            style: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "ls": _DASHES[place % len(_DASHES)],
                "label": plain_text(curve.label),
            }
            draw_curve(ax, curve.steps, curve.values, curve.error, **style)

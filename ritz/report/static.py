"""Pictures of a report for readers without JavaScript, as SVG."""

import io
from typing import TYPE_CHECKING, Any

from ritz.extras import needs
from ritz.picture_style import open_frame, whole_steps
from ritz.plotting.parity import draw_parity
from ritz.report.parity import Parity
from ritz.report.step_times import StepTimes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg_of(figure: "Figure") -> str:
    """A figure of matplotlib as an SVG element, without background, as wide as its place."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "ritz", "path.simplify_threshold": 1.0}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def step_time_figure(times: StepTimes) -> "Figure":
    """Seconds a step over the run."""
    figure, axes = _figure(7, 2.4)
    kept = times.seconds > 0
    axes.step(times.steps[kept], times.seconds[kept], where="pre", lw=1)
    axes.set(xlabel="step", ylabel="seconds a step")
    axes.set_yscale("log")
    whole_steps(axes)
    return figure


def parity_figure(name: str, parity: Parity) -> "Figure":
    """Predicted against known values."""
    figure, axes = _figure(4.6, 4.3)
    draw_parity(axes, name, parity.known, parity.predicted)
    return figure


def _figure(width: float, height: float) -> tuple["Figure", Any]:
    with needs("A report", "report"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    open_frame(axes)
    return figure, axes

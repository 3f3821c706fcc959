"""Interactive pictures of a report, made with Bokeh."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ritz.extras import needs
from ritz.picture_style import COLOURS, finite_error
from ritz.plotting import Curve, Panel
from ritz.plotting.parity import UNITS
from ritz.report.parity import Parity
from ritz.report.step_times import StepTimes

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

_DASHES = ("solid", [10, 4], [2, 3], [10, 4, 2, 4])
_TOOLS = "pan,box_zoom,wheel_zoom,reset,save"


def scripts_and_pictures(figures: Mapping[str, "Figure"]) -> tuple[str, dict[str, str]]:
    """The scripts that draw figures, and the place of each in the page.

    Args:
        figures: By name.

    Returns:
        Script elements, those of Bokeh itself included, and an element for each name.
    """
    if not figures:
        return "", {}
    from bokeh.embed import components
    from bokeh.resources import Resources

    script, places = components(dict(figures))
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    return f"{library}\n{script}", places


def panel_figures(panels: Sequence[Panel], exact: float | None, reference: str) -> list["Figure"]:
    """A figure for each panel, which move together along the steps.

    Args:
        panels: From `ritz.plotting.panels_of_readable`.
        exact: A line in the main panel; None for no line.
        reference: What that line is called.
    """
    figures: list[Any] = []
    for panel in panels:
        shared = {"x_range": figures[0].x_range} if figures else {}
        figures.append(_panel_figure(panel, 260 if figures else 360, **shared))
        if exact is not None and panel.is_main:
            _add_line(figures[-1], panel, exact, f"{reference} {exact:.6g}")
    for plot in (plot for plot in figures if plot.legend):
        plot.legend.visible = plot is figures[0]
        plot.legend.orientation, plot.legend.ncols = "horizontal", "auto"
        plot.legend.label_text_font_size = "11px"
        plot.legend.border_line_alpha = plot.legend.background_fill_alpha = 0
        plot.add_layout(plot.legend[0], "above")
    return figures


def _panel_figure(panel: Panel, height: int, **shared: object) -> "Figure":
    from bokeh.models import HoverTool

    kind = "log" if panel.is_logarithmic else "linear"
    title = panel.quantity.title.replace("\n", " ")
    plot = _figure(height, "step", title, y_axis_type=kind, **shared)
    lines = [
        _add_curve(plot, curve, place, len(panel.curves))
        for place, curve in enumerate(panel.curves)
        if curve is not None
    ]
    tips = [("run", "$name"), ("step", "@step{0,0}"), (title, "@value{0.000000}")]
    if any(curve.error is not None for curve in panel.drawn):
        tips.append(("error", "@error{0.0e+0}"))
    plot.add_tools(HoverTool(renderers=lines, tooltips=tips, mode="vline"))
    return plot


def _add_curve(plot: Any, curve: Curve, place: int, n_curves: int) -> Any:
    from bokeh.models import ColumnDataSource

    columns: dict[str, Any] = {"step": curve.steps, "value": curve.values}
    if curve.error is not None:
        error = finite_error(curve.error)
        low, high = curve.values - error, curve.values + error
        columns |= {"error": error.astype(np.float32), "low": low, "high": high}
    source = ColumnDataSource(columns)
    colour, dashes = COLOURS[place % len(COLOURS)], _DASHES[place % len(_DASHES)]
    label = {"legend_label": curve.label} if n_curves > 1 else {}
    if curve.error is not None:
        area = {"color": colour, "fill_alpha": 0.25, **label}
        plot.varea("step", "low", "high", source=source, **area)
    style = {"name": curve.label, "source": source, "color": colour, **label}
    if np.count_nonzero(np.isfinite(curve.values)) == 1:  # which a line does not show
        return plot.scatter("step", "value", size=7, **style)
    return plot.line("step", "value", line_dash=dashes, line_width=1.5, **style)


def _add_line(plot: Any, panel: Panel, value: float, label: str) -> None:
    """A horizontal line over the steps, which counts where the frame chooses its range."""
    from bokeh.models import Label

    first = min(float(np.min(curve.steps)) for curve in panel.drawn)
    last = max(float(np.max(curve.steps)) for curve in panel.drawn)
    ends = [first, max(last, first + 1)]
    plot.line(ends, [value, value], name=label, line_dash="dashed", color="black")
    plot.add_layout(
        Label(x=8, x_units="screen", y=value, y_offset=3, text=label, text_font_size="12px")
    )


def step_time_figure(times: StepTimes) -> "Figure":
    """Seconds a step over the run."""
    plot: Any = _figure(220, "step", "seconds a step", y_axis_type="log")
    plot.yaxis.ticker.num_minor_ticks = 0
    kept = times.seconds > 0
    plot.step(times.steps[kept], times.seconds[kept], mode="before", color=COLOURS[0])
    return plot


def parity_figure(name: str, parity: Parity) -> "Figure":
    """Predicted against known values."""
    from bokeh.models import HoverTool, Slope

    unit = UNITS[name]
    plot: Any = _figure(360, f"known {name} ({unit})", f"predicted {name} ({unit})")
    plot.add_layout(Slope(gradient=1, y_intercept=0, line_color="black"))
    points = plot.scatter(parity.known, parity.predicted, size=4, alpha=0.4, color=COLOURS[0])
    tips = [("known", "@x{0.00000}"), ("predicted", "@y{0.00000}")]
    plot.add_tools(HoverTool(renderers=[points], tooltips=tips))
    return plot


def _figure(height: int, x: str, y: str, **options: Any) -> "Figure":
    with needs("A report", "report"):
        from bokeh.plotting import figure

    plot: Any = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=x,
        y_axis_label=y,
        tools=_TOOLS,
        toolbar_location="above",
        **options,
    )
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.outline_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_alpha = 0.5
    if x == "step":
        plot.xaxis.formatter.use_scientific = False
        plot.xaxis.ticker.min_interval = 1
    return plot

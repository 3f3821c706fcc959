"""Interactive pictures of a report, made with Bokeh."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ritz.extras import needs
from ritz.folders.view import Quantity
from ritz.picture_style import COLOURS
from ritz.plotting import Curve
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


def panels(
    curves: Sequence[tuple[Quantity, Sequence[Curve | None]]], exact: float | None, reference: str
) -> list["Figure"]:
    """A figure for each quantity, which move together along the steps.

    Args:
        curves: From `ritz.plotting.panels_of`.
        exact: A line in the first figure.
        reference: What that line is called.
    """
    figures: list[Any] = []
    for quantity, own in curves:
        shared = {"x_range": figures[0].x_range} if figures else {}
        height = 260 if figures else 360
        figures.append(_panel(quantity, own, height, **shared))
    if exact is not None:
        _line(figures[0], exact, f"{reference} {exact:.6g}")
    for one in (figure for figure in figures if figure.legend):
        one.legend.visible = one is figures[0]
        one.legend.orientation, one.legend.ncols = "horizontal", "auto"
        one.legend.label_text_font_size = "11px"
        one.legend.border_line_alpha = one.legend.background_fill_alpha = 0
        one.add_layout(one.legend[0], "above")
    return figures


def _panel(
    quantity: Quantity, curves: Sequence[Curve | None], height: int, **shared: object
) -> "Figure":
    from bokeh.models import HoverTool

    drawn = np.concatenate([curve.values for curve in curves if curve is not None])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    is_wide = len(drawn) > 0 and np.max(drawn) > 10 * np.min(drawn)
    kind = "log" if quantity.logarithmic and is_wide else "linear"
    title = quantity.title.replace("\n", " ")
    one = _figure(height, "step", title, y_axis_type=kind, **shared)
    lines = []
    for place, curve in enumerate(curves):
        if curve is not None:
            lines.append(_curve(one, curve, place, len(curves)))
    tips = [("run", "@name"), ("step", "@step{0,0}"), (title, "@value{0.000000}")]
    if any(curve is not None and curve.error is not None for curve in curves):
        tips.append(("error", "@error{0.0e+0}"))
    one.add_tools(HoverTool(renderers=lines, tooltips=tips, mode="vline"))
    return one


def _curve(one: Any, curve: Curve, place: int, n_curves: int) -> Any:
    from bokeh.models import ColumnDataSource

    error = np.zeros(len(curve.steps)) if curve.error is None else np.nan_to_num(curve.error)
    source = ColumnDataSource(
        {
            "step": curve.steps,
            "value": curve.values,
            "error": error.astype(np.float32),
            "low": curve.values - error,
            "high": curve.values + error,
            "name": [curve.label] * len(curve.steps),
        }
    )
    colour, dashes = COLOURS[place % len(COLOURS)], _DASHES[place % len(_DASHES)]
    label = {"legend_label": curve.label} if n_curves > 1 else {}
    if curve.error is not None:
        area = {"color": colour, "fill_alpha": 0.25, **label}
        one.varea("step", "low", "high", source=source, **area)
    style = {"color": colour, "line_dash": dashes, "line_width": 1.5, **label}
    if np.count_nonzero(np.isfinite(curve.values)) == 1:  # which a line does not show
        return one.scatter("step", "value", source=source, size=7, color=colour, **label)
    return one.line("step", "value", source=source, **style)


def _line(one: Any, value: float, label: str) -> None:
    from bokeh.models import Label, Span

    one.add_layout(Span(location=value, dimension="width", line_dash="dashed", line_width=1))
    one.add_layout(
        Label(x=8, x_units="screen", y=value, y_offset=3, text=label, text_font_size="12px")
    )


def step_time_figure(times: StepTimes) -> "Figure":
    """Seconds a step over the run."""
    one: Any = _figure(220, "step", "seconds a step", y_axis_type="log")
    one.yaxis.ticker.num_minor_ticks = 0
    kept = times.seconds > 0
    one.step(times.steps[kept], times.seconds[kept], mode="before", color=COLOURS[0])
    return one


def parity_figure(name: str, parity: Parity) -> "Figure":
    """Predicted against known values."""
    from bokeh.models import HoverTool, Slope

    unit = UNITS[name]
    one: Any = _figure(360, f"known {name} ({unit})", f"predicted {name} ({unit})")
    one.add_layout(Slope(gradient=1, y_intercept=0, line_color="black"))
    points = one.scatter(parity.known, parity.predicted, size=4, alpha=0.4, color=COLOURS[0])
    tips = [("known", "@x{0.00000}"), ("predicted", "@y{0.00000}")]
    one.add_tools(HoverTool(renderers=[points], tooltips=tips))
    return one


def _figure(height: int, x: str, y: str, **options: Any) -> "Figure":
    with needs("A report", "report"):
        from bokeh.plotting import figure

    one: Any = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=x,
        y_axis_label=y,
        tools=_TOOLS,
        toolbar_location="above",
        **options,
    )
    one.background_fill_alpha = one.border_fill_alpha = 0
    one.toolbar.logo = None
    one.toolbar.autohide = True
    one.outline_line_color = None
    one.axis.axis_label_text_font_style = "normal"
    one.grid.grid_line_alpha = 0.5
    if x == "step":
        one.xaxis.formatter.use_scientific = False
        one.xaxis.ticker.min_interval = 1
    return one

"""Panels, pictures and the logs that they are made of."""

import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ritz.folders.view import ANY_RUN, Quantity, RunView
from ritz.picture_style import draw_curve, plain_text
from ritz.plotting import (
    draw_panels,
    draw_runs,
    find_log,
    find_logs,
    open_runs,
    panels_of,
    panels_of_readable,
)
from ritz.report import write_report

VIEW = RunView(curves=(Quantity("E"), Quantity("acceptance")))


def run(name: str, lines: str, exact: float | None = None) -> Path:
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text(lines)
    if exact is not None:
        (folder / "summary.json").write_text(json.dumps({"exact": exact}))
    return folder


def rows(energy: float) -> str:
    return "step,E\n" + "".join(f"{step},{energy + 1 / (step + 1)}\n" for step in range(9))


def heights(figure: Figure) -> list[float]:
    """Heights of the horizontal lines in the first panel."""
    lines = figure.axes[0].get_lines()
    return [line.get_ydata()[0] for line in lines if line.get_color() == "black"]


def test_an_exact_value_is_drawn_only_where_runs_agree() -> None:
    runs = [run("a", rows(-1), -1.0), run("b", rows(-2), -2.0), run("c", rows(-2), -2.0)]
    assert heights(draw_runs(runs[1:], view=VIEW)) == [-2.0]
    assert heights(draw_runs(runs, view=VIEW)) == []
    assert heights(draw_runs(runs, exact=-3.0, view=VIEW)) == [-3.0]
    panels = panels_of(open_runs(runs), view=VIEW)
    assert heights(draw_panels(panels, None, "exact")) == []
    assert heights(draw_panels(panels, -4.0, "exact")) == [-4.0]


@pytest.mark.parametrize("column", ["", "text"])
def test_panels_without_any_curve_are_left_out(column: str) -> None:
    folder = run("a", f"step,E,acceptance\n0,1,{column}\n1,2,{column}\n")
    panels = panels_of(open_runs([folder]), view=VIEW)
    assert [panel.quantity.name for panel in panels] == ["E"]
    draw_runs([folder], view=VIEW)


def test_runs_without_rows_leave_the_curves_of_the_others() -> None:
    logs = open_runs([run("a", "step\n"), run("b", rows(-1)), run("c", "step,loss\n0,1\n")])
    panels, reasons = panels_of_readable(logs, VIEW)
    assert [curve.label for curve in panels[0].drawn] == ["b"]
    assert reasons == {
        "a": "a has no rows yet.",
        "c": "c has no quantity 'E'; it has: loss.",
    }
    panels, reasons = panels_of_readable(logs[:1], ANY_RUN)
    assert panels == [] and list(reasons) == ["a"]


def test_colours_of_runs_are_the_same_in_all_panels() -> None:
    text = "step,E,acceptance\n0,1,0.5\n1,2,0.5\n"
    figure = draw_runs([run("a", "step,E\n0,1\n1,3\n"), run("b", text)], view=VIEW)
    first, second = figure.axes[0].get_lines()
    (alone,) = figure.axes[1].get_lines()
    assert alone.get_color() == second.get_color() != first.get_color()


def test_errors_that_are_not_finite_have_no_band() -> None:
    axes = Figure().subplots()
    error = np.array([0.1, np.inf, np.nan])
    draw_curve(axes, np.arange(3), np.array([1.0, 2.0, 3.0]), error, "red")
    axes.figure.savefig(io.BytesIO(), format="svg")
    assert axes.get_ylim()[1] < 4


def test_logs_of_several_runs_in_a_folder_are_not_taken_for_one() -> None:
    for name in ("a.log", "b.csv", "b.log"):
        Path(name).write_text("step,E\n0,1\n" if name.endswith("csv") else "{}")
    with pytest.raises(ValueError, match="logs of several runs: a.log, b.csv, b.log; name those"):
        find_log(Path("."))
    with pytest.raises(ValueError, match="logs of several runs"):
        write_report(["."], "report.html")
    Path("config.yaml").write_text("{}")
    assert find_log(Path(".")) == Path("a.log")


def test_names_of_runs_stand_in_the_legend_as_they_are() -> None:
    runs = [run("_old", rows(-1)), run("x$1$", rows(-2))]
    figure = draw_runs(runs, view=VIEW)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == [" _old", r"x\$1\$"]
    assert matplotlib.cbook.is_math_text(plain_text("x$1$")) is False


def test_other_tables_in_a_folder_are_no_logs() -> None:
    Path("warnings.log").write_text("2026-01-02 03:04:05 careful\n")
    Path("hook_timing.csv").write_text("callback,hook\na,b\n")
    Path("errors.csv").write_text("epoch,RMSE_train\n1,2\n")
    with pytest.raises(ValueError, match="no log in the folder"):
        find_log(Path("."))
    Path("evaluate.log").write_text("{}")
    assert find_log(Path(".")) == Path("evaluate.log")
    Path("mine.csv").write_text("step,E\n0,1\n")
    assert find_logs(Path(".")) == [Path("mine.csv"), Path("evaluate.log")]
    Path("train.log").write_text("{")
    assert find_log(Path(".")) == Path("train.log")  # though it is damaged

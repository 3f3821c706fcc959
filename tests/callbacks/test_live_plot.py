"""A picture of a run in a file, and in the kernel of a notebook."""

import base64
import io
import math
import struct

import jax
import numpy as np
import pytest

from ritz.callbacks import AbstractCallback, LivePlot, never_live
from ritz.callbacks.live_curve import LiveCurve
from ritz.testing import QuadraticDriver
from ritz.testing.quadratic import QuadraticStats
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import run


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n")
    return struct.unpack(">II", png[16:24])


def test_without_a_notebook_there_must_be_a_file():
    with pytest.raises(ValueError, match="this is none; give path='live.png'"):
        LivePlot()


def test_the_file_has_all_rows_at_the_end(tmp_path):
    plot = LivePlot(path=tmp_path / "pictures" / "live.png", exact=1.0)
    driver = QuadraticDriver(noise=0.1)
    driver.run(30, callback=plot, show_progress=False)
    (axes,) = plot.figure().axes
    curve, exact = axes.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(30))
    np.testing.assert_array_equal(exact.get_ydata(), [1.0, 1.0])
    assert len(axes.collections) == 1  # the band of errors
    assert size((tmp_path / "pictures" / "live.png").read_bytes()) == (1050, 510)


def test_a_later_run_goes_on_with_the_curve(tmp_path):
    plot = LivePlot(path=tmp_path / "live.svg")
    driver = QuadraticDriver()
    driver.run(10, callback=plot, show_progress=False)
    driver.run(10, callback=plot, show_progress=False)
    (axes,) = plot.figure().axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), np.arange(20))
    assert b"<svg" in (tmp_path / "live.svg").read_bytes()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("live.txt", "cannot draw into live.txt: a name must end in one of .*.png"),
        (".", "needs the name of a file, and . is a folder"),
        ("file/live.png", "no folder that can be written"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_refused_at_once(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=message):
        LivePlot(path=path)


def test_a_full_disk_is_told_once_and_the_run_goes_on(tmp_path, caplog):
    plot = LivePlot(path=tmp_path / "live.png", min_interval=0.0)
    (tmp_path / "live.png.tmp").mkdir()  # in the way of the file
    driver = QuadraticDriver()
    driver.run(3, callback=plot, show_progress=False)
    assert driver.step_count == 3
    (told,) = caplog.messages
    assert "could not draw, and the run goes on: IsADirectoryError: " in told
    (tmp_path / "live.png.tmp").rmdir()
    driver.run(1, callback=plot, show_progress=False)
    assert (tmp_path / "live.png").exists() and len(caplog.messages) == 1


def test_the_error_of_a_run_comes_before_that_of_a_picture(tmp_path, monkeypatch):
    plot = LivePlot(path=tmp_path / "live.png")
    monkeypatch.setattr(LivePlot, "figure", lambda self: 1 / 0)

    def fail(step, log_data, driver):
        raise KeyError("of the run")

    with pytest.raises(KeyError, match="of the run"):
        QuadraticDriver().run(3, callback=[fail, plot], show_progress=False)


class Odd(AbstractCallback):
    """Logs infinite and missing error bars, at some steps a number, and an array."""

    is_live = never_live
    logs = ("sometimes",)

    def before_parameter_update(self, step, log_data, driver):
        log_data["infinite"] = QuadraticStats(-math.inf if step == 2 else 1.0, math.inf, 1.0)
        log_data["array"] = np.arange(3)
        if step % 4 == 3:
            log_data["sometimes"] = step


def test_what_is_not_finite_is_left_out(tmp_path, caplog):
    plot = LivePlot("infinite", "array", "sometimes", path=tmp_path / "a.png", logarithmic=["loss"])
    QuadraticDriver().run(10, callback=[Odd(), plot], show_progress=False)
    infinite, array, sometimes = plot.figure().axes
    assert np.count_nonzero(np.isfinite(infinite.get_lines()[0].get_ydata())) == 9
    assert len(array.get_lines()[0].get_xdata()) == 0
    assert sometimes.get_lines()[0].get_xdata().tolist() == [3, 7]
    assert caplog.messages == [
        "LivePlot draws numbers, and leaves out array, which is array([0, 1, 2])"
    ]
    assert (tmp_path / "a.png").exists()


def test_names_in_no_row_are_told(tmp_path, caplog):
    plot = LivePlot(
        "loss", "los", "zzz", "sometimes", path=tmp_path / "a.png", logarithmic=["loss"]
    )
    QuadraticDriver().run(3, callback=[Odd(), plot], show_progress=False)
    assert caplog.messages == [
        "LivePlot: no 'los' in the first row; did you mean loss?",
        "LivePlot: no 'zzz' in the first row; there are: array, infinite, loss, wallclock.",
        "LivePlot: no 'sometimes' in any row; there are: array, infinite, loss, wallclock.",
    ]
    assert plot.figure().axes[0].get_yscale() == "log"


def test_a_long_curve_keeps_its_extremes_and_their_errors():
    curve, values = LiveCurve(), np.random.default_rng(0).normal(size=40_000)
    values[[7, 12_345, 33_333]] = 9.0, -9.0, math.nan
    for step, value in enumerate([*values, 0.0]):
        curve.add(step, value, abs(value))
    steps, kept, errors = curve.rows.T
    assert len(curve) == len(kept) <= 3000
    assert {0, 7, 12_345, 40_000} <= set(steps.tolist())
    assert np.all(np.diff(steps) > 0) and np.diff(steps).max() < 128
    np.testing.assert_array_equal(kept[:-1], values[steps[:-1].astype(int)])
    np.testing.assert_array_equal(errors, abs(kept))
    curve.cut(20_000)
    assert curve.rows[-1, 0] < 20_000 and len(curve) > 500


def test_other_processes_keep_and_draw_nothing(tmp_path, monkeypatch):
    plot = LivePlot(path=tmp_path / "live.png", min_interval=0.0)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(LiveCurve, "add", lambda *args: pytest.fail("a row was kept"))
    QuadraticDriver().run(5, callback=plot, show_progress=False)
    assert not list(tmp_path.iterdir())


def test_blocks_are_as_long_as_without_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("ritz.driver.blocks.plan.SECONDS", 1e6)  # lengths depend on steps alone
    lengths = []
    for callbacks in ([], [LivePlot(path=tmp_path / "live.png", min_interval=0.0)]):
        driver = NoisyDriver()
        log = run(driver, 60, *callbacks)
        lengths.append((log["block"].iters, log["block"].values))
    np.testing.assert_array_equal(lengths[0], lengths[1])
    assert max(lengths[0][1]) > 30


def test_it_draws_at_intervals_only(tmp_path, monkeypatch):
    drawn = []
    plot = LivePlot(path=tmp_path / "live.png", min_interval=1000.0)
    monkeypatch.setattr(LivePlot, "_show", lambda self: drawn.append(1))
    QuadraticDriver().run(50, callback=plot, show_progress=False)
    assert drawn == [1]  # at the end
    plot.min_interval = 0.0
    QuadraticDriver().run(50, callback=plot, show_progress=False)
    assert len(drawn) == 52


CELLS = (
    """
from ritz.callbacks import LivePlot
from ritz.testing import QuadraticDriver

driver = QuadraticDriver(noise=0.1)
driver.run(40, callback=LivePlot(min_interval=0.0), show_progress=False)
""",
    "driver.run(20)",
    "driver",
)


@pytest.mark.medium
def test_a_notebook_has_one_picture_that_is_updated_in_place(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    *displays, _ = ([o for o in c.outputs if o.output_type == "display_data"] for c in book.cells)
    picture, bar = displays
    table = book.cells[2].outputs
    assert len(picture) == len(bar) == 1
    png = base64.b64decode(picture[0].data["image/png"])
    assert size(png) == (700, 340)
    assert len({bytes(row) for row in pixels(png)}) > 20
    assert "20/20 steps" in bar[0].data["text/html"]
    assert "<td" in table[0].data["text/html"] and "60" in table[0].data["text/html"]


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)))

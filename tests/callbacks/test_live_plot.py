"""A picture of a run in a file, and in the kernel of a notebook."""

import base64
import io
import struct

import numpy as np
import pytest

from ritz.callbacks import LivePlot
from ritz.testing import QuadraticDriver


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


def test_quantities_that_come_at_some_steps_only(tmp_path):
    plot = LivePlot("loss", "never", path=tmp_path / "live.png", logarithmic=["loss"])
    QuadraticDriver().run(10, callback=plot, show_progress=False)
    top, bottom = plot.figure().axes
    assert top.get_yscale() == "log"
    assert len(bottom.get_lines()[0].get_xdata()) == 0


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

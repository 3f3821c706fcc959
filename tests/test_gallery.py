"""Notebooks of the gallery run, and their pages show the cells that they have now."""

import importlib.util
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.netket

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "gallery"


def _renderer():
    spec = importlib.util.spec_from_file_location("render", ROOT / "examples/gallery/render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


render = _renderer()
STALE = "is older than its source: run `make gallery`"


@pytest.mark.parametrize("name", render.names())
def test_pages_are_those_of_the_sources(name):
    cells = render.read_cells(name)
    page = (PAGES / f"{name}.md").read_text()
    place = 0
    for cell in cells[1:]:
        place = page.find(cell.text, place)
        assert place >= 0, f"docs/gallery/{name}.md {STALE}"
    assert page.count("```python\n") == sum(not cell.markdown for cell in cells)
    assert (PAGES / f"{name}.ipynb").read_text() == render.notebook(cells), STALE
    for picture in PAGES.glob(f"{name}-*.png"):
        assert f"]({picture.name})" in page and picture.stat().st_size < 150_000


@pytest.mark.parametrize("name", render.names())
def test_pages_have_their_place_in_the_navigation(name):
    assert f": gallery/{name}.md\n" in (ROOT / "mkdocs.yml").read_text()


def test_a_cell_gives_what_it_prints_and_its_last_value(tmp_path):
    namespace = {}
    assert render.execute("x = 2\nprint('two')\nx + 1", namespace) == "two\n3"
    assert render.execute("None", namespace) == "" and namespace["x"] == 2


def test_notebooks_are_of_the_format_that_jupyter_reads():
    whole = json.loads(render.notebook([render.Cell(True, "# A\n\nb"), render.Cell(False, "1")]))
    text, code = whole["cells"]
    assert text["source"] == ["# A\n", "\n", "b"] and code["outputs"] == []
    assert (whole["nbformat"], code["execution_count"]) == (4, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", render.names())
def test_notebooks_run(name, tmp_path):
    Path("tio2").symlink_to(ROOT / "tests" / "data" / "tio2")
    render.render(name, tmp_path)
    page = (tmp_path / f"{name}.md").read_text()
    assert len(list(tmp_path.glob("*.png"))) == page.count("![](") > 0

"""The page in a real browser; left out where there is none."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ritz.report import write_report
from tests.report.folders import add_details, add_evaluation, lattice_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.medium,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for field in (0.5, 1.0):
        run = lattice_run(folder / f"field={field}", field)
        add_evaluation(run)
        add_details(run)
    return write_report([folder], folder / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Any, file: Path, width: int, **settings: Any) -> tuple[Any, list, list]:
    """The page, what it has asked for, and its errors."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(file.as_uri())
    return page, requests, errors


def test_the_exact_value_is_within_the_frame(browser: Any, tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    summary = run / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"exact": -50.0}))
    page, _, errors = opened(browser, write_report(run, tmp_path / "report.html"), 1280)
    page.wait_for_selector(".curves .bk-Figure canvas")
    find = """
        Bokeh.documents.flatMap((d) => [...d._all_models.values()])
        .filter((m) => m.type === "Figure" && m.y_range.start < -40).map((m) => m.y_range.start)
    """
    page.wait_for_function(f"{find}.length > 0")
    (lowest,) = page.evaluate(find)
    assert -60 < lowest <= -50
    assert errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_are_drawn_and_nothing_leaves(
    browser: Any, file: Path, width: int, scheme: str
) -> None:
    page, requests, errors = opened(browser, file, width, color_scheme=scheme)
    page.wait_for_selector(".curves .bk-Figure canvas")
    outside = [url for url in requests if not url.startswith(("data:", "blob:"))]
    assert outside == [file.as_uri()]
    assert errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.locator(".curves .static").first.is_visible()


def test_details_of_a_run_are_drawn_when_they_are_opened(browser: Any, file: Path) -> None:
    page, _, errors = opened(browser, file, 1280)
    page.wait_for_selector(".curves .bk-Figure canvas")
    run = page.locator("details.run").first
    run.locator("summary").first.click()
    drawn = run.locator(".bk-Figure")
    assert drawn.count() == 3  # step times, energies and forces
    assert all(drawn.nth(place).bounding_box()["width"] > 200 for place in range(3))
    assert errors == []


def test_without_javascript_there_are_static_pictures(browser: Any, file: Path) -> None:
    page, _, _ = opened(browser, file, 390, java_script_enabled=False)
    assert page.locator(".curves .static svg").first.is_visible()
    assert page.locator(".curves .interactive").first.is_hidden()
    box = page.locator(".curves .static svg").first.bounding_box()
    assert box["width"] <= 390

"""Pages about several runs."""

import json
from pathlib import Path

import pytest

from ritz.plotting import open_runs, panels_of
from ritz.report import facts_of, write_report
from ritz.report.interactive import panel_figures
from ritz.report.page import _group
from tests.report.folders import add_checkpoint, add_details, add_evaluation, lattice_run
from tests.report.pages import Page, page_of


def change_summary(folder: Path, **entries: object) -> None:
    """Put entries into the summary of a run."""
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.mark.medium
def test_five_runs_with_everything_are_a_page_of_less_than_3_mb(tmp_path: Path) -> None:
    for field in range(5):
        run = lattice_run(tmp_path / "sweep" / f"field={field}", float(field), steps=2000)
        add_evaluation(run)
        add_details(run)
    file = write_report(tmp_path / "sweep", tmp_path / "report.html")
    assert file.stat().st_size < 3e6
    assert "5 runs" in Page(file).text


def test_a_run_without_rows_leaves_the_curves_of_the_others(tmp_path: Path) -> None:
    runs = [lattice_run(tmp_path / name) for name in ("a", "b", "empty")]
    (runs[2] / "train.csv").write_text("step\n")
    page = page_of(*runs)
    assert "No curves: empty has no rows yet." in page.text
    assert "Bands are one standard error" in page.text


@pytest.mark.medium
def test_a_damaged_log_leaves_the_curves_of_the_others(tmp_path: Path) -> None:
    runs = [lattice_run(tmp_path / name) for name in ("a", "b", "damaged")]
    (runs[2] / "train.csv").write_text("nonsense\n")
    page = page_of(*runs)
    assert "No curves of damaged: train.csv cannot be read" in page.text
    assert "Bands are one standard error" in page.text
    (runs[1] / "train.log").write_text("{")
    assert "Curves of b are from train.csv: train.log cannot be read" in page_of(*runs).text


@pytest.mark.medium
def test_suspect_results_have_no_error_bar(tmp_path: Path) -> None:
    runs = [lattice_run(tmp_path / f"field={field}", field) for field in (0.5, 1.0)]
    change_summary(runs[1], suspect="r_hat")
    page = page_of(*runs)
    assert "-10.500 ± 0.012" in page.cells
    assert "-11 (suspect: r_hat)" in page.cells
    assert "suspect" in page.svg


def test_versions_and_machines_that_differ_are_columns(tmp_path: Path) -> None:
    for name, jax in (("a", "0.9.1"), ("b", "0.9.2")):
        stage = lattice_run(tmp_path / name) / "checkpoints" / "train"
        versions = {"jax": jax, "numpy": "2.4"}
        add_checkpoint(stage, 40, "2026-01-02 03:04:05+0000", versions=versions)
    lattice_run(tmp_path / "unknown")
    page = page_of(tmp_path)
    heads = page.cells[: page.cells.index("a")]
    assert "jax" in heads and "numpy" not in heads


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [lattice_run(tmp_path / place / "ising") for place in ("a", "b")]
    page = page_of(*runs)
    assert {"a/ising", "b/ising"} <= set(page.cells)


def test_one_path_is_enough_and_none_is_told(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    assert "finished all steps" in Page(write_report(str(run), tmp_path / "a.html")).text
    with pytest.raises(ValueError, match="a report needs at least one run"):
        write_report([], tmp_path / "b.html")


@pytest.mark.parametrize(("exact", "n_lines"), [(None, 0), (-30.0, 1)])
def test_the_frame_holds_the_exact_value(tmp_path: Path, exact: float | None, n_lines: int) -> None:
    panels = panels_of(open_runs([lattice_run(tmp_path / "run")]))
    first, *others = panel_figures(panels, exact, "exact")
    values = [r.data_source.data["y"] for r in first.renderers if "y" in r.data_source.data]
    assert values == [[exact, exact]] * n_lines
    assert not any("y" in r.data_source.data for plot in others for r in plot.renderers)


def test_runs_with_other_exact_values_have_no_line(tmp_path: Path) -> None:
    runs = [lattice_run(tmp_path / f"{field}", field) for field in (0.5, 1.0)]
    same = lattice_run(tmp_path / "same", 1.0)
    figures: dict = {}
    other = _group("x", None, [facts_of(run) for run in runs], figures, [])
    agreeing = _group("y", None, [facts_of(run) for run in (runs[1], same)], figures, [])
    assert "exact" not in other["svg"] and "exact -11.5" in agreeing["svg"]

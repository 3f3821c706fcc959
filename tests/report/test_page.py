from pathlib import Path

import pytest

from ritz.cli.main import main
from ritz.report import write_report
from tests.report.folders import add_details, add_evaluation, lattice_run
from tests.report.pages import Page


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = lattice_run(tmp_path_factory.mktemp("runs") / "h & <i>")
    add_evaluation(folder)
    add_details(folder)
    page = folder.parent / "report.html"
    assert main(["report", str(folder), "-o", str(page)]) == 0
    return Page(page)


@pytest.mark.medium
def test_results_with_errors_and_the_end_of_the_run(single: Page) -> None:
    assert "energy -11.000 ± 0.012" in single.text
    assert "finished all steps" in single.text
    assert "exact" in single.text and "-11.5" in single.text


def test_text_of_runs_is_escaped(single: Page) -> None:
    assert "h & <i>" in single.text
    assert "<b>careful</b> & so on" in single.text


def test_warnings_are_told_and_not_each_end(single: Page) -> None:
    assert "all done. Its last row is suspect: r_hat." in single.text
    assert "stopped by Plateau" not in single.text


def test_digest_with_doubts(single: Page) -> None:
    assert "-11.00000 ± 0.00040" in single.text
    assert "r_hat" in single.text and "1.4000" in single.text
    assert "51,200" in single.text


def test_parity_of_all_values_though_a_sample_is_drawn(single: Page) -> None:
    assert "2 energies: RMSE 2, MAE 2 meV/atom" in single.text
    assert "5,000 components of forces: RMSE 0.1, MAE 0.1 eV/Å; a sample is drawn" in single.text


def test_time_of_hooks_and_steps(single: Page) -> None:
    assert "62.50%" in single.text
    assert "0.01 s" in single.text


def test_configuration(single: Page) -> None:
    assert "class_path: TransverseIsing" in single.text


def test_nothing_outside_of_the_page_is_named(single: Page) -> None:
    outside = [link for link in single.links if not link.startswith(("#", "data:"))]
    assert outside == []


def test_several_runs_have_a_table_of_what_differs(tmp_path: Path) -> None:
    for field in (0.5, 1.0, 1.5):
        lattice_run(tmp_path / "sweep" / f"field={field}", field)
    file = write_report([tmp_path / "sweep"], tmp_path / "report.html")
    text = Page(file).text
    assert "3 runs" in text
    assert "What differs" in text
    assert "-10.500 ± 0.012" in text and "-11.500 ± 0.012" in text
    assert file.stat().st_size < 3e6


def test_a_log_without_a_run_folder(tmp_path: Path) -> None:
    log = lattice_run(tmp_path / "run") / "train.csv"
    text = Page(write_report([log], tmp_path / "report.html")).text
    assert "Convergence" in text and "Configuration" not in text


def test_a_run_that_has_no_rows_yet(tmp_path: Path) -> None:
    folder = lattice_run(tmp_path / "run", steps=0)
    text = Page(write_report([folder], tmp_path / "report.html")).text
    assert "No curves" in text


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert f"there is no run {tmp_path / 'nothing'}" in capsys.readouterr().err


def test_other_kinds_of_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = lattice_run(tmp_path / "run")
    assert main(["report", str(folder), "-o", "report.pdf"]) == 2
    assert "-o writes a page of HTML, .html, but 'report.pdf'" in capsys.readouterr().err

"""Pages about runs of each domain."""

from pathlib import Path

import pytest

from ritz.cli.domains import view_of
from ritz.plotting import draw_runs
from tests.report.folders import add_checkpoint, molecule_run, relaxation_run, training_run
from tests.report.pages import page_of


def test_a_molecule_has_units_and_no_panel_of_a_vector(tmp_path: Path) -> None:
    page = page_of(molecule_run(tmp_path / "run"), view_of=view_of)
    assert "energy -7.49990 ± 0.00040 hartree" in page.text
    assert "variance" in page.svg and "(hartree²)" in page.svg
    assert "acceptance" not in page.svg


def test_further_quantities_are_drawn_below_all_others(tmp_path: Path) -> None:
    folder = molecule_run(tmp_path / "run")
    log = folder / "train.csv"
    header, *rows = log.read_text().splitlines()
    lines = [f"{header},radius", *(f"{row},{place}" for place, row in enumerate(rows))]
    log.write_text("\n".join(lines) + "\n")
    page = page_of(folder, view_of=view_of, quantities=["radius"])
    labels = ["energy", "variance", "radius"]
    assert [text for text in page.svg if text in labels] == labels
    with pytest.raises(ValueError, match="no run has a quantity 'radios'; there are: .*radius"):
        page_of(folder, view_of=view_of, quantities=["radios"])
    picture = draw_runs([folder], "radius", view=view_of(folder))
    assert len(picture.axes[0].lines) == 1  # and none at the reference energy


def test_a_training_has_its_errors_and_the_picture_of_known_values(tmp_path: Path) -> None:
    page = page_of(training_run(tmp_path / "run"), view_of=view_of)
    assert "RMSE energy 2 meV/atom, RMSE force 0.05 eV/Å" in page.text
    assert "2 energies: RMSE 2, MAE 2 meV/atom" in page.text  # the third one is not known
    assert "known energy (eV/atom)" in page.svg


@pytest.mark.parametrize("table", ["relaxed.csv", "found.csv"])
def test_a_relaxation_has_its_structures_those_that_failed_first(
    tmp_path: Path, table: str
) -> None:
    page = page_of(relaxation_run(tmp_path / "run", table), view_of=view_of)
    assert "converged structures 1 of 2" in page.text
    assert "2 of 2 structures" in page.text
    assert page.cells.index("b.cif") < page.cells.index("a.cif")
    assert "largest force" in page.svg


def test_potentials_are_compared_in_units_of_the_rest_of_the_page(tmp_path: Path) -> None:
    runs = [training_run(tmp_path / f"run{n}", rmse) for n, rmse in enumerate((0.002, 0.003))]
    page = page_of(*runs, view_of=view_of)
    assert {"2 meV/atom", "3 meV/atom"} <= set(page.cells)
    assert "RMSE_energy (meV/atom)" in page.svg


def test_evaluations_of_older_parameters_are_told(tmp_path: Path) -> None:
    run = training_run(tmp_path / "run")
    add_checkpoint(run / "checkpoints" / "train", 20, "2020-01-01 00:00:00+0000")
    assert "Of parameters before step" not in page_of(run).text
    add_checkpoint(run / "checkpoints" / "train", 60, "2099-01-01 00:00:00+0000")
    page = page_of(run)
    assert "Of parameters before step 60: the training has continued since" in page.text

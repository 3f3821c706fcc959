"""Files that are damaged, or hold something else."""

from pathlib import Path

import numpy as np
import pytest

from ritz.report import facts_of
from ritz.stages import read_digest
from tests.report.folders import add_details, add_evaluation, lattice_run, relaxation_run
from tests.report.pages import page_of

FILES = ("digest.npz", "parity.npz", "hook_timing.csv", "relaxed.csv", "summary.json", "sweep.json")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff\xfe\x00", b"a,b\n1,2\n", b'{"a": '])
def test_what_a_damaged_file_would_tell_is_left_out(tmp_path: Path, content: bytes) -> None:
    run = lattice_run(tmp_path / "run")
    for name in FILES:
        (run / name).write_bytes(content)
    facts = facts_of(run)
    assert facts.log is not None and facts.result == {}
    assert not (facts.digest or facts.parity or facts.timing or facts.structures)


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_arrays_that_were_cut_off(tmp_path: Path, part: float) -> None:
    run = lattice_run(tmp_path / "run")
    add_evaluation(run)
    add_details(run)
    for name in ("digest.npz", "parity.npz"):
        content = (run / name).read_bytes()
        assert content.startswith(b"PK")
        (run / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="is no digest"):
        read_digest(run)
    facts = facts_of(run)
    assert facts.digest == {} and facts.parity == {}
    page = page_of(run)
    assert "Convergence" in page.text and "Evaluation" not in page.text


def test_arrays_with_other_fields(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    np.savez(run / "digest.npz", **{"Energy.mean": np.asarray(1.0)})
    np.savez(run / "parity.npz", energy=np.ones(3), force=np.array([["a"], ["b"]]))
    facts = facts_of(run)
    assert facts.digest == {} and facts.parity == {}


@pytest.mark.parametrize(
    "line", ["Mine,on_step_end,40,soon,0.5", "Mine,on_step_end", "Mine,on_step_end,4,nan,0.5"]
)
def test_a_table_of_hooks_with_other_cells(tmp_path: Path, line: str) -> None:
    run = lattice_run(tmp_path / "run")
    (run / "hook_timing.csv").write_text(f"callback,hook,calls,seconds,share\n{line}\n")
    assert facts_of(run).timing == []


def test_structures_with_cells_missing_and_too_many(tmp_path: Path) -> None:
    run = relaxation_run(tmp_path / "run")
    with open(run / "relaxed.csv", "a") as table:
        table.write("c.cif,0\nd.cif,0,Cu,1,-1,0,converged,1,,more,and more\n")
    assert {"c.cif", "d.cif"} <= set(page_of(run).cells)


def test_errors_that_are_not_finite(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    text = (run / "train.csv").read_text()
    (run / "train.csv").write_text(text.replace("0.5,0.02", "0.5,inf", 1))
    page = page_of(run)
    assert "Bands are one standard error" in page.text and "step" in page.svg

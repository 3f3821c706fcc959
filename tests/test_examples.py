"""The examples run and give what they promise."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.netket

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_heisenberg_chain(capsys):
    example = runpy.run_path(str(FOLDER / "heisenberg_chain.py"))
    energy, reason = example["main"]()
    assert 0 < (energy - example["EXACT"]) / abs(example["EXACT"]) < 5e-3
    assert "PlateauStopping" in reason or reason == "finished all steps"


@pytest.mark.medium
def test_trust_region(capsys):
    example = runpy.run_path(str(FOLDER / "trust_region.py"))
    exact = example["ising_chain_energy"](8, 1.0)
    plain, kept = (log.data["Energy"]["Mean"].real for log in example["main"]())
    assert np.max(np.diff(plain)) > 1 and plain[-1] > exact / 2
    assert np.all(np.diff(kept) < 0)
    assert 0 < (kept[-1] - exact) / abs(exact) < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_active_learning(capsys, tmp_path):
    example = runpy.run_path(str(FOLDER / "active_learning.py"))
    rounds = example["main"](n_rounds=2, epochs=100, n_test=3, steps=60)
    assert rounds[0].n_structures == 20 and rounds[-1].n_structures > 30
    for name in ("energy_error", "force_error"):
        assert np.all(np.diff([getattr(r, name) for r in rounds]) < 0), name
    example["draw"](rounds, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").is_file()


def test_every_example_is_tested():
    here = Path(__file__).read_text()
    for example in FOLDER.glob("*.py"):
        assert example.name in here

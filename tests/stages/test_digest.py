from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ritz.checkpoint import Checkpoint
from ritz.driver import AbstractDriver
from ritz.stages import Digest, read_digest
from tests.checkpoint.test_checkpoint import go
from tests.driver.tools import at, raising


class Stats(NamedTuple):
    mean: float
    variance: float


class Estimates(AbstractDriver):
    """Two estimates a step, from one generator."""

    def __init__(self):
        super().__init__(type("State", (), {"parameters": np.zeros(1)})(), "Energy")
        self.random = np.random.default_rng(0)

    def reset_step(self):
        pass

    def compute_loss_and_update(self):
        return Stats(*self.random.random(2)), None

    def _log_additional_data(self, log_data):
        log_data["x"] = Stats(complex(*self.random.random(2)), 1.0)
        log_data["note"] = "text"

    def update_parameters(self, update):
        pass

    def snapshot(self):
        return self.random.bit_generator.state

    def restore(self, snapshot, *, fresh_samples=False):
        self.random.bit_generator.state = snapshot


def test_the_digest_holds_every_estimate(caplog):
    caplog.set_level("INFO")
    moments = {"Energy": (3, np.array([0.0, 1.0]), np.array([2.0, 2.0]))}
    go(Estimates(), 40, Digest(interval=20, moments=lambda driver: moments), resume=False)
    found = read_digest(".")
    assert set(found) == {"Energy", "x"}
    energy = found["Energy"]
    random = np.random.default_rng(0).random((40, 4))
    assert energy.mean == pytest.approx(random[:, 0].mean())
    assert energy.variance == pytest.approx(random[:, 1].mean() + random[:, 0].var())
    assert found["x"].mean == pytest.approx(random[:, 2].mean())  # the real part
    assert energy.n_steps == 40 and energy.n_samples == 6
    assert energy.r_hat == pytest.approx(np.sqrt(2 / 3 + 0.5 / 1))
    assert np.isnan(found["x"].r_hat)
    assert caplog.text.count("preview after") == 2 and "tau" in caplog.text
    with np.load("digest.npz") as saved:
        assert saved["n_steps"] == 40 and saved["Energy.mean"] == energy.mean


def test_a_row_is_averaged_once_after_a_crash():
    go(Estimates(), 30, Digest(folder="whole"), resume=False)
    with pytest.raises(ArithmeticError):
        go(
            Estimates(),
            30,
            Digest(),
            Checkpoint("ck", every_steps=10),
            at(17, raising(ArithmeticError()), "on_step_end"),
        )
    assert not Path("digest.npz").exists()
    nothing = at(-1, raising(ArithmeticError()), "on_step_end")
    go(Estimates(), 30, Digest(), Checkpoint("ck", every_steps=10), nothing)
    whole, resumed = read_digest("whole"), read_digest("digest.npz")
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])
    # Once more: it has ended, and nothing is averaged again.
    go(Estimates(), 30, Digest(), Checkpoint("ck", every_steps=10), nothing)
    np.testing.assert_array_equal(read_digest(".")["Energy"], whole["Energy"])


def test_rows_that_come_twice_are_an_error():
    digest = Digest(folder=None)
    row = {"Energy": Stats(1.0, 1.0)}
    digest.before_parameter_update(0, row, None)
    digest.before_parameter_update(1, row, None)
    with pytest.raises(RuntimeError, match="step 1 was averaged already"):
        digest.before_parameter_update(1, row, None)
    with pytest.raises(ValueError, match="'y' is to be averaged but not logged; this run logs: En"):
        Digest(("y",)).before_parameter_update(0, row, None)


def test_a_missing_digest_is_told():
    with pytest.raises(ValueError, match="is no digest"):
        read_digest("nothing")

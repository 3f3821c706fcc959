"""When checkpoints are written, and which are kept."""

import time

import pytest

from ritz.callbacks import LambdaCallback
from ritz.checkpoint import Checkpoint
from tests.checkpoint.test_checkpoint import go, names
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import Halving


def test_saved_steps_and_what_is_kept():
    go(NoisyDriver(), 25, Checkpoint("ck", every_steps=10, max_to_keep=None))
    assert names() == ["00000001", "00000010", "00000020", "00000025-end"]
    go(NoisyDriver(), 25, Checkpoint("few", every_steps=4, max_to_keep=2))
    assert names("few") == ["00000024", "00000025-end"]
    go(NoisyDriver(), 8, Checkpoint("no end", every_steps=4, save_on_stop=False))
    assert names("no end") == ["00000001", "00000004", "00000008"]


def test_each_interval_acts_on_its_own():
    class Slow(Halving):
        def reset_step(self):
            time.sleep(0.06)

    saved = []
    saving = Checkpoint("ck", every_steps=1000, every_seconds=0.1)
    look = LambdaCallback(order=50, on_step_start=lambda *_: saved.append(saving.last_saved))
    go(Slow(), 8, saving, look)
    steps = {entry.step for entry in saved if entry is not None}
    assert 1 in steps and len(steps) >= 3


def test_the_default_interval_is_a_minute():
    assert Checkpoint("ck").every_seconds == 60
    assert Checkpoint("ck", every_steps=5).every_seconds is None


def test_the_best_are_kept():
    class Series(Halving):
        def compute_loss_and_update(self):
            return [5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0, 8.0][self.step_count], 0.0

    saving = Checkpoint("ck", every_steps=1, max_to_keep=1, keep_best=("loss", "min", 2))
    go(Series(), 8, saving)
    assert names() == ["00000002", "00000004", "00000008-end"]
    largest = Checkpoint("max", every_steps=1, max_to_keep=1, keep_best=("loss", "max", 1))
    go(Series(), 5, largest)
    assert names("max") == ["00000001", "00000005-end"]
    # Known again by another process.
    go(Series(), 8, Checkpoint("ck", every_steps=1, max_to_keep=1, keep_best=("loss", "min", 1)))
    assert names() == ["00000002", "00000008-end"]
    with pytest.raises(ValueError, match="monitor 'los' is not logged"):
        go(Series(), 3, Checkpoint("typo", keep_best=("los", "min", 1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_steps": 0}, "every_steps must be a whole number of at least 1, but 0"),
        ({"every_seconds": -1}, "every_seconds must be"),
        ({"max_to_keep": 0}, "max_to_keep must be a whole number of at least 1, but 0"),
        ({"keep_best": "Energy"}, r"keep_best takes \(monitor, mode, k\)"),
        ({"keep_best": ("Energy", "low", 1)}, "mode in keep_best must be 'min' or 'max'"),
        ({"keep_best": (1, "min", 2)}, "monitor in keep_best must be the name of a quantity"),
        ({"keep_best": ("Energy", "min", 0)}, "k in keep_best must be"),
        ({"accept_changes": "optimizer"}, r"takes names in a list, such as \['optimizer'\]"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Checkpoint("ck", **arguments)

import io
import math
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import (
    AutoChunkSize,
    BestState,
    HookTiming,
    LambdaCallback,
    NormMonitor,
    Observables,
    ParameterEMA,
    ProgressBar,
    ReduceLROnPlateau,
    StopRun,
    TrustRegion,
)
from ritz.driver import AbstractDriver
from ritz.testing import QuadraticDriver
from tests.driver.tools import run


class Scripted(QuadraticDriver):
    """Losses and error bars from a list; the parameters tell the step."""

    def __init__(self, losses, errors):
        super().__init__()
        self.script = list(zip(losses, errors, strict=True))
        self.parameters = np.array([0.0])

    def compute_loss_and_update(self):
        mean, error = self.script[self.step_count]
        return self._loss(self.parameters)._replace(mean=mean, error_of_mean=error), np.ones(1)

    def update_parameters(self, update):
        self.parameters = self.parameters + update


def test_best_state_judges_by_mean_plus_error():
    driver = Scripted([3.0, 1.0, 2.0, 2.5], [0.1, 2.0, 0.1, 0.1])
    best, naive = BestState(z=1.0), BestState(z=0.0)
    naive.name = "naive"
    run(driver, 4, best, naive)
    assert (best.best_step, best.best_value, best.best_score) == (2, 2.0, 2.1)
    assert naive.best_step == 1
    assert best.parameters.tolist() == [2.0]  # those that the loss was computed with


@pytest.mark.parametrize("how", ["finished", "stopped", "failed"])
def test_best_state_restores_however_the_run_ends(how):
    driver = Scripted([3.0, 1.0, 2.0, 2.5, 9.0], [0.1] * 5)

    def end(step, log_data, driver):
        if step == 3 and how == "stopped":
            raise StopRun
        if step == 3 and how == "failed":
            raise ArithmeticError

    ending = LambdaCallback(on_step_end=end)
    if how == "failed":
        with pytest.raises(ArithmeticError):
            run(driver, 5, BestState(restore=True), ending)
    else:
        run(driver, 5, BestState(restore=True), ending)
    assert driver.parameters.tolist() == [1.0]


def test_best_state_without_restore_leaves_the_parameters():
    driver = Scripted([1.0, 2.0], [0.1] * 2)
    best = BestState(mode="max")
    run(driver, 2, best)
    assert driver.parameters.tolist() == [2.0] and best.best_step == 1
    best.load_into(driver)
    assert driver.parameters.tolist() == [1.0]


def test_ema_is_the_weighted_mean():
    driver, ema = QuadraticDriver(), ParameterEMA(decay=0.8, start_from_step=1)
    seen = []
    run(driver, 5, LambdaCallback(on_step_end=lambda s, _, d: seen.append(d.parameters)), ema)
    weights = 0.8 ** np.arange(3, -1, -1)
    expected = np.average(seen[1:], axis=0, weights=weights)
    np.testing.assert_allclose(ema.parameters, expected, rtol=1e-14)


def test_ema_keeps_the_precision_of_numpy():
    import subprocess

    code = (
        "from ritz.callbacks import ParameterEMA\n"
        "from ritz.testing import QuadraticDriver\n"
        "d, e = QuadraticDriver(), ParameterEMA(0.9)\n"
        "d.run(3, callback=e, show_progress=False)\n"
        "print(e.parameters.dtype)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "float64\n"


def test_ema_swaps_and_puts_back():
    driver, ema = QuadraticDriver(), ParameterEMA(0.9)
    with pytest.raises(RuntimeError, match="run at least one step first"), ema.swapped(driver):
        pass
    run(driver, 3, ema)
    own = driver.parameters
    with pytest.raises(KeyError), ema.swapped(driver):
        np.testing.assert_array_equal(driver.parameters, ema.parameters)
        raise KeyError
    assert driver.parameters is own


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_ema_decay(decay):
    with pytest.raises(ValueError, match="decay must be"):
        ParameterEMA(decay)


def test_reduce_lr_lowers_and_cools_down():
    driver = Scripted([1.0] * 12, [0.0] * 12)
    data = run(driver, 12, ReduceLROnPlateau(factor=0.1, patience=1, cooldown=2, min_scale=0.005))
    scales = data["rate_scale"].values
    np.testing.assert_allclose(scales, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.005])
    assert driver.rate_scale == 0.005


def test_reduce_lr_needs_a_driver_that_obeys():
    class Deaf(QuadraticDriver):
        adjustable = frozenset()

    with pytest.raises(TypeError, match=r"adjusts driver.rate_scale, which Deaf does not use"):
        run(Deaf(), 1, ReduceLROnPlateau())


def test_trust_region_raises_the_damping_until_the_trial_is_good():
    driver = QuadraticDriver(rate=4.4)  # theta - 8.8 theta: far too long a step
    data = run(driver, 6, TrustRegion(z=0.0, factor=4.0, relax=2.0))
    losses = data["loss"]["mean"]
    assert np.all(np.diff(losses) <= 0)
    assert data["attempts"].values[0] == 3  # damping 16
    assert data["damping_scale"].values[:2].tolist() == [16.0, 8.0]
    assert np.all(data["trial_loss"].values <= losses)
    assert driver.step_count == driver.updates == 6


def test_trust_region_lowers_the_rate_instead():
    driver = QuadraticDriver(rate=4.4)
    data = run(driver, 1, TrustRegion(z=0.0, adjust="rate"))
    assert data["rate_scale"].values.tolist() == [1 / 16]
    assert driver.damping_scale == 1.0


def test_trust_region_rejects_nan_and_gives_up_at_its_limit():
    class Broken(QuadraticDriver):
        def trial_loss(self, update):
            return self._loss(self.parameters)._replace(mean=math.nan)

    data = run(Broken(), 1, TrustRegion(factor=10, limit=1000))
    assert data["attempts"].values.tolist() == [4]


def test_trust_region_allows_for_noise():
    class Worse(QuadraticDriver):
        def trial_loss(self, update):
            return self._loss(self.parameters)._replace(mean=self.loss.mean + 0.5)

    driver = Worse(noise=1.0)
    assert "attempts" not in run(driver, 1, TrustRegion(z=1.0))
    assert "attempts" not in run(driver, 1, TrustRegion(z=0.0, tolerance=0.6))
    with pytest.raises(ValueError, match="adjust must be one of damping, rate"):
        TrustRegion(adjust="both")


def test_norms():
    data = run(QuadraticDriver(), 3, NormMonitor(interval=2))
    assert data["norms"]["parameters"].iters.tolist() == [0, 2]
    np.testing.assert_allclose(data["norms/parameters"].values, [math.sqrt(2), math.sqrt(2) / 4])
    np.testing.assert_allclose(data["norms/update"].values, [2 * math.sqrt(2), math.sqrt(2) / 2])
    np.testing.assert_allclose(data["norms/update_max"].values, [2, 0.5])


def test_hook_timing_measures_each_hook():
    import time

    timing = HookTiming()
    slow = LambdaCallback(on_step_end=lambda *_: time.sleep(0.01), on_run_start=lambda *_: None)
    slow.name = "slow"
    run(QuadraticDriver(), 3, slow, timing)
    assert timing.calls["LambdaCallback:slow", "on_step_end"] == 3
    assert timing.calls["LambdaCallback:slow", "on_run_start"] == 1
    assert timing.seconds["LambdaCallback:slow", "on_step_end"] >= 0.03
    first = timing.table().splitlines()[1]
    assert first.startswith("LambdaCallback:slow") and "on_step_end" in first
    assert timing.total >= 0.03


class Hungry(QuadraticDriver):
    """Fails for chunks above `fits`, with the given error."""

    def __init__(self, fits, error):
        super().__init__(noise=0.1)
        self.fits, self.error, self.tried = fits, error, []

    def compute_loss_and_update(self):
        size = self.chunk_sizes["samples"] or self.whole_sizes["samples"]
        if self.step_count == 0:
            self.tried.append(size)
        stats = super().compute_loss_and_update()  # also uses up random numbers
        if size > self.fits:
            raise self.error
        return stats


OUT_OF_MEMORY = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError()])
def test_auto_chunk_size_halves_until_it_fits(error):
    driver, auto = Hungry(20, error), AutoChunkSize()
    data = run(driver, 2, auto)
    assert auto.sizes == {"samples": 16}
    assert driver.tried == [64, 32, 16, 16]
    # The trial steps left no trace.
    np.testing.assert_array_equal(
        data["loss"]["mean"], run(QuadraticDriver(noise=0.1), 2)["loss"]["mean"]
    )
    again = Hungry(20, error)
    run(again, 1, auto)
    assert again.tried == [16, 16]


def test_auto_chunk_size_leaves_other_errors_alone():
    other = jax.errors.JaxRuntimeError("INTERNAL: something else")
    driver = Hungry(20, other)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        run(driver, 1, AutoChunkSize())
    assert driver.chunk_sizes == {"samples": None}
    with pytest.raises(MemoryError, match="does not fit into memory even in chunks of"):
        run(Hungry(2, OUT_OF_MEMORY), 1, AutoChunkSize(minimum=8))


def test_observables_at_the_multiples_of_the_interval():
    driver = QuadraticDriver()
    run(driver, 1)
    data = run(driver, 6, Observables({"sum": lambda p: float(np.abs(p).sum())}, interval=3))
    assert data["sum"].iters.tolist() == [3, 6]
    assert data["sum"].values.tolist() == [2 / 2**3, 2 / 2**6]
    with pytest.raises(TypeError, match="observables must be a dict"):
        Observables([1])
    with pytest.raises(ValueError, match="interval must be a whole number of at least 1"):
        Observables({}, interval=0)


def test_observables_without_full_sum():
    class NoSum(QuadraticDriver):
        def _estimate_one(self, observable, fullsum):
            return AbstractDriver._estimate_one(self, observable, fullsum)

    with pytest.raises(NotImplementedError, match="cannot sum over all configurations"):
        run(NoSum(), 1, Observables({"a": 1}, fullsum=True))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_ends_full_and_shows_the_loss(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    QuadraticDriver().run(3)
    last = stream.getvalue().replace("\n", "").split("\r")[-1]
    assert "100%" in last and "| 3/3 [" in last and "loss=1.125 ± 0" in last


def test_bar_counts_from_where_the_run_started(monkeypatch):
    stream = Terminal()
    driver = QuadraticDriver()
    driver.run(5, show_progress=None)
    monkeypatch.setattr(sys, "stderr", stream)
    driver.run(2, show_progress=True)
    assert "| 2/2 [" in stream.getvalue()


@pytest.mark.parametrize("show", [None, False])
def test_no_bar(monkeypatch, show):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    QuadraticDriver().run(3, show_progress=show)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (np.float32(-1.23456789), "-1.23457"), (np.float32("nan"), "nan"), (3, "3"),
        (np.complex64(-1.23456789 + 0.5j), "-1.23457+0.5j"), (complex("nan+infj"), "nan+infj"),
        (jnp.asarray(-1.23456789, jnp.float32), "-1.23457"), (np.array([2.0]), "2"),
    ],
)  # fmt: skip
def test_bar_shows_numbers_of_any_type(monkeypatch, loss, text):
    class Typed(QuadraticDriver):
        bare = True

        def compute_loss_and_update(self):
            stats, update = super().compute_loss_and_update()
            return loss if self.bare else stats._replace(mean=loss), update

        def _log_additional_data(self, log_data):
            if not self.bare:
                self._mark(log_data, {"r_hat": True})

    driver = Typed()
    for driver.bare, mark in ((True, ""), (False, " (suspect: r_hat)")):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        driver.run(2, show_progress=True, on_divergence="ignore")
        assert re.search(re.escape(f"loss={text}{mark}") + "[],]", stream.getvalue())


def test_bar_is_drawn_by_time(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    QuadraticDriver().run(2000, callback=ProgressBar(min_interval=1000), show_progress=False)
    assert stream.getvalue().count("\r") <= 6


def test_the_rate_of_a_bar_forgets_compilation(monkeypatch):
    stream, seconds = Terminal(), [0.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("tqdm.std.time", lambda: seconds[0])

    def pass_time(step, row, driver):
        seconds[0] += 30.0 if step == 0 else 0.1

    callbacks = [LambdaCallback(on_step_start=pass_time), ProgressBar(min_interval=0)]
    QuadraticDriver().run(60, callback=callbacks, show_progress=False)
    shown = stream.getvalue().split("\r")
    assert any("3/60 [<00:05, 10 steps/s" in text for text in shown), shown[:5]
    assert any("50/60 [00:34<00:01, 10 steps/s" in text for text in shown), shown[-3:]
    assert "60/60 [00:35<00:00, 1.67 steps/s" in shown[-1]  # in the end that of the whole run

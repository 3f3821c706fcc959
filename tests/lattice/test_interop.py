"""NetKet's own callbacks and loggers in VMC.run, and Ritz ones in NetKet's drivers."""

import json
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    BestState,
    EarlyStopping,
    HookTiming,
    NormMonitor,
    ParameterEMA,
    ReduceLROnPlateau,
    StopRun,
)
from ritz.driver import StopReason
from ritz.lattice import VMC, as_netket
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from ritz.plotting import read_log
from ritz.updates import SR
from tests.driver.tools import Diary, text
from tests.lattice.models import ISING, SGD, full_state, mc_state

pytestmark = pytest.mark.netket

RULE = SR(1e-2)


def driver():
    return VMC(ISING, SGD, variational_state=mc_state(), update=RULE)


def peer():
    return nk.driver.VMC_SR(
        ISING, SGD, diag_shift=1e-2, variational_state=mc_state(), use_ntk=False
    )


def never_improving(stopping):
    stopping._best_val = -np.inf
    return stopping


# NetKet's in Ritz


def test_netket_stoppers_stop_and_are_named():
    d = driver()
    d.run(30, callback=never_improving(nk.callbacks.EarlyStopping(patience=3)), show_progress=False)
    assert d.step_count == 4  # NetKet decides after the update, and Ritz counts it
    assert d.stop_reason is StopReason.STOPPED
    assert d.stop_message.startswith("stopped by EarlyStopping: EarlyStopping: no improvement")


@pytest.mark.parametrize(
    "callback",
    [
        nk.callbacks.ConvergenceStopping(1e9, patience=2, smoothing_window=1),
        nk.callbacks.Timeout(1e-9),
        nk.callbacks.InvalidLossStopping(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_netket_callbacks_run(callback):
    d = driver()
    d.run(4, callback=callback, show_progress=False)
    expected = {"ConvergenceStopping": 3, "Timeout": 1, "InvalidLossStopping": 4}
    assert d.step_count == expected[type(callback).__name__]


def test_netket_observables_and_bar(capsys):
    from netket._src.callbacks.observables import ObservableCallback
    from netket._src.callbacks.progressbar import ProgressBarCallback

    log, d = RuntimeLog(), driver()
    callbacks = [ObservableCallback({"E2": ISING}, interval=2), ProgressBarCallback(3)]
    d.run(3, out=log, callback=callbacks, show_progress=False)
    assert log.data["E2"].iters.tolist() == [0, 2]
    assert "100%" in capsys.readouterr().err


def test_netket_auto_chunk_size_runs(capsys):
    from netket._src.callbacks.auto_chunk_size import get_forward_operator

    @get_forward_operator.dispatch
    def _operator(d: VMC):
        return d.hamiltonian

    d = driver()
    d.run(1, callback=nk.callbacks.AutoChunkSize(), show_progress=False)
    assert d.step_count == 1


def test_a_netket_callback_of_ones_own_keeps_its_order():
    seen = []

    class Mine(nk.callbacks.AbstractCallback):
        @property
        def callback_order(self):
            return 50

        def before_parameter_update(self, step, log_data, driver):
            seen.append((step, float(log_data["Energy"].mean), driver.step_count))
            if step == 1:
                raise nk.callbacks.StopRun("mine")

    log, d = RuntimeLog(), driver()
    d.run(5, out=log, callback=Mine(), show_progress=False)
    assert [s[0] for s in seen] == [0, 1] and seen[1][1] == log.data["Energy"]["Mean"][1]
    assert d.step_count == 1 and len(log.data["Energy"]) == 2
    assert "mine" in d.stop_message


def test_netket_loggers(tmp_path):
    runtime, ours, d = nk.logging.RuntimeLog(), RuntimeLog(), driver()
    json_log = nk.logging.JsonLog("theirs", save_params_every=1)
    tensorboard = nk.logging.TensorBoardLog("tb")
    state_log = nk.logging.StateLog("states", save_every=1)
    hdf5 = nk.logging.HDF5Log("theirs")
    loggers = (runtime, json_log, state_log, hdf5, tensorboard, ours)
    assert d.run(3, out=loggers, show_progress=False) == loggers
    np.testing.assert_array_equal(runtime.data["Energy"].Mean, ours.data["Energy"]["Mean"])
    document = json.loads(Path("theirs.log").read_text())
    np.testing.assert_allclose(document["Energy"]["Mean"], ours.data["Energy"]["Mean"])
    assert len(list(Path("states").glob("*.mpack"))) >= 3
    with h5py.File("theirs.h5") as file:
        assert file["data/Energy/Mean"].shape == (3,)
    assert list(Path("tb").iterdir())


def test_a_plain_function_with_flush_is_a_logger():
    class Legacy:
        rows = []
        flushed = 0

        def __call__(self, step, item, state):
            self.rows.append((step, item["Energy"].mean, state.parameters))

        def flush(self, state=None):
            self.flushed += 1

    legacy, d = Legacy(), driver()
    start = d.parameters
    d.run(2, out=legacy, show_progress=False)
    assert [row[0] for row in legacy.rows] == [0, 1] and legacy.flushed == 1
    # The parameters of that row.
    jax.tree.map(np.testing.assert_array_equal, legacy.rows[0][2], start)


# Ritz's files in NetKet's hands


def test_netket_reads_what_json_log_writes():
    from netket.utils.history import HistoryDict

    d = driver()
    (log,) = d.run(3, out="run", show_progress=False)
    theirs = nk.logging.RuntimeLog.deserialize("run.log")
    np.testing.assert_array_equal(theirs.data["Energy"].Mean, log.data["Energy"]["Mean"])
    assert HistoryDict.from_file("run.log")["acceptance"].iters.tolist() == [0, 1, 2]
    appended = nk.logging.JsonLog("run", mode="append")
    assert appended._old_step == 2
    # And the variables.
    from flax import serialization

    variables = serialization.from_bytes(d.state.variables, Path("run.mpack").read_bytes())
    assert jax.tree.structure(variables) == jax.tree.structure(d.state.variables)
    jax.tree.map(np.testing.assert_array_equal, variables, d.state.variables)


def test_ritz_reads_what_netket_writes():
    p = peer()
    p.run(3, out="theirs", show_progress=False)
    hdf5 = nk.logging.HDF5Log("theirs")
    p.run(2, out=hdf5, show_progress=False)
    assert read_log("theirs.log")["Energy"]["Mean"].shape == (3,)
    assert read_log("theirs.h5")["Energy"]["Mean"].shape == (2,)


# Ritz's in NetKet


def test_hooks_in_netkets_driver():
    diary = Diary()
    peer().run(2, callback=as_netket(diary), show_progress=False)
    assert text(diary.diary) == "RS SS CS CE BU SE SS CS CE BU SE RE"


def test_ritz_stoppers_in_netkets_driver(capsys):
    p, log = peer(), nk.logging.RuntimeLog()
    stopping = never_improving(EarlyStopping("Energy.mean", patience=3))
    p.run(30, out=log, callback=as_netket(stopping), show_progress=False)
    assert len(log.data["Energy"]) == 4  # the row of the last step is not lost
    assert "has not improved for 4 steps" in capsys.readouterr().out


def test_ritz_callbacks_find_what_they_need():
    best, ema, norms = BestState("Energy", restore=True), ParameterEMA(0.5), NormMonitor()
    p, log = peer(), nk.logging.RuntimeLog()
    p.run(4, out=log, callback=[as_netket(c) for c in (best, ema, norms)], show_progress=False)
    assert len(log.data["norms"]["update"]) == 4
    assert best.best_step is not None and ema.weight == pytest.approx(1.875)
    jax.tree.map(np.testing.assert_array_equal, p.state.parameters, best.parameters)


def test_any_true_value_rejects_in_netkets_driver_too():
    attempts = []

    class Reject(AbstractCallback):
        def on_compute_update_end(self, step, log_data, driver):
            attempts.append(driver.step_attempt)
            return jnp.array(driver.step_attempt < 1)

    peer().run(1, callback=as_netket(Reject()), show_progress=False)
    assert attempts == [0, 1]


def test_ritz_loggers_in_netkets_driver():
    loggers = [RuntimeLog(), JsonLog("a"), CSVLog("b.csv")]
    p = peer()
    p.run(3, out=loggers, show_progress=False)
    for data in (loggers[0].data, read_log("a.log"), read_log("b.csv")):
        assert data["Energy"].iters.tolist() == [0, 1, 2]
    assert Path("a.mpack").exists()


def test_a_stop_in_a_ritz_callback_ends_netkets_run(capsys):
    p = peer()
    p.run(
        9, callback=as_netket(Diary(0, "on_compute_update_end", StopRun("x"))), show_progress=False
    )
    assert p.step_count == 1


def test_what_netkets_driver_cannot_do_is_said():
    with pytest.raises(TypeError, match="needs a driver of Ritz: NetKet's hooks cannot be wrapped"):
        peer().run(1, callback=as_netket(HookTiming()), show_progress=False)
    with pytest.raises(TypeError, match="rate_scale, which NetKetDriverView does not use"):
        peer().run(1, callback=as_netket(ReduceLROnPlateau()), show_progress=False)


def test_as_netket_takes_callbacks_only():
    with pytest.raises(TypeError, match="as_netket takes a callback of Ritz, but"):
        as_netket(print)


def test_full_sum_state_with_netkets_callbacks():
    d = VMC(ISING, SGD, variational_state=full_state(), update=RULE)
    d.run(3, callback=nk.callbacks.InvalidLossStopping(), show_progress=False)
    assert d.step_count == 3

"""A checkpoint of another run is refused, with what differs."""

import netket as nk
import optax
import pytest

from ritz.callbacks import BestState, EarlyStopping, LambdaCallback, Observables, ProgressBar
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.lattice import VMC, mc_state
from ritz.loggers import CSVLog
from ritz.updates import SR, MinSR

pytestmark = pytest.mark.netket


def make(alpha=1, n_samples=16, optimizer=None, update=None, h=1.0, n_sites=4):
    hilbert = nk.hilbert.Spin(0.5, n_sites)
    hamiltonian = nk.operator.Ising(hilbert, nk.graph.Chain(n_sites), h=h)
    state = mc_state(
        nk.models.RBM(alpha=alpha), hilbert, n_samples=n_samples, seed=1, sampler_seed=2
    )
    optimizer = optimizer or optax.sgd(0.01)
    return VMC(
        hamiltonian, optimizer, variational_state=state, update=update or SR(diag_shift=0.01)
    )


def go(driver, n_iter, folder, *callbacks, out=(), **options):
    saving = Checkpoint(folder, **options)
    driver.run(
        n_iter,
        out=out,
        callback=[BestState("Energy"), *callbacks, saving],
        show_progress=False,
        resume=True,
    )
    return driver


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    go(make(), 2, folder)
    return folder


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 2}, r"model.alpha was 1, is 2; params.Dense.bias was float64\[4\], is"),
        ({"n_samples": 32}, r"sampler was .*n_chains = 16.*is .*n_chains = 32.*"),
        ({"optimizer": optax.adam(0.01)}, r"optimizer.* was .*, is .*scale_by_adam"),
        ({"optimizer": optax.sgd(0.02)}, r"optimizer.*step_size was -0.01, is -0.02"),
        ({"update": MinSR(diag_shift=0.01)}, r"update was SR, is MinSR"),
        ({"update": SR(diag_shift=0.02)}, r"update.diag_shift was 0.01, is 0.02"),
        ({"h": 1.5}, r"hamiltonian was IsingJax\(J=1.0, h=1.0; dim=4\)"),
    ],
)
def test_other_settings_are_refused(saved, change, message):
    driver = make(**change)
    with pytest.raises(CheckpointError, match=message):
        go(driver, 5, saved)
    assert driver.step_count == 0


def test_what_may_change_must_be_said(saved, caplog):
    changed = optax.sgd(0.02)
    with pytest.raises(CheckpointError, match=r"give accept_changes=\['optimizer'\] to Checkpoint"):
        go(make(optimizer=changed), 2, saved)
    driver = go(make(optimizer=changed), 2, saved, accept_changes=["optimizer"])
    assert driver.step_count == 2
    assert "Going on with a changed setting: optimizer" in caplog.text
    with pytest.raises(CheckpointError, match="optimizer_state"):  # it would not fit
        go(make(optimizer=optax.adam(0.01)), 2, saved, accept_changes=["optimizer"])


def test_other_callbacks_are_refused(saved):
    with pytest.raises(CheckpointError, match="the saved run had no EarlyStopping"):
        go(make(), 5, saved, EarlyStopping())
    with pytest.raises(CheckpointError, match="the saved run had BestState"):
        make().run(5, callback=Checkpoint(saved), show_progress=False, resume=True)
    live = LambdaCallback(on_step_end=lambda *_: None)
    with pytest.raises(CheckpointError, match="the saved run had no LambdaCallback"):
        go(make(), 5, saved, live)
    with pytest.raises(CheckpointError, match="the saved run had no Observables"):
        go(
            make(),
            5,
            saved,
            Observables({"x": nk.operator.spin.sigmax(nk.hilbert.Spin(0.5, 4), 0)}),
        )
    go(make(), 2, saved, EarlyStopping(), accept_changes={"callbacks"})


def test_watching_more_or_less_is_allowed(saved):
    look = LambdaCallback(on_step_end=lambda *_: None, live=False)
    assert go(make(), 2, saved, ProgressBar(), look, out=CSVLog("log")).step_count == 2

from contextlib import contextmanager

import jax
import netket as nk
import numpy as np
import optax
import pytest

from ritz.callbacks import LambdaCallback
from ritz.lattice import VMC, Evaluation, LatticeWavefunction, MetropolisLocal
from ritz.loggers import RuntimeLog, Writer
from ritz.stages import (
    Config,
    EvaluationWorkStage,
    Pipeline,
    RunContext,
    SamplingState,
    StageAbort,
    VMCState,
    VMCWorkStage,
    VMCWorkStageConfig,
    read_digest,
)
from ritz.updates import SR

pytestmark = pytest.mark.netket

HILBERT = nk.hilbert.Spin(0.5, 4)
HAMILTONIAN = nk.operator.IsingJax(HILBERT, graph=nk.graph.Chain(4), h=1.0)
FLIP = sum(nk.operator.spin.sigmax(HILBERT, i) for i in range(4)) * 0.25
WAVEFUNCTION = LatticeWavefunction(nk.models.RBM(alpha=1), HILBERT)
RATE = optax.sgd(0.05)
RULE = SR(diag_shift=0.01)


def training(name="train", callbacks=(), **cfg):
    cfg = {"iterations": 30, "burn_in": 5, "n_samples": 64, **cfg}
    builder = VMCWorkStage.builder(cfg, WAVEFUNCTION, name=name)
    builder.configure_sample_plan(
        WAVEFUNCTION.logpsi, {"spins": MetropolisLocal(HILBERT, n_chains=64)}
    )
    builder.configure_optimizer(default=RATE, f_log_psi=WAVEFUNCTION.logpsi, update=RULE)
    builder.configure_estimators(energy=HAMILTONIAN, flip=FLIP)
    builder.configure_loss_grads(f_log_psi=WAVEFUNCTION.logpsi)
    builder.configure_callbacks(callbacks)
    return builder.build()


def evaluation(**cfg):
    cfg = {"iterations": 120, "burn_in": 20, "n_samples": 64, "digest_step_interval": 60, **cfg}
    builder = EvaluationWorkStage.builder(cfg, WAVEFUNCTION, name="evaluate")
    builder.configure_estimators(energy=HAMILTONIAN, flip=FLIP)
    return builder.build()


@pytest.mark.medium
def test_training_and_evaluation_one_after_the_other(tmp_path):
    key = jax.random.key(0)
    states = Pipeline([training(), evaluation()]).run(RunContext(tmp_path), key)
    assert isinstance(states["train"], VMCState)
    assert isinstance(states["evaluate"], SamplingState)
    trained, evaluated = states["train"].params, states["evaluate"].params
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(evaluated), strict=True):
        np.testing.assert_array_equal(a, b)
    assert jax.tree.structure(states["train"].partition()) is not None
    found = read_digest(tmp_path / "evaluate")
    full = nk.vqs.FullSumState(HILBERT, WAVEFUNCTION.model)
    full.parameters = trained
    exact = {"energy": full.expect(HAMILTONIAN), "flip": full.expect(FLIP)}
    for name, estimate in found.items():
        assert abs(estimate.mean - float(exact[name].mean.real)) < 4 * estimate.error
        assert estimate.variance == pytest.approx(float(exact[name].variance), rel=0.2)
        assert estimate.n_samples == 120 * 64 and estimate.n_steps == 120
        assert 0.9 < estimate.r_hat < 1.1
    assert -5.3 < found["energy"].mean < -4.9
    files = {p.name for p in (tmp_path / "train").iterdir()}
    assert files == {"checkpoints", "train.log", "train.csv", "train.mpack", "run.lock"}


@pytest.mark.bits
def test_a_stage_that_was_stopped_goes_on_exactly(tmp_path):
    def run(folder, *callbacks):
        stage = training(callbacks=callbacks, save_step_interval=7)
        key = jax.random.key(3)
        return stage.run(stage.create_state(key), RunContext(tmp_path / folder), key)

    def stop(step, *_):
        if step == 17:
            raise ArithmeticError

    watch = LambdaCallback(on_step_end=stop, live=False)
    whole = run("whole")
    with pytest.raises(ArithmeticError):
        run("other", watch)
    resumed = run("other")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_the_loop_yields_the_states_of_the_run():
    stage = training(iterations=5, burn_in=0)
    key = jax.random.key(0)
    steps = list(stage.loop(stage.create_state(key), 0, key))
    assert [step for step, _ in steps] == list(range(5))
    log, driver = RuntimeLog(), stage.driver(stage.create_state(key), key)
    driver.run(5, out=log, show_progress=False)
    for a, b in zip(*map(jax.tree.leaves, (steps[-1][1].params, driver.parameters)), strict=True):
        np.testing.assert_array_equal(a, b)
    state = stage.state_of(driver)
    assert state.batched_data.shape == (64, 4)
    other = stage.driver(state, key)
    other.run(2, show_progress=False)
    driver.run(2, show_progress=False)
    for a, b in zip(*map(jax.tree.leaves, (other.parameters, driver.parameters)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("stop_on_nan", "steps"),
    [("values", 3), ("loss", 6), (True, 3), (False, 6), ("loss,values", 3)],
)
def test_a_nan_in_part_of_a_quantity_counts(tmp_path, stop_on_nan, steps):
    def spoil(step, log_data, driver):
        log_data["values"] = np.array([1.0, np.nan if step == 3 else 0.0, 2.0])

    spoiling = LambdaCallback(before_parameter_update=spoil, live=False)
    stage = training(callbacks=[spoiling], iterations=6, stop_on_nan=stop_on_nan)
    key = jax.random.key(0)
    state = stage.create_state(key)
    if steps == 6:
        stage.run(state, RunContext(tmp_path), key)
        assert (tmp_path / "checkpoints/train/00000006-end").is_dir()
        return
    with pytest.raises(SystemExit, match="stage train: .*values is nan at step 3"):
        stage.run(state, RunContext(tmp_path), key)
    saved = sorted(p.name for p in (tmp_path / "checkpoints/train").iterdir())
    assert saved == ["00000001", "failed", "run.lock"]
    stage = training(callbacks=[spoiling], iterations=6, stop_on_nan=stop_on_nan)
    with pytest.raises(StageAbort):
        list(stage.loop(stage.create_state(key), 0, key))


def builder(cfg=None):
    return VMCWorkStage.builder(cfg or {}, WAVEFUNCTION)


def test_what_was_not_configured_is_told():
    with pytest.raises(ValueError, match=r"has no estimators; call configure_estimators\(energy="):
        builder().build()
    with pytest.raises(ValueError, match=r"call configure_estimators\(...\) first"):
        builder().configure_loss_grads(f_log_psi=WAVEFUNCTION.logpsi)
    one = builder()
    one.configure_estimators(energy=HAMILTONIAN)
    with pytest.raises(ValueError, match="has no optimizer; call configure_optimizer"):
        one.build()
    with pytest.raises(
        TypeError, match="an optax transformation, a learning rate or a schedule is needed"
    ):
        one.configure_optimizer(default="ritz.updates.SR", f_log_psi=WAVEFUNCTION.logpsi)
    with pytest.raises(TypeError, match=r"f_log_psi takes a function \(params, samples\)"):
        one.configure_optimizer(default=0.1, f_log_psi=3)
    with pytest.raises(TypeError, match=r"f_log_amplitude takes a function"):
        one.configure_sample_plan(None)
    two = builder()
    two.configure_estimators(a=HAMILTONIAN, b=FLIP)
    with pytest.raises(ValueError, match="which of the estimators a, b is the loss"):
        two.configure_loss_grads(f_log_psi=WAVEFUNCTION.logpsi)
    with pytest.raises(ValueError, match="there is no estimator 'c'; there are: a, b"):
        two.configure_loss_grads("c", f_log_psi=WAVEFUNCTION.logpsi)
    with pytest.raises(ValueError, match="f_log_psi must be the function that is sampled"):
        two.configure_loss_grads("a", f_log_psi=lambda params, x: x)
    with pytest.raises(ValueError, match="stop_on_nan takes True, False or names"):
        VMCWorkStageConfig(stop_on_nan="")


def test_samples_are_shared_equally_by_the_chains():
    sampler = {"class_path": "ritz.lattice.MetropolisLocal", "init_args": {"n_chains": 12}}
    stage = builder({"n_samples": 32, "sampler": sampler})
    stage.configure_optimizer(default=RATE, f_log_psi=WAVEFUNCTION.logpsi)
    stage.configure_estimators(energy=HAMILTONIAN)
    with pytest.raises(ValueError, match="n_samples=32 .* by the 12 chains .* give n_samples=36"):
        stage.build().create_state(jax.random.key(0))
    with pytest.warns(UserWarning, match="n_samples=30 .*increased to 32"):  # NetKet's own
        nk.vqs.MCState(MetropolisLocal(HILBERT, n_chains=8), nk.models.RBM(), n_samples=30)


def test_what_is_left_out_comes_from_the_configuration():
    sampler = {"class_path": "netket.sampler.MetropolisLocal", "init_args": {"n_chains": 8}}
    stage = builder({
        "iterations": 7, "n_samples": 32, "sampler": sampler,
        "optimizer": {"class_path": "optax.adam", "init_args": {"learning_rate": 0.1}},
        "writers": ["ritz.loggers.RuntimeLog"], "callbacks": ["ritz.callbacks.EarlyStopping"],
    })  # fmt: skip
    stage.configure_optimizer(default=RATE, f_log_psi=WAVEFUNCTION.logpsi)
    stage.configure_estimators(energy=HAMILTONIAN)
    stage = stage.build()
    driver = stage.driver(stage.create_state(jax.random.key(0)), None)
    assert driver.state.sampler.n_chains == 8 and driver.state.n_samples == 32
    assert len(driver.optimizer_state) == 2  # adam
    assert [type(x).__name__ for x in (*stage.writers, *stage.callbacks)] == [
        "RuntimeLog", "EarlyStopping",
    ]  # fmt: skip
    with pytest.raises(TypeError, match="takes params and batched_data, but samples was given"):
        stage.create_state(jax.random.key(0), samples=3)
    chains = np.ones((8, 4))
    assert np.all(stage.create_state(jax.random.key(0), batched_data=chains).batched_data == 1)
    with pytest.raises(ValueError, match=r"has the shape \(3, 4\), but stage .* \(8, 4\)"):
        stage.create_state(jax.random.key(0), batched_data=chains[:3])


def test_evaluations_of_full_sums_are_exact():
    state = nk.vqs.FullSumState(HILBERT, nk.models.RBM(alpha=1), seed=1)
    log = RuntimeLog()
    driver = Evaluation(HAMILTONIAN, variational_state=state, observables={"flip": FLIP})
    driver.run(2, out=log, show_progress=False)
    assert log["Energy"]["Mean"][-1] == pytest.approx(float(state.expect(HAMILTONIAN).mean.real))
    assert log["flip"]["Mean"][-1] == pytest.approx(float(state.expect(FLIP).mean.real))
    assert log["flip"]["Variance"][-1] == pytest.approx(float(state.expect(FLIP).variance))
    assert driver.chain_moments == {}
    with pytest.raises(ValueError, match="an observable cannot be called 'Energy'"):
        Evaluation(HAMILTONIAN, variational_state=state, observables={"Energy": FLIP})


class SpecWriter(Writer):
    """As the specification writes one."""

    @contextmanager
    def open(self, working_dir, stage_name, initial_step=0):
        self._file = (working_dir / f"{stage_name}_my_log.txt").open("a")
        try:
            yield
        finally:
            self._file.close()

    def write(self, step, stats):
        energy = self.to_scalar(stats.get("total_energy", float("nan")))
        pmove = self.to_scalar(stats.get("pmove", float("nan")))
        flip = [self.to_scalar(stats[f"energy:flip{end}"]) for end in ("", "_var")]
        assert "flip" in stats and "total_energy_var" in set(stats)
        self._file.write(f"{step},{energy},{pmove},{flip[0]},{flip[1]}\n")


def test_estimators_keep_their_names_and_writers_get_flat_ones(tmp_path):
    one = builder({"iterations": 4, "n_samples": 64, "burn_in": 0})
    assert one.name == "VMCWorkStage"
    one.configure_optimizer(default=0.05, f_log_psi=WAVEFUNCTION.logpsi, update=RULE)
    one.configure_estimators(total=HAMILTONIAN, flip=FLIP)
    log = RuntimeLog()
    one.configure_writers([SpecWriter(), log])
    stage, key = one.build(), jax.random.key(0)
    stage.run(stage.create_state(key), RunContext(tmp_path / "new"), key)
    rows = np.genfromtxt(tmp_path / "new" / "VMCWorkStage_my_log.txt", delimiter=",")
    assert "Energy" not in log.data
    columns = [log["total"]["Mean"], log["acceptance"].values, log["flip"]["Mean"],
               log["flip"]["Variance"]]  # fmt: skip
    np.testing.assert_array_equal(rows[:, 1:].T, np.real(columns))

    two = EvaluationWorkStage.builder({"iterations": 8, "n_samples": 64}, WAVEFUNCTION)
    assert two.name == "EvaluationWorkStage"
    two.configure_estimators(total=HAMILTONIAN, Energy=FLIP)
    stage = two.build()
    stage.run(stage.create_state(key), RunContext(tmp_path / "evaluated"), key)
    found = read_digest(tmp_path / "evaluated")
    assert set(found) == {"total", "Energy"} and found["total"].mean < -2
    assert all(estimate.n_samples == 8 * 64 and estimate.r_hat > 0 for estimate in found.values())


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"itertions": 3}, "itertions: there is no such setting; did you mean iterations?"),
        ({"n_sample": 3}, "n_sample: there is no such setting; did you mean n_samples"),
        ({"check_vma": True}, "check_vma: there is no such setting; there are: accept_changes, b"),
        ({"digest_step_interval": 3}, "digest_step_interval: there is no such setting"),
    ],
)
def test_misspelt_settings_are_refused(cfg, message):
    one = VMCWorkStage.builder(Config(cfg, "train"), WAVEFUNCTION)
    one.configure_estimators(energy=HAMILTONIAN)
    with pytest.raises(ValueError, match=rf"train\.{message}"):
        one.build()


def test_settings_that_a_workflow_reads_itself_are_its_own():
    cfg = Config({"mine": 3, "iterations": 2}, "train")
    one = VMCWorkStage.builder(cfg, WAVEFUNCTION)
    assert cfg.get("mine") == 3
    one.configure_estimators(energy=HAMILTONIAN)
    one.configure_optimizer(default=0.1, f_log_psi=WAVEFUNCTION.logpsi)
    assert one.build().config.iterations == 2


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        (
            "optax.adam",
            ValueError,
            r"optimizer: adam needs learning_rate; give class_path and init",
        ),
        (optax.adam, ValueError, r"optimizer: adam needs learning_rate"),
        ("builtins.print", TypeError, "optimizer: 'builtins.print' is refused"),
        (print, TypeError, "must be an optax transformation, .* but <built-in function print> was"),
        (True, TypeError, "must be an optax transformation, .* but True was configured"),
        (RULE, TypeError, "must be an optax transformation, .* but SR"),
        (lambda: "text", TypeError, "must be an optax transformation, .* but 'text' was"),
    ],
)
def test_what_is_no_optimizer(optimizer, error, message):
    with pytest.raises(error, match=message):
        builder().configure_optimizer(default=optimizer, f_log_psi=WAVEFUNCTION.logpsi)
    if isinstance(optimizer, str):
        one = builder({"optimizer": optimizer})
        with pytest.raises(error, match=message):
            one.configure_optimizer(default=0.1, f_log_psi=WAVEFUNCTION.logpsi)


@pytest.mark.parametrize(
    "optimizer", [0.1, RATE, optax.linear_schedule(0.1, 0.01, 5), lambda step: 0.1 / (step + 1),
                  lambda: optax.sgd(0.1), "optax.identity"],
)  # fmt: skip
def test_what_is_an_optimizer(optimizer):
    one = builder()
    one.configure_optimizer(default=optimizer, f_log_psi=WAVEFUNCTION.logpsi)
    one.configure_estimators(energy=HAMILTONIAN)
    stage = one.build()
    assert stage.driver(stage.create_state(jax.random.key(0)), None).optimizer is not None


def test_the_energy_has_the_name_of_netkets_drivers():
    state = nk.vqs.FullSumState(HILBERT, nk.models.RBM(alpha=1), seed=1)
    driver = VMC(HAMILTONIAN, 0.1, variational_state=state, loss_name="total")
    driver.run(1, show_progress=False)
    assert driver.energy is driver.loss and driver.loss_name == "total"
    with pytest.raises(ValueError, match="the energy cannot be called 'acceptance'"):
        VMC(HAMILTONIAN, 0.1, variational_state=state, loss_name="acceptance")
    with pytest.raises(ValueError, match="an observable cannot be called 'total'"):
        VMC(HAMILTONIAN, 0.1, variational_state=state, loss_name="total",
            observables={"total": FLIP})  # fmt: skip

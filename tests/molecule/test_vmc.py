"""VMC and evaluation of small molecules: energies, rows, bits and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ritz.checkpoint import Checkpoint
from ritz.loggers import RuntimeLog
from ritz.molecule import (
    VMC,
    Density,
    Dipole,
    Evaluation,
    FermiNet,
    Forces,
    LogPsi,
    Molecule,
    SpinSquared,
)
from ritz.molecule.driver import energy_estimators
from ritz.molecule.stage_wavefunction import MoleculeWavefunction
from ritz.samplers import MALA, Metropolis, OneParticle
from ritz.stages import EvaluationWorkStage
from ritz.testing import check_driver, check_estimator
from ritz.updates import Gradient


def small(molecule):
    return FermiNet(molecule, hidden=((8, 4),), n_determinants=1)


def vmc(name="He", **settings):
    molecule = Molecule(name)
    settings = {"n_walkers": 64, "sampler": Metropolis(n_moves=5), **settings}
    return VMC(molecule, small(molecule), **settings)


def slater(params, x):
    return jnp.ones(()), -params["slope"] * jnp.linalg.norm(x[0])


@pytest.mark.medium
def test_what_every_driver_must_do():
    check_driver(lambda: vmc("H"))


@pytest.fixture(scope="module")
def helium():
    """A trained helium atom."""
    molecule = Molecule("He")
    network = FermiNet(molecule, hidden=((16, 8),), n_determinants=2)
    driver = VMC(molecule, network, n_walkers=256)
    driver.burn_in(50)
    log = RuntimeLog()
    driver.run(250, out=log, show_progress=False)
    return driver, log.data


@pytest.mark.medium
def test_the_energy_comes_down_to_that_of_helium(helium):
    _, rows = helium
    energy = rows["energy"]
    assert np.mean(energy["Variance"][-30:]) < 0.25 * np.mean(energy["Variance"][:5])
    assert abs(np.mean(energy["Mean"][-30:]) + 2.9037) < 0.01
    assert 0.4 < rows["acceptance"].values[-1] < 0.6
    assert rows["clipped"].values.max() < 20
    total = rows["kinetic"]["Mean"] + rows["potential"]["Mean"]
    np.testing.assert_allclose(total, energy["Mean"], atol=1e-5)


def evaluated(helium, sampler, n_iter=150, **settings):
    driver, _ = helium
    state = driver.state
    evaluation = Evaluation(
        driver.molecule, state.wavefunction.psi, state.parameters, sampler=sampler,
        electrons=state.electrons, n_walkers=256, **settings,
    )  # fmt: skip
    evaluation.burn_in(20)
    log = RuntimeLog()
    evaluation.run(n_iter, out=log, show_progress=False)
    return evaluation, log.data


def blocked(values):
    """Mean and error of a series, from ten blocks."""
    blocks = np.array([b.mean(axis=0) for b in np.array_split(np.asarray(values), 10)])
    return blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(10)


@pytest.mark.medium
def test_all_samplers_give_the_same_energy(helium):
    found = [
        blocked(evaluated(helium, s)[1]["energy"]["Mean"])
        for s in (Metropolis(), OneParticle(), MALA())
    ]
    for mean, error in found[1:]:
        assert abs(mean - found[0][0]) < 4.5 * np.hypot(error, found[0][1])


@pytest.mark.medium
def test_estimators_on_helium(helium):
    molecule = Molecule("He")
    estimators = {
        "forces": Forces(molecule), "dipole": Dipole(molecule), "s2": SpinSquared(1, 1),
        "density": Density("r", extent=8.0, n_bins=40),
        "squared": lambda params, x: jnp.sum(x**2),
    }  # fmt: skip
    driver, rows = evaluated(helium, Metropolis(), estimators=estimators)
    for name in ("forces", "dipole"):
        mean, error = blocked(rows[name]["Mean"])
        assert np.all(np.abs(mean) < 4.5 * error + 0.1), name  # psi is not quite spherical
    assert abs(np.mean(rows["s2"]["Mean"])) < 0.05
    counted = np.mean(rows["density"]["Mean"], axis=0).sum() * 0.2
    assert counted == pytest.approx(2, abs=0.01)
    assert np.mean(rows["squared"]["Mean"]) == pytest.approx(2 * 1.193, rel=0.1)
    kinetic, potential = (np.asarray(rows[k]["Mean"]) for k in ("kinetic", "potential"))
    virial, error = blocked(2 * kinetic + potential)
    # Scaling all lengths would lower the energy by virial^2 / 4T, and not below the exact one.
    energy, of_energy = blocked(rows["energy"]["Mean"])
    above = max(energy + 2.903724 + 4.5 * of_energy, 0)
    assert abs(virial) < np.sqrt(4 * np.mean(kinetic) * above) + 4.5 * error
    moments = driver.chain_moments
    assert set(moments) == {"energy", "kinetic", "potential", "s2", "squared"}
    assert moments["energy"].count == 150 and moments["energy"].mean.shape == (256,)
    np.testing.assert_allclose(moments["energy"].mean.mean(), np.mean(rows["energy"]["Mean"]))
    check_estimator(
        Forces(molecule), driver.state.wavefunction, driver.parameters, driver.state.electrons[:8]
    )
    estimate = driver.estimate(lambda params, x: jnp.sum(x**2))
    assert estimate.mean > 0


@pytest.mark.medium
def test_forces_are_those_of_the_electric_field():
    """On a nucleus beside the cloud exp(-2 |x - c|) / pi, whose field is known (Gauss)."""
    d = 0.8
    random = np.random.default_rng(0)
    direction = random.normal(size=(100_000, 1, 3))
    radius = random.gamma(3.0, 0.5, size=(100_000, 1, 1))
    x = radius * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    forces = Forces(Molecule("H"))
    for centre, exact in ((0.0, 0.0), (d, (1 - np.exp(-2 * d) * (1 + 2 * d + 2 * d**2)) / d**2)):
        c = centre * np.eye(3)[0]
        log_psi = LogPsi(lambda p, x, c=c: (jnp.ones(()), -jnp.linalg.norm(x[0] - c)))
        values = forces.evaluate(log_psi, {}, jnp.asarray(x + c), {})["force"][:, 0]
        error = np.std(values, axis=0) / np.sqrt(len(values))
        assert np.all(error < 0.01)
        assert np.all(
            np.abs(np.mean(values, axis=0) - np.array([exact, 0, 0])) < 4.5 * error + 1e-6
        )


@pytest.mark.medium
@pytest.mark.bits
def test_blocks_and_live_steps_have_the_same_bits():
    drivers = [vmc("H"), vmc("H")]
    drivers[0].run(7, show_progress=False)
    for _ in drivers[1].steps(7):
        pass
    for one, other in zip(*(jax.tree.leaves(d.snapshot().params) for d in drivers), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.bits
def test_a_resumed_run_has_the_bits_of_the_whole(tmp_path):
    def run(folder, *lengths):
        for n in lengths:
            driver = vmc("H")
            saving = Checkpoint(folder, every_steps=3, extend="longer")
            driver.run(n, callback=saving, resume=True, show_progress=False)
        return jax.tree.leaves(driver.snapshot().params)

    whole, parts = run(tmp_path / "a", 8), run(tmp_path / "b", 5, 8)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.medium
@pytest.mark.parametrize(("change", "told"), [
    ({"n_walkers": 32}, "n_walkers"),
    ({"name": "He"}, "molecule"),
    ({"optimizer": optax.adam(1e-3)}, "optimizer"),
])  # fmt: skip
def test_other_settings_are_refused_on_going_on(tmp_path, change, told):
    vmc("H").run(2, callback=Checkpoint(tmp_path), show_progress=False)
    with pytest.raises(ValueError, match=told):
        vmc(**{"name": "H", **change}).run(
            4, callback=Checkpoint(tmp_path), resume=True, show_progress=False
        )


def test_a_step_that_is_not_finite_is_undone_and_the_run_goes_on():
    molecule = Molecule("H")

    def psi(params, x):
        bad = jnp.where(params["slope"] > 1.02, jnp.nan, 0.0)
        return jnp.ones(()), -params["slope"] * jnp.linalg.norm(x[0]) + bad

    driver = VMC(
        molecule, psi, 0.5, params={"slope": jnp.asarray(0.9)}, update=Gradient(), n_walkers=64
    )
    driver.burn_in(20)
    driver.run(30, on_divergence="retry", show_progress=False)
    assert driver.step_count > 0 and 0.9 < float(driver.parameters["slope"]) <= 1.02
    assert np.all(np.isfinite(driver.state.electrons))


@pytest.mark.medium
def test_frozen_and_diffusing_walkers_are_marked(caplog):
    for width, doubt in ((1e3, "acceptance"), (1e-6, "diffusion")):
        driver = vmc("H", sampler=Metropolis(n_moves=2, width=width))
        log = RuntimeLog()
        driver.run(1, out=log, show_progress=False)
        assert log.data["suspect"].values[0] == doubt and "walkers" in caplog.text


@pytest.mark.parametrize(("settings", "told"), [
    ({"n_walkers": 1}, "n_walkers must be a whole number of at least 2"),
    ({"dtype": "half"}, "dtype must be 'float32' or 'float64'"),
    ({"sampler": "mala"}, "sampler must be one of ritz.samplers, such as Metropolis"),
    ({"update": "spring"}, "update must be a rule of ritz.updates, such as SPRING"),
    ({"optimizer": "adam"}, "optimizer must be an optax transformation"),
    ({"estimators": {"block": len}}, "an estimator cannot be called 'block'"),
    ({"estimators": {"x": 3}}, "estimator 'x' must be a ritz.estimators.AbstractEstimator"),
    ({"energy": "total"}, "energy='total' is none of the estimators: energy, kinetic, potential"),
    ({"electrons": np.zeros((3, 2, 3))}, r"electrons must have the shape .* = \\(64, 2, 3\\)"),
    ({"sead": 1}, "did you mean seed="),
    ({"batch_size": 8}, "VMC has no argument 'batch_size'; give n_walkers=512"),
])  # fmt: skip
def test_bad_arguments_are_told(settings, told):
    with pytest.raises((ValueError, TypeError), match=told.replace("\\\\", "\\")):
        vmc(**settings)


@pytest.mark.parametrize(("given", "told"), [
    (FermiNet, "wavefunction must be a flax module such as FermiNet"),
    (3, "wavefunction must be a flax module such as FermiNet"),
    (lambda p, x: jnp.zeros(()), r"must return \(sign, log \|psi\|\), two numbers"),
])  # fmt: skip
def test_bad_wave_functions_are_told(given, told):
    with pytest.raises(TypeError, match=told):
        VMC(Molecule("H"), given, params={"a": jnp.ones(())}, n_walkers=8)
    with pytest.raises(TypeError, match="molecule must be a ritz.molecule.Molecule"):
        VMC("H", small(Molecule("H")))
    with pytest.raises(ValueError, match="params: give the parameters of the wave function"):
        VMC(Molecule("H"), lambda p, x: (jnp.ones(()), jnp.zeros(())), n_walkers=8)


@pytest.mark.medium
def test_an_evaluation_needs_trained_parameters_and_its_stage_may_draw_some():
    molecule = Molecule("H")
    network = small(molecule)
    with pytest.raises(TypeError, match="params: an evaluation needs the trained parameters"):
        Evaluation(molecule, network, None, n_walkers=4)

    def stage(n_walkers):
        settings = {"iterations": 1, "n_walkers": n_walkers, "dtype": "float64"}
        wavefunction = MoleculeWavefunction(molecule, network)
        builder = EvaluationWorkStage.builder(settings, wavefunction)
        builder.configure_estimators(**energy_estimators(molecule))
        return builder.build()

    first, second = (stage(4).create_state(jax.random.key(seed)) for seed in (0, 1))
    drawn = [jax.tree.leaves(state.params) for state in (first, second)]
    assert any(not np.array_equal(a, b) for a, b in zip(*drawn, strict=True))
    with pytest.raises(ValueError, match="n_walkers"):  # 0 is no missing number
        stage(0).create_state(jax.random.key(0))


def test_parameters_have_types_of_their_own():
    """What `jnp.asarray(0.9)` gives takes the type of what it meets: steps would change it."""
    params = {"slope": jnp.asarray(0.9)}
    assert params["slope"].weak_type
    driver = VMC(Molecule("H"), slater, 0.1, params=params, n_walkers=8)
    assert not driver.parameters["slope"].weak_type


def test_stages_begin_alike_whatever_precision_is_set_in_jax():
    wavefunction = MoleculeWavefunction(Molecule("H"), slater, {"slope": np.float32(0.9)})
    walkers = []
    for double in (True, False):
        with jax.enable_x64(double):
            builder = EvaluationWorkStage.builder({"n_walkers": 8}, wavefunction)
            builder.configure_estimators(energy=lambda params, x: jnp.sum(x**2))
            walkers.append(builder.build().create_state(jax.random.key(1)).batched_data)
    np.testing.assert_array_equal(*walkers)


def test_a_complex_wave_function_has_the_energy_of_its_real_part():
    """A constant phase changes nothing; mode and estimators take it."""
    molecule = Molecule("H")

    def psi(params, x):
        return jnp.exp(0.3j), -params["slope"] * jnp.linalg.norm(x[0])

    driver = VMC(molecule, psi, 0.1, params={"slope": jnp.asarray(1.0)}, n_walkers=32)
    log = RuntimeLog()
    driver.run(2, out=log, show_progress=False)
    assert driver.mode == "complex"
    np.testing.assert_allclose(np.real(log.data["energy"]["Mean"]), -0.5, atol=1e-5)

"""What drivers of molecules estimate: the energy, observables and their checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.estimators import AbstractEstimator
from ritz.loggers import RuntimeLog
from ritz.molecule import (
    VMC,
    Dipole,
    FermiNet,
    Kinetic,
    Molecule,
    Potential,
    SpinSquared,
    TotalEnergy,
)
from ritz.molecule.networks.features import norm
from ritz.samplers import OneParticle, OneParticleUpdate
from ritz.updates import Gradient


def slater(params, x):
    return jnp.ones(()), -params["slope"] * jnp.sum(jnp.linalg.norm(x, axis=-1))


def vmc(name="H", **settings):
    settings = {"update": Gradient(), "n_walkers": 16, **settings}
    params = {"slope": jnp.asarray(0.9)}
    return VMC(Molecule(name), slater, 0.1, params=params, **settings)


class Pair(AbstractEstimator):
    def evaluate(self, log_psi, params, samples, values):
        return {"a": samples[:, 0, 0], "b": samples[:, 0]}


@pytest.mark.parametrize(("energy", "told"), [
    (Dipole(Molecule("H")), r"shape \(16,\), but Dipole\(.*\) gives \(16, 3\)"),
    (Pair(), r"gives {'a': \(16,\), 'b': \(16, 3\)}"),
])  # fmt: skip
def test_an_energy_is_one_number_for_each_sample(energy, told):
    with pytest.raises(ValueError, match=f"energy='d' must be an estimator with one .*{told}"):
        vmc(estimators={"d": energy}, energy="d")
    with pytest.raises(ValueError, match="energy='energy' must be an estimator with one number"):
        vmc(estimators={"energy": energy})


def test_the_standard_estimators_that_an_energy_uses_are_added():
    driver = vmc(estimators={"energy": TotalEnergy()})
    assert set(driver.estimators) == {"energy", "kinetic", "potential"}
    driver.run(1, out=(log := RuntimeLog()), show_progress=False)
    assert np.all(np.isfinite(log.data["energy"]["Mean"]))
    alone = vmc(estimators={"energy": TotalEnergy(uses=("kinetic",))})
    assert set(alone.estimators) == {"energy", "kinetic"}
    with pytest.raises(ValueError, match="'energy' uses the values of 'other', which is not"):
        vmc(estimators={"energy": TotalEnergy(uses=("other",))})


def test_an_observable_costs_what_it_uses_and_is_compiled_once(monkeypatch):
    calls = []
    evaluate = Kinetic.evaluate
    monkeypatch.setattr(
        Kinetic, "evaluate", lambda self, *args: (calls.append("kinetic"), evaluate(self, *args))[1]
    )

    def squared(params, x):
        calls.append("squared")
        return jnp.sum(x**2)

    driver = vmc()
    wanted = jnp.mean(jnp.sum(driver.state.electrons**2, axis=(1, 2)))
    for _ in range(2):
        np.testing.assert_allclose(driver.estimate(squared).mean, wanted, rtol=1e-6)
    assert calls == ["squared"]
    total = driver.estimate(TotalEnergy())
    assert calls == ["squared", "kinetic"] and np.isfinite(jax.device_get(total.mean))


@pytest.mark.medium
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_an_update_from_a_local_energy_that_is_not_finite_is_refused(bad):
    """Clipping hides no such value from the guard."""

    class Broken(AbstractEstimator):
        def evaluate(self, log_psi, params, samples, values):
            return jnp.zeros(len(samples)).at[0].set(bad)

    driver = vmc(estimators={"energy": Broken()})
    before = driver.parameters["slope"]
    kernel, carry = driver.kernel, driver.carry
    carry, batch = kernel.sample(carry)
    _, proposal = kernel.propose(carry, batch)
    assert not np.isfinite(proposal.update["slope"])
    driver.run(1, on_divergence="stop", show_progress=False)
    assert driver.step_count == 0 and driver.parameters["slope"] == before


def test_the_spins_of_spin_squared_are_those_of_the_samples():
    driver = vmc("He")
    with pytest.raises(ValueError, match=r"n_up=2, n_down=1\) is for 3 electrons, but .* have 2;"):
        driver.estimate(SpinSquared(2, 1))
    with pytest.raises(ValueError, match="n_down must be a whole number of at least 0"):
        SpinSquared(2, -1)
    assert np.isclose(driver.estimate(SpinSquared(1, 1)).mean, 0)


@pytest.mark.medium
def test_potentials_of_coordinates_in_single_precision_are_added_up_in_double():
    molecule = Molecule([("Kr", (0, 0, 0)), ("Kr", (0, 0, 4.4))], unit="bohr")
    x = jax.random.normal(jax.random.key(0), (4, 72, 3), jnp.float32)
    with jax.enable_x64(True):
        found = Potential(molecule).evaluate(slater, {}, x, {})
        to_nuclei = norm(x[:, :, None] - jnp.asarray(molecule.coordinates, jnp.float32))
        i, j = np.triu_indices(72, 1)
        between = norm(x[:, i] - x[:, j])
    to_nuclei, between = np.asarray(to_nuclei, float), np.asarray(between, float)
    exact = (1 / between).sum(axis=1) - 36 * (1 / to_nuclei).sum(axis=(1, 2)) + 36**2 / 4.4
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_single_precision_beside_double_coordinates_is_warned_of(caplog):
    molecule = Molecule("H")
    settings = {"hidden": ((4, 2),), "n_determinants": 1}
    VMC(molecule, FermiNet(molecule, **settings), n_walkers=8, dtype="float64")
    line = "FermiNet computes in float32; give it the type too: FermiNet(molecule, dtype=jnp."
    assert line in caplog.text
    caplog.clear()
    VMC(molecule, FermiNet(molecule, **settings, dtype=jnp.float64), n_walkers=8, dtype="float64")
    VMC(molecule, FermiNet(molecule, **settings), n_walkers=8)
    vmc(dtype="float64")
    assert not caplog.text


def product():
    """Slater functions, and what changes if one electron moves."""

    def psi(params, x):
        return slater(params, x)

    def far(x):
        return jnp.linalg.norm(x, axis=-1)

    def move(params, memory, particle, place):
        calls.append(particle)
        change = params["slope"] * (memory[:, particle] - far(place))
        return change, memory.at[:, particle].set(far(place))

    calls = []
    psi.one_particle = OneParticleUpdate(lambda params, x: far(x), move)
    return psi, calls


def test_an_update_for_one_electron_is_used_and_gives_the_same_walkers():
    params, ends = {"slope": jnp.asarray(1.7)}, []
    psi, calls = product()
    for given in (slater, psi):
        driver = VMC(
            Molecule("He"), given, params=params, sampler=OneParticle(n_moves=2), n_walkers=32
        )
        assert not calls
        driver.burn_in(3)
        ends.append(driver.state.electrons)
    assert calls
    np.testing.assert_allclose(*ends, atol=1e-4)

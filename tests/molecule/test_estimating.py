"""What drivers of molecules estimate: the energy, observables and their checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.estimators import AbstractEstimator
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Dipole, Kinetic, Molecule, TotalEnergy
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

"""Walkers shared out over several devices give the numbers of one device."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.checkpoint import Checkpoint
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Evaluation, FermiNet, Molecule
from ritz.molecule.orbitals import slater_orbitals
from ritz.molecule.pretraining import Pretraining
from ritz.samplers import MALA, Metropolis, OneParticle
from ritz.testing import check_sampler
from ritz.updates import KFAC, Gradient
from ritz.updates.score_map import factored_layers

N_WALKERS, N_STEPS = 16, 6


def made():
    """A molecule, and a network of which SPRING multiplies scores by factors."""
    molecule = Molecule("He")
    return molecule, FermiNet(molecule, hidden=((64, 4),), n_determinants=1, dtype=jnp.float64)


def ran(driver, **options):
    log = RuntimeLog()
    driver.run(N_STEPS, out=log, show_progress=False, **options)
    placed = driver.state.sampler_state.positions.addressable_shards
    n_each = N_WALKERS // len(jax.devices())
    assert [s.data.shape[-3] for s in placed] == [n_each] * len(jax.devices())
    return log.data


def results():
    """Losses and parameters of a pretraining, of SPRING and KFAC and of an evaluation."""
    molecule, network = made()
    settings = {"n_walkers": N_WALKERS, "dtype": "float64"}
    begin = Pretraining(molecule, network, slater_orbitals(molecule), **settings)
    begin.burn_in(2)
    losses = ran(begin)["loss"].values
    params, electrons = begin.parameters, begin.state.electrons
    driver = VMC(molecule, network, params=params, electrons=electrons, **settings)
    with jax.enable_x64(True):
        assert factored_layers(driver.state.wavefunction, params, electrons, "real")
    driver.burn_in(2)
    energies = ran(driver)["energy"]
    kfac = VMC(molecule, network, params=params, electrons=electrons, update=KFAC(), **settings)
    of_kfac = ran(kfac)["energy"]["Mean"]
    evaluation = Evaluation(
        molecule, network, driver.parameters, electrons=driver.state.electrons, **settings
    )
    evaluation.burn_in(2)
    fixed = ran(evaluation)["energy"]
    # In NumPy, since JAX would round them to single precision where x64 is off.
    params, place = {"slope": np.array([0.9, 0.5])}, np.asarray(electrons)[:, :1]
    settings = {**settings, "n_states": 2, "electrons": np.stack([place, 2 * place])}
    states = VMC(Molecule("H"), slater, 0.1, params=params, update=Gradient(), **settings)
    of_states = ran(states)
    settings["electrons"] = states.state.electrons
    levels = Evaluation(Molecule("H"), slater, states.parameters, **settings)
    of_levels = ran(levels)["overlap_0_1"]["Mean"]
    moments = evaluation.chain_moments["energy"]
    np.testing.assert_allclose(moments.mean.mean(), np.mean(fixed["Mean"]))
    return {
        "pretraining": losses, "training": energies["Mean"], "variance": energies["Variance"],
        "kfac": of_kfac, "states": of_states["energy_1"]["Mean"], "levels": of_levels,
        "overlaps": of_states["overlap_0_1"]["Mean"],
        "means_1": levels.chain_moments["energy_1"].mean,
        "evaluation": fixed["Mean"], "means": moments.mean, "m2": moments.m2,
        **{f"params{k}": leaf for k, leaf in enumerate(jax.tree.leaves(driver.parameters))},
    }  # fmt: skip


def slater(params, x):
    return jnp.ones(()), -params["slope"] * jnp.linalg.norm(x[0])


def hydrogen(n_walkers=N_WALKERS):
    params = {"slope": jnp.asarray(0.9)}
    return VMC(Molecule("H"), slater, 0.1, params=params, update=Gradient(), n_walkers=n_walkers)


def on_two_devices():
    """What else has to hold where there are two."""
    assert len(jax.devices()) == 2
    for sampler in (Metropolis(), OneParticle(), MALA()):
        check_sampler(sampler)
    with pytest.raises(ValueError, match="n_walkers=15 cannot be .* over 2 devices; give 16, for"):
        hydrogen(n_walkers=15)
    ends = []
    for folder, lengths in (("whole", [5]), ("parts", [3, 5])):
        for n in lengths:
            driver = hydrogen()
            saving = Checkpoint(folder, every_steps=2, extend="longer")
            driver.run(n, callback=saving, resume=True, show_progress=False)
        ends.append(driver.snapshot())
        assert len(driver.state.electrons.sharding.device_set) == 2
    np.testing.assert_array_equal(ends[0].params["slope"], ends[1].params["slope"])


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(monkeypatch):
    flags = "--xla_force_host_platform_device_count=2", os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-m", "tests.molecule.test_devices"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "compiled again" not in done.stderr
    one = results()
    with np.load("two.npz") as two:
        assert set(two.files) == set(one)
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


if __name__ == "__main__":
    on_two_devices()
    np.savez("two.npz", **{name: np.asarray(value) for name, value in results().items()})

"""The spin of wave functions, and what keeps it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.molecule import VMC, LogPsi, Molecule, SpinPenalty, SpinSquared, TotalEnergy
from ritz.updates import SR


def excited_helium(params, x):
    """1s(1) 2s(2) cos t + 2s(1) 1s(2) sin t: singlet at t = pi/4, triplet at -pi/4.

    The orbitals are orthogonal, so that the triplet is lower, by Hund's rule.
    """
    r = jnp.linalg.norm(x, axis=-1)
    inner, outer = jnp.exp(-2 * r), (r - 1) * jnp.exp(-r)
    t = params["t"]
    psi = inner[0] * outer[1] * jnp.cos(t) + outer[0] * inner[1] * jnp.sin(t)
    return jnp.sign(psi), jnp.log(jnp.abs(psi))


@pytest.mark.medium
@pytest.mark.parametrize(("weight", "spin_squared"), [(0.0, 2.0), (1.0, 0.0)])
def test_the_penalty_keeps_the_triplet_out_that_lies_lower(weight, spin_squared):
    estimators = {"s2": SpinSquared(1, 1)}
    if weight:
        estimators["spin_penalty"] = SpinPenalty(1, 1, weight)
        estimators["penalised"] = TotalEnergy(("energy", "spin_penalty"))
    driver = VMC(
        Molecule("He"),
        excited_helium,
        0.3,
        params={"t": jnp.asarray(-0.3)},
        update=SR(1e-2),
        estimators=estimators,
        energy="penalised" if weight else "energy",
        n_walkers=256,
        dtype="float64",
    )
    driver.burn_in(100)
    driver.run(400, show_progress=False)
    assert driver.estimate(SpinSquared(1, 1)).mean == pytest.approx(spin_squared, abs=0.02)


@pytest.mark.medium
@pytest.mark.parametrize(("n_up", "n_down"), [(1, 0), (0, 1), (2, 0), (0, 2), (2, 1), (1, 2)])
def test_determinants_of_closed_shells_and_equal_spins_have_no_penalty(n_up, n_down):
    """One orbital is filled twice first."""

    def psi(params, x):
        r = jnp.linalg.norm(x, axis=-1)
        orbitals = jnp.stack([jnp.exp(-r), r * jnp.exp(-r / 2)], axis=-1)
        blocks = orbitals[:n_up, :n_up], orbitals[n_up:, :n_down]
        value = jnp.linalg.det(blocks[0]) * jnp.linalg.det(blocks[1])
        return jnp.sign(value), jnp.log(jnp.abs(value))

    x = jax.random.normal(jax.random.key(0), (5, n_up + n_down, 3))
    with jax.enable_x64(True):
        found = SpinPenalty(n_up, n_down, 2.0).evaluate(LogPsi(psi), {}, x, {})
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="weight must be .*, but 0"):
        SpinPenalty(1, 1, 0)
    with pytest.raises(ValueError, match="n_down must be a whole number of at least 0"):
        SpinPenalty(1, -1)

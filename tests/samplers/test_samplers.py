"""Samplers keep their density, adapt, and say what is wrong."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ritz.samplers
from ritz.samplers import MALA, AbstractSampler, Metropolis, OneParticle, OneParticleUpdate
from ritz.testing import check_sampler

SAMPLERS = [
    value
    for value in vars(ritz.samplers).values()
    if inspect.isclass(value)
    and issubclass(value, AbstractSampler)
    and not inspect.isabstract(value)
]


@pytest.mark.medium
@pytest.mark.parametrize("kind", SAMPLERS)
def test_what_every_sampler_must_do(kind):
    check_sampler(kind())


@dataclasses.dataclass(frozen=True)
class Wrong(AbstractSampler):
    """Accepts every move."""

    target_acceptance = 0.5
    n_moves: int = 1
    width: float = 0.3

    def moves(self, log_psi, params, positions, width, key):
        return positions + width * jax.random.normal(
            key, positions.shape, positions.dtype
        ), jnp.ones(())


def test_the_check_finds_a_lack_of_detailed_balance():
    with pytest.raises(AssertionError, match="does not keep the density"):
        check_sampler(Wrong())


def gaussian(params, x):
    return -jnp.sum(x**2, axis=(1, 2)) / 2


def one_by_one():
    """log psi of `gaussian` with an update for the move of one particle."""

    def log_psi(params, x):
        return gaussian(params, x)

    def move(params, memory, particle, place):
        change = (jnp.sum(memory[:, particle] ** 2, -1) - jnp.sum(place**2, -1)) / 2
        return change, memory.at[:, particle].set(place)

    log_psi.one_particle = OneParticleUpdate(lambda params, x: x, move)
    return log_psi


def test_an_update_of_the_model_gives_the_same_samples():
    x = jax.random.normal(jax.random.key(0), (64, 3, 2))
    sampler = OneParticle(n_moves=3)
    drawn = [
        sampler.sample(f, {}, sampler.init(jax.random.key(1), f, {}, x))
        for f in (gaussian, one_by_one())
    ]
    np.testing.assert_allclose(drawn[0][0], drawn[1][0], atol=1e-5)
    assert 0 < drawn[0][2]["acceptance"] < 1


@pytest.mark.medium
def test_the_autocorrelation_time_is_that_of_the_moves():
    """Independent samples have 1; short steps of width w decorrelate by (1 - w^2 n / 2) each."""
    x = jax.random.normal(jax.random.key(0), (4000, 4, 3)) / np.sqrt(2)
    long, short = Metropolis(n_moves=400, width=0.5), Metropolis(n_moves=1, width=0.1)
    times = [
        float(
            s.sample(gaussian, {}, s.init(jax.random.key(1), gaussian, {}, x))[2][
                "autocorrelation_time"
            ]
        )
        for s in (long, short)
    ]
    assert abs(times[0] - 1) < 0.1
    # Displacements of sqrt(acceptance) w over Var = 1/2: rho = 1 - acceptance w^2.
    assert 200 < times[1] < 300


@pytest.mark.medium
def test_walkers_off_the_domain_of_psi_come_back_and_do_not_leave():
    def half(params, x):
        return jnp.where(x[:, 0, 0] > 0, gaussian(params, x), jnp.nan)

    x = jnp.abs(jax.random.normal(jax.random.key(0), (64, 1, 3))).at[:32, 0, 0].multiply(-1)
    for sampler in (kind(n_moves=50, width=1.0) for kind in SAMPLERS):
        there, _, _ = sampler.sample(half, {}, sampler.init(jax.random.key(1), half, {}, x))
        inside = np.asarray(there[:, 0, 0] > 0)
        assert inside[32:].all() and inside[:32].mean() > 0.6, sampler  # the first begin outside


@pytest.mark.parametrize(("given", "told"), [
    ({"n_moves": 0}, "n_moves must be a whole number of at least 1, but 0 was given"),
    ({"width": -1.0}, "width must be a positive number, a distance, but -1.0 was given"),
    ({"widht": 1.0}, "did you mean width="),
])  # fmt: skip
@pytest.mark.parametrize("kind", [Metropolis, MALA, OneParticle])
def test_bad_settings_are_told(kind, given, told):
    with pytest.raises((ValueError, TypeError), match=told):
        kind(**given)


def test_positions_without_three_axes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(n_walkers, n_particles, n_dimensions\)"):
        Metropolis().init(jax.random.key(0), gaussian, {}, jnp.zeros((4, 3)))


@pytest.mark.medium
def test_moves_of_all_particles_are_accepted_alike_however_many_there_are():
    found = []
    for n in (4, 16, 64):
        x = jax.random.normal(jax.random.key(n), (256, n, 3)) * np.sqrt(0.5)
        sampler = Metropolis()
        state = sampler.init(jax.random.key(1), gaussian, {}, x)
        assert state.width == pytest.approx(0.3 / np.sqrt(n))
        found.append(float(sampler.sample(gaussian, {}, state)[2]["acceptance"]))
    assert 0.6 < np.mean(found) < 0.9 and np.ptp(found) < 0.05
    assert Metropolis(width=2.0).init(jax.random.key(1), gaussian, {}, x).width == 2.0

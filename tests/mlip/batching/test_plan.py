"""Which structures are drawn into which batch."""

import jax
import jax.numpy as jnp
import numpy as np

from ritz.mlip.batching.plan import (
    divide_into_batches,
    draw_with_replacement,
    energy_weights,
    error_weights,
    most_atoms,
    random_subset,
)


def test_sampling_weights():
    np.testing.assert_allclose(energy_weights([-3.0, -1.0, -2.0]), [1, 1 / 2, 1 / 1.5])
    np.testing.assert_array_equal(energy_weights([2.0, 2.0]), [1, 1])
    found = error_weights(jnp.array([1.0, 3.0, -1.0, np.nan, np.inf]))
    np.testing.assert_allclose(found, np.array([1, 3, 1e-12, 1e-12, 1e-12]) / (4 / 5), rtol=1e-9)
    np.testing.assert_array_equal(error_weights(jnp.zeros(3)), np.ones(3))


def test_draws_have_their_probabilities():
    weights = jnp.tile(jnp.array([1.0, 3.0, 0.0]), 2000)
    kinds = np.asarray(draw_with_replacement(jax.random.key(0), weights)) % 3
    counts = np.bincount(kinds, minlength=3)
    assert counts[2] == 0
    expected, error = 6000 * 0.75, np.sqrt(6000 * 0.75 * 0.25)
    assert abs(counts[1] - expected) < 4 * error


def test_every_structure_is_once_in_an_epoch_and_batches_are_alike():
    sizes = jnp.asarray(np.random.default_rng(0).integers(2, 60, 41))
    everybody = jnp.ones(41, bool)
    plans = [
        np.asarray(
            divide_into_batches(jax.random.key(seed), jnp.arange(41), everybody, sizes, 6, 7)
        )
        for seed in range(40)
    ]
    for plan in plans:
        assert sorted(plan[plan >= 0]) == list(range(41))
        atoms = np.where(plan >= 0, np.asarray(sizes)[plan], 0).sum(axis=1)
        assert np.all(atoms <= most_atoms(np.asarray(sizes)[:, None], 6)[0])
        assert np.ptp(np.sum(plan >= 0, axis=1)) <= 1
    # Every structure is in every batch equally often.
    where = [np.nonzero(plan == 7)[0][0] for plan in plans]
    assert set(where) == set(range(6))


def test_a_chosen_subset():
    allowed = jnp.asarray(np.arange(20) % 2 == 0)
    found = np.asarray(random_subset(jax.random.key(1), allowed, 4))
    assert found.sum() == 4 and not np.any(found & ~np.asarray(allowed))

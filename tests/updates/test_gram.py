"""Products of scores, and systems solved in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.updates.gram import gram
from ritz.updates.solvers import Cholesky, solve


@pytest.mark.parametrize("n", [7, 256, 301])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_gram(n, dtype):
    rows = jax.random.normal(jax.random.key(n), (n, 13), dtype)
    expected = np.asarray(rows) @ np.asarray(rows).conj().T
    found = jax.jit(gram)(rows)
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found,
        expected,
        rtol=1e-5 if dtype == np.float32 else 1e-12,
        atol=1e-5 if dtype == np.float32 else 1e-12,
    )
    np.testing.assert_allclose(found, found.conj().T, rtol=1e-5)


def test_systems_are_solved_in_double_precision():
    """A shift that single precision cannot add to the matrix still regularises it."""
    ones = jnp.ones((3, 3), jnp.float32)  # singular
    rhs = jnp.asarray([1.0, -1.0, 0.0], jnp.float32)
    solution, _ = solve(Cholesky(None), ones, rhs, 1e-8)
    assert solution.dtype == np.float64
    np.testing.assert_allclose(solution, [1e8, -1e8, 0.0], rtol=1e-5, atol=1e3)
    assert np.float32(1) + np.float32(1e-8) == 1

"""Logarithms of determinants and Pfaffians against what defines them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ritz.lattice.models import log_pfaffian
from ritz.lattice.models.determinants import complex_log, log_determinant, log_of_sum

pytestmark = pytest.mark.netket


def antisymmetric(n, kind=float, batch=3):
    rng = np.random.default_rng(n)
    matrix = rng.normal(size=(batch, n, n)).astype(kind)
    if kind is complex:
        matrix = matrix + 1j * rng.normal(size=matrix.shape)
    return matrix - matrix.swapaxes(1, 2)


def by_expansion(matrix):
    """The Pfaffian, expanded along its first row."""
    if not len(matrix):
        return 1.0
    without = [np.delete(np.delete(matrix, [0, j], 0), [0, j], 1) for j in range(1, len(matrix))]
    signs = (-1.0) ** np.arange(len(without))
    return sum(
        s * a * by_expansion(m) for s, a, m in zip(signs, matrix[0, 1:], without, strict=True)
    )


@pytest.mark.parametrize("kind", [float, complex])
@pytest.mark.parametrize("n", [2, 4, 6, 8])
def test_pfaffians_are_their_expansion_and_square_to_determinants(n, kind):
    matrix = antisymmetric(n, kind)
    sign, log = jax.device_get(jax.jit(log_pfaffian)(matrix))
    found = sign * np.exp(log)
    np.testing.assert_allclose(found, list(map(by_expansion, matrix)), rtol=1e-11)
    np.testing.assert_allclose(found**2, np.linalg.det(matrix), rtol=1e-10)


@pytest.mark.medium
def test_a_pfaffian_beyond_the_range_of_numbers():
    matrix = 1e80 * antisymmetric(8)
    sign, log = log_pfaffian(matrix)
    unscaled, before = log_pfaffian(antisymmetric(8))
    np.testing.assert_allclose(log, before + 4 * 80 * np.log(10), rtol=1e-12)
    assert np.array_equal(sign, unscaled)


@pytest.mark.medium
@pytest.mark.parametrize("kind", [float, complex])
def test_derivatives_by_finite_differences(kind):
    matrix = antisymmetric(4, kind, batch=2)

    def pfaffian(upper):
        return complex_log(*log_pfaffian(upper - jnp.swapaxes(upper, -1, -2)))

    def determinants(both):
        return complex_log(*log_of_sum(*log_determinant(both)))

    check_grads(jnp.vectorize(pfaffian, signature="(n,n)->()"), (matrix,), order=2, rtol=1e-5)
    check_grads(determinants, (matrix + 0.5,), order=2, rtol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize("logarithm", [log_pfaffian, log_determinant])
def test_vanishing_ones_are_zero_with_finite_derivatives(logarithm):
    matrix = antisymmetric(4, batch=2)
    matrix[0, 1] = matrix[0, :, 1] = 0

    def log_psi(matrix):
        return jnp.sum(jnp.where(jnp.arange(2) == 1, logarithm(matrix)[1], 0))

    sign, log = logarithm(jnp.asarray(matrix))
    assert sign[0] == 0 and log[0] == -np.inf and np.isfinite(log[1])
    gradient = jax.grad(log_psi)(jnp.asarray(matrix))
    assert np.all(np.isfinite(gradient)) and np.all(gradient[0] == 0) and np.any(gradient[1] != 0)


def test_sums_of_terms_that_vanish_or_cancel():
    sign = jnp.array([[1.0, -1.0], [0.0, -1.0], [0.0, 0.0], [1.0, -1.0]])
    log = jnp.array([[2.0, 1.0], [-jnp.inf, 3.0], [-jnp.inf, -jnp.inf], [5.0, 5.0]])
    found_sign, found = log_of_sum(sign, log)
    assert found_sign.tolist() == [1, -1, 0, 0]
    np.testing.assert_allclose(found, [np.log(np.e**2 - np.e), 3, -np.inf, -np.inf])
    gradient = jax.grad(lambda log: jnp.sum(log_of_sum(sign, log)[1][:2]))(log)
    assert np.all(np.isfinite(gradient))
    assert complex_log(found_sign, found).imag.tolist() == [0, np.pi, 0, 0]


def test_pfaffians_of_an_odd_size_are_refused():
    with pytest.raises(
        ValueError, match=r"square matrices of even size, but the shape \(2, 3, 3\)"
    ):
        log_pfaffian(jnp.zeros((2, 3, 3)))

"""Real spherical harmonics, and how they couple to invariants."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def real_spherical_harmonics(
    units: Float[Array, "*rows 3"], order: int
) -> Float[Array, "*rows n_harmonics"]:
    """Real spherical harmonics of unit vectors, for all l up to `order`.

    Those of one l are 2 l + 1 columns, m from -l to l, with (-1)^m left out, and the sum of their
    squares is 2 l + 1 instead of (2 l + 1) / 4 pi, so that they are of the order of 1. They are
    polynomials in x, y, z: cosines and sines of m phi times sin(theta)^m are the real and the
    imaginary part of (x + i y)^m.
    """
    x, y, z = (units[..., axis] for axis in range(3))
    cosines, sines = [jnp.ones_like(x)], [jnp.zeros_like(x)]
    for _ in range(order):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(x * cosine - y * sine)
        sines.append(x * sine + y * cosine)
    legendre = _legendre_over_sines(z, order)
    columns = []
    for degree, m in itertools.chain.from_iterable(
        ((degree, m) for m in range(-degree, degree + 1)) for degree in range(order + 1)
    ):
        part = cosines[m] if m >= 0 else sines[-m]
        columns.append(_norm(degree, abs(m)) * legendre[degree, abs(m)] * part)
    return jnp.stack(columns, axis=-1)


def _norm(degree: int, m: int) -> float:
    ratio = math.factorial(degree - m) / math.factorial(degree + m)
    return math.sqrt((2 * degree + 1) * ratio * (2 if m else 1))


def _legendre_over_sines(z: Array, order: int) -> dict[tuple[int, int], Array]:
    """P_l^m(z) / (1 - z^2)^(m/2) without (-1)^m, by (l, m)."""
    found: dict[tuple[int, int], Array] = {}
    for m in range(order + 1):
        found[m, m] = math.prod(range(1, 2 * m, 2)) * jnp.ones_like(z)
        for degree in range(m + 1, order + 1):
            below = found[degree - 2, m] * (degree + m - 1) if degree > m + 1 else 0
            found[degree, m] = ((2 * degree - 1) * z * found[degree - 1, m] - below) / (degree - m)
    return found


@functools.cache
def coupling_of(first: int, second: int, third: int) -> np.ndarray:
    """The invariant of three real harmonics, of shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) and norm 1.

    The sum of its elements times Y_l1(u) Y_l2(v) Y_l3(w) does not change when u, v and w are
    rotated together. It is Wigner's 3j symbol in the basis of real harmonics, without the factor
    i that it has there if l1 + l2 + l3 is odd; it changes its sign under inversion then.
    """
    symbols = np.zeros((2 * first + 1, 2 * second + 1, 2 * third + 1))
    for a, b in itertools.product(range(-first, first + 1), range(-second, second + 1)):
        if abs(a + b) <= third:
            value = wigner_3j(first, second, third, a, b)
            symbols[first + a, second + b, third - a - b] = value
    in_real = np.einsum(
        "abc,ax,by,cz->xyz", symbols, *(_complex_in_real(d) for d in (first, second, third))
    )
    return in_real.imag if (first + second + third) % 2 else in_real.real


def _complex_in_real(degree: int) -> np.ndarray:
    """Complex spherical harmonics, by rows, as sums of real ones."""
    found = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    found[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        found[degree + m, [degree + m, degree - m]] = np.array([sign, 1j * sign]) / math.sqrt(2)
        found[degree - m, [degree + m, degree - m]] = np.array([1, -1j]) / math.sqrt(2)
    return found


def wigner_3j(first: int, second: int, third: int, a: int, b: int) -> float:
    """Wigner's symbol (l1 l2 l3; a b -a-b), by Racah's formula (Phys. Rev. 62, 438 (1942))."""
    c = -a - b
    if not abs(first - second) <= third <= first + second:
        return 0.0
    f = math.factorial
    triangle = f(first + second - third) * f(first - second + third) * f(-first + second + third)
    squares = [f(j + m) * f(j - m) for j, m in ((first, a), (second, b), (third, c))]
    low = max(0, second - third - a, first - third + b)
    high = min(first + second - third, first - a, second + b)
    total = sum(
        (-1) ** k
        / (
            f(k)
            * f(first + second - third - k)
            * f(first - a - k)
            * f(second + b - k)
            * f(third - second + a + k)
            * f(third - first - b + k)
        )
        for k in range(low, high + 1)
    )
    root = math.sqrt(triangle * math.prod(squares) / f(first + second + third + 1))
    return (-1) ** (first - second - c) * root * total

"""Checks that a wave function agrees with a given mode, at random parameters."""

import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

_logger = logging.getLogger(__name__)

LogPsi = Callable[[PyTree, PyTree], Array]
"""`(params, samples) -> log psi`, of shape (n_samples,)."""

_Deviation = tuple[Array, Array | float]
"""What a check finds, and the size that it is compared with."""

_Test = Callable[[LogPsi, PyTree, PyTree], _Deviation]

_SCALE = 0.1
"""Standard deviation of random numbers added to the parameters, which may be special."""


def check_mode(mode: str, log_psi: LogPsi, params: PyTree, samples: PyTree) -> None:
    """Refuse the modes "real" and "holomorphic" for a log psi that contradicts them.

    "real" needs a phase whose changes with the parameters are the same for all configurations, up
    to signs of psi. "holomorphic" needs complex parameters only, and derivatives that obey the
    Cauchy-Riemann equations, up to what is the same for all configurations. Both are looked at
    near the given parameters, with random numbers added. A log psi that cannot be evaluated there
    is not judged.

    Args:
        mode: One of `ritz.updates.problem.MODES`.
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        samples: A few random configurations.

    Raises:
        ValueError: With the mode to use instead.
    """
    if mode not in ("real", "holomorphic"):
        return
    is_complex = jnp.issubdtype(jax.eval_shape(log_psi, params, samples).dtype, jnp.complexfloating)
    if mode == "real":
        if is_complex and _fails(_phase_changes, log_psi, params, samples):
            raise ValueError(
                "mode='real' says that the phase of psi does not change with the parameters, but "
                "that of this model does; use mode='complex', or 'holomorphic' for a holomorphic "
                "model of complex parameters."
            )
        return
    if not all(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
        raise ValueError(
            "mode='holomorphic' needs complex parameters only, but this model has real ones; use "
            "mode='complex' instead."
        )
    if not is_complex or _fails(_cauchy_riemann, log_psi, params, samples):
        raise ValueError(
            "mode='holomorphic' says that log psi is a holomorphic function of the parameters, but "
            "that of this model does not obey the Cauchy-Riemann equations; use mode='complex' "
            "instead."
        )


def phase_is_fixed(log_psi: LogPsi, params: PyTree, samples: PyTree) -> bool:
    """Whether a complex log psi of real parameters has a phase that they do not change.

    As that of a determinant of real numbers, whose sign is all that changes. Looked at as by
    `check_mode`, but only rounding errors are allowed.

    Args:
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        samples: A few random configurations.
    """
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
        return False
    try:
        change = jax.jit(_phase_changes, static_argnums=0)(log_psi, params, samples)
        deviation = np.asarray(jax.device_get(change[0]))
    except Exception as error:
        _logger.info("The phase of this model cannot be looked at: %r", error)
        return False
    finite = np.isfinite(deviation)
    small = 100 * np.finfo(deviation.dtype).eps
    return finite.sum() > 1 and bool(np.max(deviation[finite]) < small)


def _fails(test: _Test, log_psi: LogPsi, params: PyTree, samples: PyTree) -> bool:
    """Whether the deviations that `test` finds are larger than rounding errors."""
    try:
        deviation, scale = jax.device_get(jax.jit(test, static_argnums=0)(log_psi, params, samples))
    except Exception as error:
        _logger.info("The mode of this model cannot be checked: %r", error)
        return False
    finite = np.isfinite(deviation)
    # Products of matrices have three digits on some devices in single precision.
    tolerance = 1e-6 if deviation.dtype == np.float64 else 1e-2
    return finite.sum() > 1 and bool(np.max(deviation[finite]) > tolerance * (scale + tolerance))


def _phase_changes(log_psi: LogPsi, params: PyTree, samples: PyTree) -> _Deviation:
    """Differences of the phase change between two sets of parameters, modulo pi."""
    first, second = (log_psi(_random_near(params, seed), samples) for seed in (1, 2))
    turned = jnp.exp(2j * jnp.imag(second - first))  # twice: signs do not matter
    reference = turned[jnp.argmax(jnp.isfinite(turned))]
    return jnp.abs(turned - reference), 1.0


def _cauchy_riemann(log_psi: LogPsi, params: PyTree, samples: PyTree) -> _Deviation:
    """|df(i v) - i df(v)| for a random direction v, less its mean, and the size of df(v)."""
    near, direction = _random_near(params, 1), _random_near(params, 2)
    direction = jax.tree.map(lambda a, b: a - b, direction, near)
    rotated = jax.tree.map(lambda v: (1j * v).astype(v.dtype), direction)

    def change(along: PyTree) -> Array:
        _, derivative = jax.jvp(lambda p: log_psi(p, samples), (near,), (along,))
        return derivative - jnp.mean(derivative, where=jnp.isfinite(derivative))

    plain, turned = change(direction), change(rotated)
    size = jnp.max(jnp.abs(plain), where=jnp.isfinite(plain), initial=0.0)
    return jnp.abs(turned - 1j * plain), size


def _random_near(params: PyTree, seed: int) -> PyTree:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), max(len(leaves), 1))

    def moved(leaf: Array, key: Array) -> Array:
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return leaf + _SCALE * jax.random.normal(key, leaf.shape, leaf.dtype)

    return jax.tree.unflatten(structure, list(map(moved, leaves, keys)))

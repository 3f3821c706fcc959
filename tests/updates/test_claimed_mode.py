"""Modes that a model contradicts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.updates.claimed_mode import check_mode, phase_is_fixed

nk = pytest.importorskip("netket")
pytestmark = pytest.mark.netket

SPINS = nk.hilbert.Spin(0.5, 5)
X = SPINS.random_state(jax.random.key(0), 16)


def linear(params, x):
    return x @ params["a"]


MODELS = {  # a model, and the modes that it does not contradict
    "RBM": (nk.models.RBM(), {"real"}),
    "RBM, complex": (nk.models.RBM(param_dtype=complex), {"holomorphic"}),
    "RBM, single": (nk.models.RBM(param_dtype=np.complex64), {"holomorphic"}),
    "phase": (nk.models.RBMModPhase(), set()),
    "Jastrow": (nk.models.Jastrow(), {"holomorphic"}),
    "real Jastrow": (nk.models.Jastrow(param_dtype=float), {"real"}),
    "real part": (lambda p, x: linear(p, x).real + 0j, {"real"}),
    "conjugated": (lambda p, x: linear(p, x) + 1e-2 * jnp.abs(linear(p, x)), set()),
    "normalised": (lambda p, x: linear(p, x) - jnp.sum(jnp.abs(p["a"]) ** 2), {"holomorphic"}),
    "signs": (lambda p, x: linear(p, x).real + 1j * jnp.pi * (linear(p, x).imag > 0), {"real"}),
    "fixed phase": (lambda p, x: linear(p, x).real + 0.3j * jnp.sum(x, axis=-1), {"real"}),
    "zeros": (lambda p, x: jnp.where(x[:, 0] > 0, linear(p, x), -jnp.inf), {"holomorphic"}),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", MODELS)
def test_which_modes_are_refused(name):
    model, allowed = MODELS[name]
    if callable(getattr(model, "apply", None)):
        params = model.init(jax.random.key(0), X)["params"]
        log_psi = lambda p, x: model.apply({"params": p}, x)  # noqa: E731
    else:  # parameters without imaginary parts, as many are initialised
        params, log_psi = {"a": jnp.linspace(-1, 1, 5).astype(complex)}, model
    check_mode("complex", log_psi, params, X)
    for mode in ("real", "holomorphic"):
        if mode in allowed:
            check_mode(mode, log_psi, params, X)
        else:
            with pytest.raises(ValueError, match=rf"mode='{mode}' .*use.* ?mode='complex'"):
                check_mode(mode, log_psi, params, X)


def test_a_model_that_cannot_be_tried_is_not_judged():
    def log_psi(params, x):
        return jax.pure_callback(
            lambda a: np.asarray(a), jax.ShapeDtypeStruct((16,), complex), params["a"]
        )

    check_mode("holomorphic", log_psi, {"a": jnp.ones(16, complex)}, X)


@pytest.mark.parametrize(
    ("log_psi", "fixed"),
    [
        (lambda p, x: linear(p, x) + 1j * jnp.pi * (linear(p, x) > 0), True),
        (lambda p, x: linear(p, x) + 0.3j * jnp.sum(x, axis=-1), True),
        (lambda p, x: linear(p, x) + 1e-6j * linear(p, x), False),
        (lambda p, x: jnp.full(len(x), jnp.nan + 0j) * p["a"][0], False),
    ],
    ids=["signs", "fixed", "slowly", "nan"],
)
def test_phases_that_real_parameters_do_not_change(log_psi, fixed):
    params = {"a": jnp.linspace(-1, 1, 5)}
    assert phase_is_fixed(log_psi, params, X) == fixed
    assert not phase_is_fixed(log_psi, {"a": params["a"] + 0j}, X)

"""Wave functions that vanish on part of their space."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice import VMC, mc_state
from ritz.loggers import RuntimeLog
from ritz.updates import SR

pytestmark = pytest.mark.netket


class Projected(nn.Module):
    """psi = 0 unless exactly two spins are up; no single flip connects two others."""

    undefined: bool = False

    @nn.compact
    def __call__(self, x):
        inner = nk.models.Jastrow(param_dtype=float)(x)
        zero = jnp.nan if self.undefined else -jnp.inf
        return jnp.where(jnp.sum(x > 0, axis=-1) % 3 == 2, inner, zero)


@pytest.mark.medium
@pytest.mark.parametrize("undefined", [False, True])
def test_chains_leave_where_psi_vanishes(undefined):
    hilbert = nk.hilbert.Spin(0.5, 5)
    model = Projected(undefined)
    state = mc_state(model, hilbert, n_samples=256, seed=1, sampler_seed=2, sweep_size=1)
    before = state.log_value(state.sampler_state.σ)
    assert np.mean(~(before > -np.inf)) > 0.3
    assert np.all(state.log_value(state.samples) > -np.inf)
    assert np.all(np.isfinite(state.sampler_state.log_prob))


def test_a_local_update_with_zeros():
    from ritz.lattice import LocalUpdate, local_update

    class Signed(nn.Module):
        """psi = 0 where the first spin is down."""

        @nn.compact
        def __call__(self, x):
            self.param("unused", nn.initializers.zeros, (1,), float)
            return jnp.log(jnp.abs(jnp.sum(x, axis=-1) + 1.5) * (x[..., 0] > 0))

    class SignedUpdate(LocalUpdate):
        def prepare(self, params):
            return ()

        def start(self, tables, x):
            return x.T

        def log_ratio(self, tables, cache, values, sites):
            log_psi = Signed().apply
            new = cache.at[sites].multiply(-1)
            old_value, value = (
                log_psi({"params": {"unused": jnp.zeros(1)}}, c.T) for c in (cache, new)
            )
            return value - old_value, new

        def log_ratios(self, tables, cache, x, flips):
            raise NotImplementedError

    local_update.register(Signed, lambda model, states: SignedUpdate())
    hilbert = nk.hilbert.Spin(0.5, 5)
    state = mc_state(Signed(), hilbert, n_samples=2048, seed=1, sampler_seed=2)
    state.n_discard_per_chain = 30
    psi = np.exp(state.log_value(hilbert.all_states()))
    numbers = hilbert.states_to_numbers(np.asarray(state.samples).reshape(-1, 5))
    seen = np.bincount(numbers, minlength=hilbert.n_states) / 2048
    p = psi**2 / np.sum(psi**2)
    assert np.all(seen[p == 0] == 0)
    np.testing.assert_allclose(seen, p, atol=4.5 * np.sqrt(0.25 / 2048))


def test_a_model_of_nan_only_does_not_wait():
    class Broken(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.full(x.shape[0], jnp.nan) * self.param("a", nn.initializers.ones, (), float)

    state = mc_state(Broken(), nk.hilbert.Spin(0.5, 4), n_samples=8)
    state.sample()
    assert state.sampler_state.n_steps == 8 * 4
    assert not np.any(np.isnan(jax.device_get(state.samples)))


class HalfSpace(nn.Module):
    """psi = 0 where the first spin is down."""

    @nn.compact
    def __call__(self, x):
        return jnp.where(x[..., 0] > 0, nk.models.RBM(alpha=1, param_dtype=float)(x), -jnp.inf)


@pytest.mark.medium
def test_a_wave_function_with_zeros_is_optimised():
    """On half of the space, against exact diagonalisation there."""
    hilbert = nk.hilbert.Spin(0.5, 6)
    ising = nk.operator.IsingJax(hilbert, nk.graph.Chain(6), h=1.0, J=-1.0)
    state = mc_state(HalfSpace(), hilbert, n_samples=512, seed=1, sampler_seed=2)
    driver = VMC(ising, 0.1, variational_state=state, update=SR(1e-2))
    log = RuntimeLog()
    driver.run(60, out=log, show_progress=False)
    assert np.all(np.isfinite(log.data["Energy"]["Mean"]))
    kept = hilbert.all_states()[:, 0] > 0
    exact = np.linalg.eigvalsh(ising.to_dense()[np.ix_(kept, kept)])[0]
    assert driver.loss.mean.real == pytest.approx(exact, abs=0.05)

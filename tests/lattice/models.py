"""Small states on which tests of the lattice share their compiled functions."""

import jax
import netket as nk
import numpy as np
import optax

from ritz.lattice import VMC
from ritz.loggers import RuntimeLog
from ritz.updates import SR

N_SITES = 6
HILBERT = nk.hilbert.Spin(0.5, N_SITES)
ISING = nk.operator.IsingJax(HILBERT, nk.graph.Chain(N_SITES), h=1.0)
SGD = optax.sgd(0.05)

MODELS = {
    "real": nk.models.RBM(alpha=1),
    "complex": nk.models.RBM(alpha=1, param_dtype=complex),
    "phase": nk.models.RBMModPhase(alpha=1),
}


def mc_state(model="real", n_samples=64, seed=1, **options):
    sampler = nk.sampler.MetropolisLocal(HILBERT, n_chains=16)
    return nk.vqs.MCState(
        sampler, MODELS[model], n_samples=n_samples, seed=seed, sampler_seed=seed + 1, **options
    )


def full_state(model="real", seed=1, hilbert=HILBERT, **options):
    return nk.vqs.FullSumState(hilbert, MODELS[model], seed=seed, **options)


SR_RULE = SR(1e-2)


def run(driver, n_iter, **arguments):
    log = RuntimeLog()
    driver.run(n_iter, out=log, show_progress=False, **arguments)
    return log.data


def vmc(state=None, update=SR_RULE, **options):
    return VMC(ISING, SGD, variational_state=state or mc_state(), update=update, **options)


def assert_trees_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)

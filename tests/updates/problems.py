"""Problems of small flax modules."""

import jax
import jax.numpy as jnp
import numpy as np

from ritz.updates import Problem


def model_problem(model, x, mode="real"):
    """A problem of a flax module whose parameters are all random."""
    drawn = jax.jit(model.init)(jax.random.key(0), x)["params"]
    leaves, structure = jax.tree.flatten(drawn)
    random = np.random.default_rng(1)
    params = structure.unflatten(
        [jnp.asarray(p + 0.1 * random.standard_normal(p.shape), p.dtype) for p in leaves]
    )

    def log_psi(p, x):
        return model.apply({"params": p}, x)

    return Problem(log_psi, params, x, smooth(x), mode=mode)


def smooth(x):
    """Losses that are a function of the samples."""
    flat = np.asarray(x).reshape(len(x), -1)
    one, two = np.random.default_rng(4).standard_normal((2, flat.shape[1]))
    return jnp.asarray(np.sin(flat @ one) + (flat @ two) ** 2 / 5)


def lattice_samples(n=5, n_sites=16):
    return jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (n, n_sites)))

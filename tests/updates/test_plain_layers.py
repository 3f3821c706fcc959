"""Linear layers of functions that are no modules of flax."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ritz.updates import KFAC, linear
from tests.updates.problems import lattice_samples, model_problem
from tests.updates.test_kfac import MLP, direction


def test_layers_of_plain_functions_are_seen():
    """`linear` is to KFAC what Dense is."""
    problem = model_problem(MLP(), lattice_samples(200, 8))

    def log_psi(params, x):
        first, second = (params[f"Dense_{n}"] for n in (0, 1))
        h = jnp.tanh(linear(x, first["kernel"], first["bias"]))
        return jnp.sum(jnp.log(jnp.cosh(linear(h, second["kernel"], second["bias"]))), axis=1)

    plain = dataclasses.replace(problem, log_psi=log_psi)
    assert [block.layer.kind for block in KFAC().blocks(plain)] == ["linear"] * 2
    found, wanted = direction(KFAC(), plain), direction(KFAC(), problem)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)

    def tied(params, x):
        return log_psi(params, x) + jnp.sum(params["Dense_0"]["kernel"] ** 2)

    blocks = KFAC().blocks(dataclasses.replace(problem, log_psi=tied))
    assert sorted(block.kind for block in blocks) == ["Kronecker", "exact"]

"""Scores of convolutions as sums over patches, against plain derivatives."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ritz.updates.realify import realify
from ritz.updates.scores import convolutions
from tests.updates.test_score_map import N, check_map, names_of, problem_of


class Convolutional(nn.Module):
    """Convolutions, of which one is called twice, and a wide dense layer."""

    dtype: type = float

    @nn.compact
    def __call__(self, x):
        hidden = x.reshape(len(x), -1, 1)
        first = nn.Conv(4, (3,), padding="CIRCULAR", param_dtype=self.dtype, name="first")
        again = nn.Conv(4, (2,), strides=2, param_dtype=self.dtype, name="again", use_bias=False)
        hidden = again(jnp.tanh(again(jnp.tanh(first(hidden)))))
        hidden = nn.Dense(50, param_dtype=self.dtype, name="wide")(hidden.reshape(len(x), -1))
        return jnp.sum(jnp.log(jnp.cosh(hidden)), axis=-1)


def plain_scores(problem):
    """Centred derivatives by the vector of all parameters, without a look at layers."""
    form = realify(problem.params, problem.mode)

    def values(vector):
        log = problem.log_psi(form.restore(vector), problem.samples)
        return {
            "real": lambda: log.real,
            "complex": lambda: jnp.concatenate([log.real, log.imag]),
            "holomorphic": lambda: log,
        }[problem.mode]()

    derivative = jax.jacrev(values, holomorphic=problem.mode == "holomorphic")
    rows = np.asarray(derivative(form.flatten(problem.params)))
    parts = rows.reshape(-1, N, rows.shape[-1])
    return ((parts - parts.mean(axis=1, keepdims=True)) / N**0.5).reshape(rows.shape)


@pytest.mark.medium
@pytest.mark.parametrize(("mode", "dtype"), [("real", float), ("complex", float),
                         ("complex", complex), ("holomorphic", complex)])  # fmt: skip
def test_scores_of_convolutions_by_patches(mode, dtype):
    problem = problem_of(
        mode,
        net=Convolutional(dtype),
        dtype=dtype if mode == "complex" else float,
        samples=jnp.asarray(np.random.default_rng(3).standard_normal((N, 6))),
    )
    names = [jax.tree.leaves_with_path(problem.params)[one.kernel][0][-2].key
             for one in convolutions(problem.log_psi, problem.params, problem.samples)]  # fmt: skip
    assert sorted(names) == ["again", "first"]
    wanted = plain_scores(problem)
    for chunk_size in (None, 5):
        this = dataclasses.replace(problem, chunk_size=chunk_size)
        np.testing.assert_allclose(jax.jit(this.scores)(), wanted, atol=1e-13, rtol=1e-11)
        check_map(this)
    if dtype is not complex or mode == "holomorphic":
        assert "wide" in names_of(problem)

"""KFAC against kfac-jax."""

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ritz.updates import KFAC, Problem
from ritz.updates.kfac.curvature import curvature_and_gradient
from ritz.updates.kfac.inverse import by_cholesky, damped, solved
from tests.updates import kfac_jax_oracle as oracle


class Flax(nn.Module):
    """The network of the oracle as a flax module."""

    @nn.compact
    def __call__(self, x):
        dense = functools.partial(nn.Dense, param_dtype=float)
        h = jnp.mean(jnp.tanh(dense(5, name="each")(x)), axis=1)
        return dense(1, name="last")(jnp.tanh(dense(6, name="hidden")(h)))[:, 0]


def check_oracle(file):
    """Factors and directions against those of kfac-jax in a file."""
    given = {name: jnp.asarray(value) for name, value in oracle.numbers().items()}
    x = given.pop("x")
    params: dict = {"each": {}, "hidden": {}, "last": {}}
    vector: dict = {"each": {}, "hidden": {}, "last": {}}
    for name, value in given.items():
        tree = vector if name.startswith("v/") else params
        layer, kind = name.removeprefix("v/").split("/")
        tree[layer][kind] = value
    model = Flax()
    problem = Problem(
        lambda p, x: model.apply({"params": p}, x), params, x, jnp.zeros(len(x)), mode="real"
    )
    blocks = KFAC().blocks(problem)
    found, _ = curvature_and_gradient(problem, blocks, centred=False, sharing="expand")
    known = np.load(file)
    for block, curvature in zip(blocks, found, strict=True):
        name = block.parameters[0].split("/")[0]
        order = ["each", "hidden", "last"].index(name)
        n_uses = oracle.ELECTRONS if name == "each" else 1
        # kfac-jax adds the inputs of all uses up, and divides the product by their number.
        np.testing.assert_allclose(n_uses * curvature[0], known[f"a{order}"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(curvature[1], known[f"g{order}"], rtol=1e-6, atol=1e-9)
        for damping in oracle.DAMPINGS:
            gradient = block.layer.matrix(jax.tree.leaves(vector))
            leaves = jax.tree.leaves(vector)
            block.layer.put(leaves, solved(damped(curvature, damping), gradient, by_cholesky))
            for place, parameter in zip(block.places, block.parameters, strict=True):
                wanted = known[f"{damping}/{parameter}"]
                np.testing.assert_allclose(leaves[place], wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.medium
def test_factors_and_directions_are_those_of_kfac_jax():
    check_oracle(Path(__file__).parents[1] / "data" / "kfac_jax.npz")


@pytest.mark.skipif(not importlib.util.find_spec("kfac_jax"), reason="kfac-jax is not installed")
def test_factors_and_directions_are_those_of_the_kfac_jax_that_is_installed(tmp_path):
    command = [sys.executable, "-m", oracle.__name__, str(tmp_path / "found.npz")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    check_oracle(tmp_path / "found.npz")

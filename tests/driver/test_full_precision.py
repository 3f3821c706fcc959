"""Products of float32 matrices are not rounded to fewer digits, as GPUs do by default."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.driver import Kernel, Proposal
from ritz.driver.blocks import live
from ritz.driver.blocks.block import run_block
from ritz.driver.blocks.traced import Observers
from ritz.updates.gram import gram

HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


def products(jaxpr):
    """The precision of all products of matrices, also those within loops and functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from products(inner)


class Carry(NamedTuple):
    params: jax.Array


class Quadratic(Kernel):
    """The loss x^T x, with products in each phase."""

    def sample(self, carry):
        return carry, carry.params.T @ carry.params

    def propose(self, carry, batch):
        loss, slope = jax.value_and_grad(lambda x: jnp.sum(x.T @ x))(carry.params)
        return carry, Proposal(loss + 0 * batch[0, 0], slope, {})

    def apply(self, carry, update):
        return Carry(carry.params - 0.1 * update @ jnp.eye(3, dtype=update.dtype))


jax.tree_util.register_static(Quadratic)
START = Carry(jnp.ones((3, 3), jnp.float32))


def programs():
    """The programs of a block, of a live step and of an update alone."""
    kernel, observers, step = Quadratic(), Observers("loss"), np.int32(0)
    yield jax.make_jaxpr(lambda c: live.draw_and_step(kernel, observers, c, (), None)[:-1])(START)
    yield jax.make_jaxpr(lambda c: run_block(kernel, observers, c, (), step, step))(START)
    yield jax.make_jaxpr(lambda c, u: live.apply(kernel, c, u))(START, START.params)


def test_steps_multiply_in_full_precision():
    for program in programs():
        found = list(products(program.jaxpr))
        assert found and set(found) == {HIGHEST}


def test_what_the_user_has_set_is_kept():
    with jax.default_matmul_precision("tensorfloat32"):
        found = {p for program in programs() for p in products(program.jaxpr)}
    assert found and HIGHEST not in found


@pytest.mark.parametrize("n", [7, 300])
def test_gram_matrices(n):
    rows = jnp.ones((n, 5), jnp.float32)
    assert set(products(jax.make_jaxpr(gram)(rows).jaxpr)) == {HIGHEST}

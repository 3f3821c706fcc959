"""Blocks: many steps as one compiled program, and the replay of their hooks."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from ritz.driver.blocks.traced import Held, Observers
from ritz.driver.finite import all_finite
from ritz.driver.kernel import Kernel, Proposal
from ritz.full_precision import in_full_precision
from ritz.types import Row

MOST_ROWS = 1024
"""The longest block: dispatching one costs far less than replaying so many steps."""

MOST_BYTES = 2**24
"""The largest buffer for a block's rows."""

SECONDS = 0.2
"""Target duration of a block in seconds, so that signals, time limits and the bar stay prompt."""

GROWTH = 8
"""Largest ratio of the lengths of a block and the one before it."""


class Block(NamedTuple):
    """Arrays that the block program returns."""

    carry: PyTree
    held: Held
    update: PyTree
    """The update of the last step."""
    rows: PyTree
    """(loss, metrics) of each step, stacked; only the first `length` count."""
    length: jax.Array
    """Number of steps taken: fewer than asked for if the kernel pauses."""
    finite: jax.Array
    """Whether the parameters are finite after the last step."""


_Loop = tuple[jax.Array, PyTree, PyTree, PyTree, jax.Array]
"""Steps taken; carry and what the traced parts carry; update; rows; whether all is finite."""


def barrier(tree: PyTree) -> PyTree:
    """Keep the compiler from fusing the phases of a step, which can make each of them slower."""
    return jax.lax.optimization_barrier(tree)


@functools.partial(jax.jit, static_argnums=1, inline=True)  # traced once, though used twice
@in_full_precision
def _one_step(
    kernel: Kernel, observers: Observers, carry: PyTree, held: Held, step: jax.Array
) -> tuple[PyTree, Held, PyTree, PyTree]:
    carry, batch = barrier(kernel.sample(carry))
    carry, proposal = barrier(kernel.propose(carry, batch))
    metrics = observers.metrics(carry, proposal)
    row = observers.row(step, proposal.loss, metrics)
    held = observers.observe("before_parameter_update", held, carry, row)
    carry = kernel.apply(carry, proposal.update)
    held = observers.observe("on_step_end", held, carry, row)
    return carry, held, proposal.update, (proposal.loss, metrics)


def _like(values: PyTree, model: PyTree) -> PyTree:
    """`values` without weak types; their shapes and types must be those of `model`."""

    def checked(path: tuple[object, ...], value: jax.Array, wanted: jax.Array) -> jax.Array:
        if value.dtype != wanted.dtype or value.shape != wanted.shape:
            raise TypeError(
                f"a step turned {jax.tree_util.keystr(path)} of the carry from {wanted.dtype}"
                f"{wanted.shape} into {value.dtype}{value.shape}; types and shapes in a kernel's "
                "carry must never change, so cast it in the kernel."
            )
        if jnp.issubdtype(value.dtype, jax.dtypes.extended):  # random keys
            return value
        return jax.lax.convert_element_type(value, value.dtype)

    return jax.tree_util.tree_map_with_path(checked, values, model)


def row_shapes(kernel: Kernel, observers: Observers, carry: PyTree) -> Row:
    """Shapes and types of what a step computes, as `Observers.row` gives it."""
    step = jax.ShapeDtypeStruct((), np.int32)
    _, _, _, row = _one_step.eval_shape(kernel, observers, carry, (), step)
    return observers.row(step, *row)


def _buffer_rows(row: PyTree) -> int:
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(row))
    return int(np.clip(MOST_BYTES // max(size, 1), 1, MOST_ROWS))


def _run(
    kernel: Kernel,
    observers: Observers,
    carry: PyTree,
    held: Held,
    first: ArrayLike,
    length: ArrayLike,
    *,
    careful: bool = False,
) -> Block:
    """`length` steps from step `first` on; compiled once for all lengths.

    Args:
        kernel: The kernel.
        observers: The traced parts of callbacks.
        carry: Where to begin.
        held: What the traced parts carry.
        first: The first step.
        length: How many steps.
        careful: Whether to end before applying a step whose loss or parameters are not finite; for
            blocks that cannot be undone.
    """
    carry, held = state = _like((carry, held), (carry, held))
    none = jnp.zeros_like(length)
    _, _, update, row = _one_step.eval_shape(kernel, observers, carry, held, first + none)
    n_rows = _buffer_rows(row)
    length = jnp.minimum(length, n_rows)
    rows = jax.tree.map(lambda leaf: jnp.zeros((n_rows, *leaf.shape), leaf.dtype), row)
    update = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), update)

    def goes_on(loop: _Loop) -> jax.Array:
        i, (carry, _), _, _, finite = loop
        more = (i < length) & ((i == 0) | jnp.logical_not(kernel.pauses(carry)))
        return more & finite if careful else more

    def body(loop: _Loop) -> _Loop:
        i, state, update, rows, finite = loop
        carry, held = state
        # With `i` behind it the kernel changes in each step, so that the compiler moves nothing of
        # a step out of the loop: rounding would differ from that of a live step.
        own, i = barrier((kernel, i))
        carry, held, new_update, row = _one_step(own, observers, carry, held, first + i)
        rows = jax.tree.map(lambda buffer, value: buffer.at[i].set(value), rows, row)
        new = _like((carry, held), state)
        if careful:
            valid = Proposal(row[0], None, row[1]).loss_is_valid
            finite = valid & all_finite(carry.params)
            new = jax.tree.map(lambda moved, old: jnp.where(finite, moved, old), new, state)
        return i + 1, new, _like(new_update, update), rows, finite

    start = (none, state, update, rows, jnp.ones((), bool))
    taken, (carry, held), update, rows, finite = jax.lax.while_loop(goes_on, body, start)
    return Block(
        carry=carry,
        held=held,
        update=update,
        rows=rows,
        length=taken,
        finite=finite & all_finite(carry.params),
    )


run_block = jax.jit(_run, static_argnums=1)
"""The block program; the old carry stays, to go back to."""

run_block_in_place = jax.jit(_run, static_argnums=1, static_argnames="careful", donate_argnums=2)
"""The block program; the old carry is donated."""

"""Arrays of several states along a first axis: parameters, walkers, and maps over states."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.wording import counted


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """Trees of equal structure as one tree, its arrays with the states along their first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def state_of(tree: PyTree, state: int) -> PyTree:
    """The part of one state of a tree of stacked arrays."""
    return jax.tree.map(lambda leaf: leaf[state], tree)


def over_states(function: Callable[..., Any], *trees: PyTree) -> Any:
    """`function` of the parts of each state, one state after another; results are stacked.

    It is compiled once for all states, as it is for a single one.
    """
    return jax.lax.map(lambda parts: function(*parts), trees)


def parameters_by_state(params: PyTree, n_states: int) -> list[PyTree]:
    """Given parameters of several states as one tree for each.

    Args:
        params: A list with a tree for each state, or one tree of stacked arrays.
        n_states: Number of states.

    Raises:
        ValueError: If they are not those of as many states.
    """
    if isinstance(params, list):
        if len(params) == n_states:
            return params
        raise ValueError(
            f"params: n_states={n_states} needs a list of the parameters of {n_states} states, "
            f"but {counted(len(params), 'tree')} were given."
        )
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
    if sizes - {(n_states,)}:
        told = ", ".join(str(size[0]) if size else "none" for size in sorted(sizes))
        raise ValueError(
            f"params: n_states={n_states} needs a list of trees, one for each state, or a tree "
            f"whose arrays all have a first axis of the length {n_states}; theirs are: {told}."
        )
    return [state_of(params, k) for k in range(n_states)]


def check_distinct(params: Sequence[PyTree]) -> None:
    """Refuse states with the same parameters.

    Raises:
        ValueError: If two are equal; no gradient of their overlap, which is 1, separates them.
    """
    for i, j in itertools.combinations(range(len(params)), 2):
        leaves = map(jax.tree.leaves, (params[i], params[j]))
        if all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True)):
            raise ValueError(
                f"params: states {i} and {j} have equal parameters, so that their overlap is 1 and "
                "has no gradient to separate them; pretrain them on different orbitals, see "
                "ritz.molecule.excited_orbitals, or draw them with different seeds."
            )

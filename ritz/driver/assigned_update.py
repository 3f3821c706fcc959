"""Checks an update that a callback puts in place of the computed one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

_KINDS = (np.bool_, np.integer, np.floating, np.complexfloating)
"""Kinds of numbers, each of which holds those before it."""

_ADVICE = (
    "keep structure and shapes, as in "
    "driver.update = jax.tree.map(lambda u: 0.5 * u, driver.update)."
)


def check_update(given: PyTree, needed: PyTree) -> None:
    """Refuse an update that could not be applied.

    Args:
        given: The update that was assigned to `driver.update`.
        needed: The one in whose place it goes: structure and shapes must be the same, and no
            numbers of another kind may come in, such as complex ones for real parameters.

    Raises:
        ValueError: Naming what differs.
    """
    theirs, structure = jax.tree_util.tree_flatten_with_path(given)
    known, expected = jax.tree_util.tree_flatten_with_path(needed)
    if structure != expected:
        raise ValueError(
            f"driver.update was set to the tree {structure!s:.300}, but {expected!s:.300} is "
            f"needed, as the driver computed it; {_ADVICE}"
        )
    for (path, leaf), (_, model) in zip(theirs, known, strict=True):
        if np.shape(leaf) != np.shape(model) or not _fits(_dtype(leaf), _dtype(model)):
            name = jax.tree_util.keystr(path)
            raise ValueError(
                f"driver.update was set to a tree in which {name or 'the array'} is "
                f"{_dtype(leaf)}{np.shape(leaf)}, but {_dtype(model)}{np.shape(model)} is needed, "
                f"as the driver computed it; {_ADVICE}"
            )


def _dtype(leaf: PyTree) -> np.dtype:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _fits(dtype: np.dtype, model: np.dtype) -> bool:
    """Whether numbers of one type can stand for those of another, up to their precision."""
    if dtype == model:
        return True
    ranks = [[jnp.issubdtype(x, kind) for kind in _KINDS] for x in (dtype, model)]
    return all(map(any, ranks)) and ranks[0].index(True) <= ranks[1].index(True)

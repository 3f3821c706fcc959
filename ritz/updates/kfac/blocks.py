"""The blocks in which KFAC divides the parameters of a model."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ritz.updates.derivatives import other_places
from ritz.updates.layers import Layer, linear_layers, of_sample
from ritz.updates.problem import Problem
from ritz.updates.realify import realify
from ritz.wording import counted

KRONECKER, EXACT, DIAGONAL = "Kronecker", "exact", "diagonal"


@dataclasses.dataclass(frozen=True)
class Block:
    """Parameters with one curvature matrix; couplings to other blocks are neglected."""

    kind: str
    """"Kronecker": a product of two matrices, of a layer's inputs and of its outputs; "exact": the
    whole matrix; "diagonal": its diagonal."""
    parameters: tuple[str, ...]
    """Their names, as path/in/the/tree."""
    size: int
    """Number of independent real numbers, or of complex ones in the mode "holomorphic"."""
    places: tuple[int, ...]
    """Their places among the leaves of all parameters."""
    layer: Layer | None = None
    """The layer of a Kronecker block."""

    @property
    def shape(self) -> str:
        """The sizes of its matrices."""
        if self.layer is not None:
            return f"{self.layer.n_rows}^2 x {self.layer.n_outputs}^2"
        return f"{self.size}^2" if self.kind == EXACT else str(self.size)

    def __str__(self) -> str:
        kind = self.kind if self.layer is None else f"{self.kind} ({self.layer.kind})"
        return f"{kind:<24} {self.shape:<16} {', '.join(self.parameters)}"


@dataclasses.dataclass(frozen=True)
class Blocks:
    """All blocks of a model; printed, a table with one line for each."""

    blocks: tuple[Block, ...]

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def size(self, kind: str) -> int:
        """Number of parameters in blocks of a kind."""
        return sum(block.size for block in self.blocks if block.kind == kind)

    @property
    def summary(self) -> str:
        """How many blocks and parameters there are of each kind, in one line."""
        told = []
        for kind in (KRONECKER, EXACT, DIAGONAL):
            number = sum(block.kind == kind for block in self.blocks)
            if number:
                numbers = counted(self.size(kind), "parameter")
                told.append(f"{counted(number, f'{kind} block')} of {numbers}")
        return ", ".join(told)

    def __str__(self) -> str:
        return "\n".join([f"{self.summary}:", *map(str, self.blocks)])


def blocks_of(problem: Problem, largest_exact: int) -> Blocks:
    """The blocks of the model of a problem.

    Args:
        problem: Log psi, parameters, samples (of which only the shape counts) and mode are used.
        largest_exact: Largest size of an exact block.
    """
    params = problem.params
    sample = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), problem.samples
    )
    doubles = (jnp.float64, jnp.complex128)
    is_double = any(leaf.dtype in doubles for leaf in jax.tree.leaves(params))
    with jax.enable_x64(True) if is_double else contextlib.nullcontext():
        layers = linear_layers(of_sample(problem.log_psi), params, sample)
    return divided(params, layers, problem.mode, largest_exact)


def divided(
    params: PyTree, layers: Sequence[Layer], mode: str = "real", largest_exact: int = 1000
) -> Blocks:
    """The blocks of a model: its linear layers, and others for what is left.

    Args:
        params: The parameters, or their shapes and types.
        layers: Its linear layers.
        mode: In which form complex parameters are vectors, see `realify`.
        largest_exact: Largest size of an exact block.
    """
    named = jax.tree_util.tree_flatten_with_path(params)[0]
    leaves = [leaf for _, leaf in named]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") or "all" for path, _ in named]

    def size(places: Sequence[int]) -> int:
        return sum(_numbers(leaves[place], mode) for place in places)

    def block(kind: str, places: Sequence[int], layer: Layer | None = None) -> Block:
        members = tuple(names[place] for place in places)
        return Block(kind, members, size(places), tuple(places), layer)

    found = [block(KRONECKER, layer.leaves, layer) for layer in layers]
    exact: list[int] = []
    for place in other_places(layers, leaves):
        if not leaves[place].size:
            continue
        if size([place]) > largest_exact:
            found.append(block(DIAGONAL, [place]))
            continue
        if size([*exact, place]) > largest_exact:
            found.append(block(EXACT, exact))
            exact = []
        exact.append(place)
    if exact:
        found.append(block(EXACT, exact))
    return Blocks(tuple(found))


def _numbers(leaf: Any, mode: str) -> int:
    """Number of independent numbers of a leaf."""
    twice = mode != "holomorphic" and jnp.iscomplexobj(leaf)
    return math.prod(leaf.shape) * (2 if twice else 1)


def parts_of(tree: PyTree, blocks: Blocks, mode: str = "real") -> list[Array]:
    """A tree like the parameters block by block: the matrix of a layer, or a vector.

    Args:
        tree: The tree.
        blocks: From `divided`.
        mode: As `divided` has got it.
    """
    leaves = jax.tree.leaves(tree)
    found = []
    for block in blocks:
        members = [leaves[place] for place in block.places]
        if block.layer is None:
            found.append(realify(members, mode).flatten(members))
        else:
            found.append(block.layer.matrix(leaves))
    return found


def whole_of(params: PyTree, blocks: Blocks, parts: Sequence[Array], mode: str = "real") -> PyTree:
    """The tree like the parameters whose `parts_of` are given.

    Args:
        params: The parameters.
        blocks: From `divided`.
        parts: One for each block.
        mode: As `divided` has got it.
    """
    leaves, structure = jax.tree.flatten(params)
    given = list(leaves)
    for block, part in zip(blocks, parts, strict=True):
        if block.layer is not None:
            block.layer.put(leaves, part)
            continue
        members = [given[place] for place in block.places]
        form = realify(members, mode)
        number = jax.eval_shape(form.flatten, members).dtype
        for place, leaf in zip(block.places, form.restore(part.astype(number)), strict=True):
            leaves[place] = leaf
    return jax.tree.unflatten(structure, leaves)

"""Parameters for a larger lattice or network from those of a trained smaller one."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int, Key, PyTree

from ritz.lattice.models.cell_module import CellModule
from ritz.lattice.models.cells import Cells
from ritz.lattice.models.jastrow_rbm import JastrowRBM
from ritz.lattice.models.resnet import ResNet
from ritz.lattice.models.transformer import ViT

Leaf = tuple[str, ...]
"""The name of a parameter, from the outermost module inwards."""


def grown(
    params: PyTree, small: CellModule, large: CellModule, n_values: int, key: Key[Array, ""]
) -> PyTree:
    """Parameters of `large` with which it begins where `small` has ended.

    On the same lattice log psi is that of `small`, up to a constant: what is new begins with no
    effect, and grows in training. On a larger one, couplings and kernels are those of the same
    distance, and zero for distances that the smaller one does not have; what kernels and hidden
    units have at half of the smaller lattice acts in the positive direction alone.

    Args:
        params: The parameters of `small`.
        small: A `ResNet`, `ViT` or `JastrowRBM`.
        large: A module of the same class with larger `extent`, `depth`, `width`, `alpha` or
            `kernel_size`. The width of a `ViT` cannot grow, as its norms would change.
        n_values: Number of values of a configuration of `large`, as `hilbert.size`.
        key: A random key for what is new.

    Returns:
        A tree as `large.init` makes it.

    Raises:
        TypeError: If the classes differ, or are others.
        ValueError: If `large` is smaller in anything or real where `small` is complex, or lattices
            with open sides differ.
    """
    if type(small) is not type(large) or type(large) not in _RULES:
        names = ", ".join(kind.__name__ for kind in _RULES)
        raise TypeError(
            f"grown takes two modules of the same class, one of {names}, but "
            f"{type(small).__name__} and {type(large).__name__} were given."
        )
    _check(small, large)
    fresh = large.init(key, jnp.zeros((1, n_values)))["params"]
    rule = functools.partial(_RULES[type(large)], small, large)
    known = {_names(path): leaf for path, leaf in _leaves(params)}

    def grow(path: Any, new: Array) -> Array:
        name = _names(path)
        old = known.get(name)
        if jnp.iscomplexobj(old) and not jnp.iscomplexobj(new):
            raise ValueError(
                f"the parameters {'/'.join(name)} are complex, and those of the larger model real: "
                "give it the same param_dtype."
            )
        return rule(name, old, new).astype(new.dtype)

    return jax.tree_util.tree_map_with_path(grow, fresh)


def _leaves(tree: PyTree) -> list[tuple[Any, Array]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _names(path: Any) -> Leaf:
    return tuple(str(getattr(part, "key", part)) for part in path)


def _check(small: Any, large: Any) -> None:
    if small.sites_per_cell != large.sites_per_cell or small.periodic != large.periodic:
        raise ValueError(
            f"lattices must have the same cells and boundaries, but {small.cells} and "
            f"{large.cells} were given."
        )
    pairs = zip(small.extent, large.extent, large.periodic, strict=True)
    for n, m, wraps in pairs:
        if m < n or (m != n and not wraps):
            raise ValueError(
                f"a lattice of extent {small.extent} cannot grow to {large.extent}: directions "
                "must not shrink, and those with open sides must not change."
            )
    for name in ("depth", "width", "alpha"):
        one, other = getattr(small, name, 0), getattr(large, name, 0)
        if other < one or (other != one and name == "width" and isinstance(large, ViT)):
            raise ValueError(f"{name} cannot go from {one} to {other} in {type(large).__name__}.")
    for name in ("complex_output", "patch_size", "heads"):
        if getattr(small, name, None) != getattr(large, name, None):
            raise ValueError(f"{name} must be the same in both models.")


def _block(old: Array, new: Array, n_axes: int) -> Array:
    """`new` with `old` in the first places of its last axes, of which there are `n_axes`."""
    place = (..., *(slice(0, n) for n in old.shape[old.ndim - n_axes :]))
    return new.at[place].set(old)


def _channels(old: Array, new: Array) -> Array:
    """A kernel (..., inputs, outputs) in which new inputs do not act on old outputs."""
    n_in, n_out = old.shape[-2:]
    return _block(old, new.at[..., n_in:, :n_out].set(0), 2)


def _displaced(small: Cells, large: Cells) -> Int[np.ndarray, " n_pairs"]:
    """For each pair number of `small` that of `large` with the same displacement.

    Displacements are those of the nearest image; of two at half of the lattice the positive one.
    """
    found = np.zeros(int(small.pairs().max()) + 1, int)
    places = np.stack(np.unravel_index(np.arange(small.n_cells), small.extent), axis=-1)
    numbers = large.pairs()
    for first, here in enumerate(places):
        step = places - here
        size = np.array(small.extent)
        near = (step + (size - 1) // 2) % size - (size - 1) // 2
        there = here + np.where(small.periodic, near, step)
        cells = [np.ravel_multi_index(tuple(at % large.extent), large.extent) for at in there]
        base = np.ravel_multi_index(tuple(here), large.extent)
        found[small.pairs()[first]] = numbers[base, cells]
    return found


def _resnet(small: Any, large: Any, name: Leaf, old: Array | None, new: Array) -> Array:
    layer, kind = name[0], name[-1]
    if layer.startswith("Amplitude"):
        return _amplitude(name, old, new)
    if old is None:  # the second convolution of a new block ends in zero
        is_second = int(layer.rpartition("_")[2]) % 2 == 0
        return jnp.zeros_like(new) if is_second else new
    if kind == "bias":
        return _block(old, new, 1)
    sizes = [m.cells.kernel_size(m.kernel_size) for m in (small, large)]
    if any(k > m for k, m in zip(*sizes, strict=True)):
        raise ValueError(f"kernels cannot go from {sizes[0]} to {sizes[1]}.")
    begin = [(m - 1) // 2 - (k - 1) // 2 for k, m in zip(*sizes, strict=True)]
    places = tuple(slice(b, b + k) for b, k in zip(begin, sizes[0], strict=True))
    whole = new.at[..., : old.shape[-1]].set(0)
    return whole.at[places].set(_channels(old, new[places]))


def _amplitude(name: Leaf, old: Array | None, new: Array) -> Array:
    """New features have no weight; the logarithms of new features are constants."""
    assert old is not None
    if name[-1] == "bias":
        return _block(old, new, 1)
    return _block(old, jnp.zeros_like(new), old.ndim)


def _vit(small: Any, large: Any, name: Leaf, old: Array | None, new: Array) -> Array:
    if old is None:
        ends = name[-2] == "output" or (name[0].startswith("Dense") and _is_even(name[0]))
        return jnp.zeros_like(new) if ends else new
    if name[-1] == "weights":
        patches = [m.cells.patches(np.zeros((m.cells.n_cells, 1)), m.patch_size)[0]
                   for m in (small, large)]  # fmt: skip
        return jnp.zeros_like(new).at[_displaced(*patches)].set(old)
    return old


def _is_even(layer: str) -> bool:
    return int(layer.rpartition("_")[2]) % 2 == 0


def _jastrow_rbm(small: Any, large: Any, name: Leaf, old: Array | None, new: Array) -> Array:
    if old is None:
        return new if name[-1] == "bias" else jnp.zeros_like(new)
    if name[-1] == "bias":
        return _block(old, new, 1)
    places = _displaced(small.cells, large.cells)
    if name[-1] == "jastrow":
        return _both_ways(large.cells, jnp.zeros_like(new).at[places].set(old), places)
    return jnp.zeros_like(new).at[places, ..., : old.shape[-1]].set(old)


def _both_ways(cells: Cells, couplings: Array, known: Int[np.ndarray, " n_known"]) -> Array:
    """Couplings with those of opposite displacements where only one of the two is known."""
    numbers = cells.pairs()
    opposite = np.zeros(len(couplings), int)
    opposite[numbers] = numbers.T
    alone = np.setdiff1d(opposite[known], known)
    return couplings.at[alone].set(couplings[opposite[alone]].swapaxes(-1, -2))


_RULES: dict[type[nn.Module], Callable[..., Array]] = {
    ResNet: _resnet,
    ViT: _vit,
    JastrowRBM: _jastrow_rbm,
}

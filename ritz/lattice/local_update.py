"""Local updates: cheap changes of log psi when a few sites flip."""

import abc
import dataclasses
import functools
import itertools
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Inexact, Int, PyTree
from netket.hilbert import AbstractHilbert
from netket.nn.activation import log_cosh
from typing_extensions import override

Tree = TypeVar("Tree")
"""A tree of arrays."""


class LocalUpdate(abc.ABC):
    """Changes of log psi when sites flip, for models on sites with two states each.

    Objects are hashable and hold settings only. To have a model of your own use it, implement
    this class and register it: `local_update.register(MyModel, lambda model, states: ...)`.
    """

    has_zeros: ClassVar[bool] = True
    """Whether psi may be exactly zero. Chains that begin there are evaluated until they leave."""

    @abc.abstractmethod
    def prepare(self, params: PyTree) -> PyTree:
        """Tables that depend on the parameters only, computed once a step."""

    @abc.abstractmethod
    def start(self, tables: PyTree, x: Array) -> PyTree:
        """A cache for the configurations `x`, shape (n, n_sites); arrays with a last axis n."""

    @abc.abstractmethod
    def log_ratio(
        self, tables: PyTree, cache: PyTree, values: Array, sites: Int[Array, " k"]
    ) -> tuple[Inexact[Array, " n"], PyTree]:
        """The change of log psi from x to x', in which the given distinct sites are flipped.

        Args:
            tables: From `prepare`.
            cache: Of the configurations x.
            values: The states of these sites in x, shape (k, n).
            sites: Known when the program runs, not when it is compiled.

        Returns:
            The change, and the cache of x'.
        """

    @abc.abstractmethod
    def log_ratios(
        self, tables: PyTree, cache: PyTree, x: Array, flips: Int[np.ndarray, "m k"]
    ) -> Inexact[Array, "n m"]:
        """The changes of log psi for m sets of sites to flip, the same for each x."""


class TwoStates(NamedTuple):
    """The two states of a site."""

    first: float
    second: float

    @classmethod
    def of(cls, hilbert: AbstractHilbert) -> "TwoStates | None":
        """The states of a Hilbert space whose sites all have the same two; None for others."""
        states = getattr(hilbert, "local_states", None)
        if not isinstance(hilbert, nk.hilbert.HomogeneousHilbert) or states is None:
            return None
        return cls(*map(float, states)) if len(states) == 2 else None

    def signs(self, x: Array) -> Array:
        """1 where a site has its first state, -1 where it has the second."""
        return jnp.where(x == self.first, 1, -1)

    def flipped(self, x: Array) -> Array:
        """The configurations `x` with every site flipped."""
        return jnp.asarray(self.first + self.second, x.dtype) - x


@functools.singledispatch
def local_update(model: nn.Module, states: TwoStates) -> LocalUpdate | None:
    """The local update of a model on sites with two states, or None if it offers none."""
    return None


class Walk(NamedTuple):
    """Weights of the two exponentials in each cosh, which sum to one."""

    grow: Inexact[Array, "n_hidden n"]
    """exp(theta) / (2 cosh(theta))."""
    shrink: Inexact[Array, "n_hidden n"]
    """exp(-theta) / (2 cosh(theta))."""


class RBMTables(NamedTuple):
    """The weights of an RBM, ready for flips from the first state of a site to the second."""

    kernel: Inexact[Array, "n_sites n_hidden"]
    bias: Inexact[Array, " n_hidden"]
    log_visible: Inexact[Array, " n_sites"]
    grow: Inexact[Array, "n_sites n_hidden"]
    """exp(change of theta)."""
    shrink: Inexact[Array, "n_sites n_hidden"]
    """exp(-change of theta)."""


@dataclasses.dataclass(frozen=True)
class RBMUpdate(LocalUpdate):
    """Local update of a sum of log cosh(theta) with theta = W x + b, and a visible bias.

    With c = e^theta / (2 cosh theta), cosh(theta + d) / cosh(theta) = c e^d + (1 - c) e^-d: flips
    take products of what was computed once, and no transcendental function. The two terms have
    one sign for real parameters, so that nothing cancels. Products over a few hidden units are
    taken before each logarithm.

    Args:
        states: The two states of a site.
        group: Number of factors multiplied before a logarithm is taken.
    """

    has_zeros: ClassVar[bool] = False

    states: TwoStates
    group: int = 16

    @override
    def prepare(self, params: PyTree) -> RBMTables:
        dense = params["Dense"]
        kernel = dense["kernel"]
        gap = self.states.second - self.states.first
        return RBMTables(
            kernel,
            dense.get("bias", jnp.zeros(kernel.shape[1], kernel.dtype)),
            gap * params.get("visible_bias", jnp.zeros(kernel.shape[0], kernel.dtype)),
            jnp.exp(gap * kernel),
            jnp.exp(-gap * kernel),
        )

    @override
    def start(self, tables: RBMTables, x: Array) -> Walk:
        theta = (x.astype(tables.kernel.dtype) @ tables.kernel + tables.bias).T
        positive = jnp.real(theta) > 0
        small = jnp.exp(jnp.where(positive, -2, 2) * theta)  # at most 1
        large, small = 1 / (1 + small), small / (1 + small)
        return Walk(jnp.where(positive, large, small), jnp.where(positive, small, large))

    @override
    def log_ratio(
        self, tables: RBMTables, cache: Walk, values: Array, sites: Int[Array, " k"]
    ) -> tuple[Inexact[Array, " n"], Walk]:
        up, down = cache
        visible: Any = 0
        for site, value in zip(sites, values, strict=True):
            forward = value == self.states.first
            grow, shrink = tables.grow[site][:, None], tables.shrink[site][:, None]
            up = up * jnp.where(forward, grow, shrink)
            down = down * jnp.where(forward, shrink, grow)
            visible += jnp.where(forward, 1, -1) * tables.log_visible[site]
        total = up + down
        starts = range(0, len(total), self.group)
        parts = [jnp.log(jnp.prod(total[i : i + self.group], axis=0)) for i in starts]
        return sum(parts, start=visible), Walk(up / total, down / total)

    @override
    def log_ratios(
        self, tables: RBMTables, cache: Walk, x: Array, flips: Int[np.ndarray, "m k"]
    ) -> Inexact[Array, "n m"]:
        forward = [(x[:, sites] == self.states.first).T for sites in flips.T]  # each (m, n)
        visible: Any = 0
        for sites, ahead in zip(flips.T, forward, strict=True):
            visible += jnp.where(ahead, 1, -1) * tables.log_visible[sites][:, None]

        def multiply(total: Array, hidden: tuple[Array, ...]) -> tuple[Array, None]:
            """Add the logarithm of the product over one group of hidden units."""
            product: Array | int = 1
            for up, down, grow, shrink in zip(*hidden, strict=True):
                for sites, ahead in zip(flips.T, forward, strict=True):
                    to_second, to_first = grow[sites][:, None], shrink[sites][:, None]
                    up = up * jnp.where(ahead, to_second, to_first)
                    down = down * jnp.where(ahead, to_first, to_second)
                product = product * (up + down)
            return total + jnp.log(product), None

        groups = (
            self._grouped(cache.grow, 0.5),
            self._grouped(cache.shrink, 0.5),
            self._grouped(tables.grow.T, 1),
            self._grouped(tables.shrink.T, 1),
        )
        start = jnp.zeros((len(flips), x.shape[0]), cache.grow.dtype)
        total, _ = jax.lax.scan(multiply, start, groups)
        return (total + visible).T

    def _grouped(self, values: Array, fill: float) -> Array:
        """Rows in groups, the last one filled up with hidden units that do nothing."""
        missing = -len(values) % self.group
        full = jnp.pad(values, ((0, missing), (0, 0)), constant_values=fill)
        return full.reshape(-1, self.group, values.shape[1])


@local_update.register
def _(model: nk.models.RBM, states: TwoStates) -> LocalUpdate | None:
    return RBMUpdate(states) if model.activation is log_cosh else None


@dataclasses.dataclass(frozen=True)
class JastrowUpdate(LocalUpdate):
    """Local update of a quadratic form with a symmetric matrix without diagonal.

    Args:
        states: The two states of a site.
    """

    has_zeros: ClassVar[bool] = False

    states: TwoStates

    def prepare(self, params: PyTree) -> Inexact[Array, "n_sites n_sites"]:
        """The symmetric matrix, of which half the quadratic form is log psi."""
        kernel = params["kernel"]
        n = round((1 + (1 + 8 * kernel.size) ** 0.5) / 2)
        rows, columns = np.tril_indices(n, k=-1)
        place = np.zeros((n, n), int)
        place[rows, columns] = place[columns, rows] = np.arange(kernel.size)
        return jnp.asarray(jnp.where(np.eye(n, dtype=bool), 0, kernel[place]))

    def start(self, tables: Array, x: Array) -> Array:
        """The field at each site: the matrix times x."""
        return (x.astype(tables.dtype) @ tables).T

    def log_ratio(
        self, tables: Array, cache: Array, values: Array, sites: Int[Array, " k"]
    ) -> tuple[Inexact[Array, " n"], Array]:
        """Linear in the fields, quadratic in the changes of the sites."""
        change = self._change(values, tables)
        result = jnp.sum(change * cache[sites], axis=0)
        for i, j in itertools.combinations(range(len(sites)), 2):
            result += change[i] * change[j] * tables[sites[i], sites[j]]
        return result, cache + tables[:, sites] @ change

    @override
    def log_ratios(
        self, tables: Array, cache: Array, x: Array, flips: Int[np.ndarray, "m k"]
    ) -> Inexact[Array, "n m"]:
        change = self._change(jnp.moveaxis(x[:, flips], 0, -1), tables)  # (m, k, n)
        result = jnp.sum(change * cache[flips], axis=1)
        for i, j in itertools.combinations(range(flips.shape[1]), 2):
            coupling = tables[flips[:, i], flips[:, j]][:, None]
            result += change[:, i] * change[:, j] * coupling
        return result.T

    def _change(self, values: Array, tables: Array) -> Array:
        return (self.states.first + self.states.second - 2 * values.astype(float)).astype(
            tables.dtype
        )


@local_update.register
def _(model: nk.models.Jastrow, states: TwoStates) -> LocalUpdate | None:
    return JastrowUpdate(states)


def select(accepted: Array, new: Tree, old: Tree) -> Tree:
    """The new cache for samples where `accepted`, the old one for others."""
    return jax.tree.map(lambda n, o: jnp.where(accepted, n, o), new, old)

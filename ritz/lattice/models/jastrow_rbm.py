"""A translation-invariant Jastrow factor times a restricted Boltzmann machine."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn.initializers import normal
from jaxtyping import Array, Inexact, Int, PyTree, Shaped
from netket.nn.activation import log_cosh
from typing_extensions import override

from ritz.checks import check_count
from ritz.lattice.local_update import (
    JastrowUpdate,
    LocalUpdate,
    RBMTables,
    RBMUpdate,
    TwoStates,
    Walk,
    local_update,
)
from ritz.lattice.models.cell_module import CellModule
from ritz.lattice.models.cells import Cells


class JastrowRBM(CellModule):
    """log psi = 1/2 sum_ij J_ij x_i x_j + sum_h log cosh(b_h + sum_j W_hj x_j).

    J and W are the same for all pairs that translations connect, so that log psi does not change
    with translations; along open directions there are none. (Jastrow, Phys. Rev. 98, 1479 (1955);
    Carleo and Troyer, Science 355, 602 (2017).)

    The pairs of a Jastrow factor are what a machine of few hidden units learns slowly, and the
    hidden units what a Jastrow factor lacks. Flips cost as little as those of `netket.models.RBM`.

    Raises:
        ValueError: If the configurations do not fit the lattice, or a size is not allowed.
    """

    takes_complex = True

    alpha: int = 2
    """Number of hidden units for each cell."""
    param_dtype: Any = float
    """Type of the parameters: real ones for a positive psi."""

    @nn.compact
    def __call__(self, x: Shaped[Array, "*batch n_values"]) -> Inexact[Array, "*batch"]:
        """Log psi of each configuration."""
        check_count("alpha", self.alpha, 0)
        cells = self.cells
        kinds = cells.by_cell(x).shape[-1]
        init = normal(0.01)
        shape = (_n_pairs(cells), kinds, kinds)
        jastrow = self.param("jastrow", init, shape, self.param_dtype)
        x = x.astype(self.param_dtype)
        matrix = _coupling(cells, kinds, jastrow)
        pairs: Any = jnp.sum((x @ matrix) * x, axis=-1) / 2
        if not self.alpha:
            return pairs
        kernel = self.param("kernel", init, (shape[0], kinds, self.alpha), self.param_dtype)
        bias = self.param("bias", init, (self.alpha,), self.param_dtype)
        hidden = x @ _weights(cells, kernel) + jnp.repeat(bias, cells.n_cells)
        return pairs + jnp.sum(log_cosh(hidden), axis=-1)


def _n_pairs(cells: Cells) -> int:
    return int(cells.pairs().max()) + 1


def _value(cells: Cells, kinds: int) -> Int[np.ndarray, "n_cells kinds"]:
    """The place in a configuration of each value of each cell."""
    n = cells.n_cells * kinds
    places: Any = np.arange(n)
    found: Any = cells.by_cell(places)
    return found


def _coupling(
    cells: Cells, kinds: int, jastrow: Inexact[Array, "n_pairs kinds kinds"]
) -> Inexact[Array, "n_values n_values"]:
    """The symmetric matrix J, without a diagonal."""
    place = _value(cells, kinds)
    blocks = jastrow[cells.pairs()].transpose(0, 2, 1, 3)  # cell, kind, cell, kind
    n = place.size
    order = np.argsort(place.ravel())
    matrix = blocks.reshape(n, n)[order][:, order]
    return jnp.where(np.eye(n, dtype=bool), 0, (matrix + matrix.T) / 2)


def _weights(
    cells: Cells, kernel: Inexact[Array, "n_pairs kinds alpha"]
) -> Inexact[Array, "n_values n_hidden"]:
    """W of all hidden units: those of one kind for all cells, then those of the next."""
    kinds, alpha = kernel.shape[1:]
    order = np.argsort(_value(cells, kinds).ravel())
    by_pair = kernel[cells.pairs()]  # cell of the unit, cell of the value, kind, alpha
    whole = by_pair.transpose(1, 2, 3, 0).reshape(-1, alpha * cells.n_cells)
    return whole[order]


class _Tables(NamedTuple):
    jastrow: Inexact[Array, "n_sites n_sites"]
    hidden: RBMTables | None


class _Cache(NamedTuple):
    field: Inexact[Array, "n_sites n"]
    walk: Walk | None


@dataclasses.dataclass(frozen=True)
class JastrowRBMUpdate(LocalUpdate):
    """Local update of a `JastrowRBM`: that of its two factors."""

    has_zeros = False

    cells: Cells
    """The cells."""
    states: TwoStates
    """The two states of a site."""
    alpha: int
    """Hidden units for each cell."""

    @property
    def _factors(self) -> tuple[JastrowUpdate, RBMUpdate]:
        return JastrowUpdate(self.states), RBMUpdate(self.states)

    @override
    def prepare(self, params: PyTree) -> _Tables:
        jastrow = _coupling(self.cells, params["jastrow"].shape[-1], params["jastrow"])
        if not self.alpha:
            return _Tables(jastrow, None)
        dense = {
            "kernel": _weights(self.cells, params["kernel"]),
            "bias": jnp.repeat(params["bias"], self.cells.n_cells),
        }
        return _Tables(jastrow, self._factors[1].prepare({"Dense": dense}))

    @override
    def start(self, tables: _Tables, x: Array) -> _Cache:
        pairs, hidden = self._factors
        walk = None if tables.hidden is None else hidden.start(tables.hidden, x)
        return _Cache(pairs.start(tables.jastrow, x), walk)

    @override
    def log_ratio(
        self, tables: _Tables, cache: _Cache, values: Array, sites: Int[Array, " k"]
    ) -> tuple[Inexact[Array, " n"], _Cache]:
        pairs, hidden = self._factors
        ratio, field = pairs.log_ratio(tables.jastrow, cache.field, values, sites)
        if tables.hidden is None or cache.walk is None:
            return ratio, _Cache(field, None)
        more, walk = hidden.log_ratio(tables.hidden, cache.walk, values, sites)
        return ratio + more, _Cache(field, walk)

    @override
    def log_ratios(
        self, tables: _Tables, cache: _Cache, x: Array, flips: Int[np.ndarray, "m k"]
    ) -> Inexact[Array, "n m"]:
        pairs, hidden = self._factors
        ratios = pairs.log_ratios(tables.jastrow, cache.field, x, flips)
        if tables.hidden is None or cache.walk is None:
            return ratios
        return ratios + hidden.log_ratios(tables.hidden, cache.walk, x, flips)


@local_update.register
def _(model: JastrowRBM, states: TwoStates) -> LocalUpdate | None:
    return JastrowRBMUpdate(model.cells, states, model.alpha)

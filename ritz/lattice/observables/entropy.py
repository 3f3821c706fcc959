"""The Renyi entropy of a part of a lattice."""

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, PyTree
from netket.hilbert import AbstractHilbert
from typing_extensions import override

from ritz.estimators.base import LogPsi
from ritz.lattice.observables.functionals import Chains, Channels, Functional, Summed, Weights
from ritz.lattice.operators import in_chunks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Renyi2(Functional):
    """The second Renyi entropy -log Tr rho_A^2 of the sites A, by swaps between pairs of samples.

    Tr rho_A^2 is the mean of psi(b_A, a_B) psi(a_A, b_B) / psi(a) psi(b) over pairs (a, b) of
    independent samples (Hastings et al., Phys. Rev. Lett. 104, 157201, 2010). Chains of the first
    half make pairs with those of the second half, the last of an odd number left out; one chain
    alone makes pairs of its first half with its second. Where the estimate of Tr rho_A^2 is not
    positive, because there are too few samples for such a large entropy, the result is NaN.

    In a constrained space psi is zero outside of it. Fermions have the entropy of their modes, with
    the signs of bringing those of A to the front.

    Args:
        subsystem: The sites A; at least one, and not all.
        base: Of the logarithm; e for natural units, 2 for bits as in NetKet.

    Raises:
        ValueError: If sites are no whole numbers, negative, or given twice, or if the base is not
            above 1.
    """

    subsystem: Sequence[int] = dataclasses.field(metadata={"static": True})
    base: float = dataclasses.field(default=math.e, metadata={"static": True})
    hilbert: Any = dataclasses.field(default=None, repr=False, metadata={"static": True})
    """The space, once it is known."""

    def __post_init__(self) -> None:
        try:
            sites = sorted(map(operator.index, self.subsystem))
        except TypeError:
            sites = []
        if not sites or sites[0] < 0 or len(set(sites)) < len(sites):
            raise ValueError(
                "subsystem takes the numbers of different sites, such as [0, 1, 2], but "
                f"{self.subsystem!r} was given."
            )
        if not (isinstance(self.base, int | float) and 1 < self.base < math.inf):
            raise ValueError(f"base must be a number above 1, but {self.base!r} was given.")
        object.__setattr__(self, "subsystem", tuple(sites))

    @override
    def prepared(self, hilbert: AbstractHilbert) -> Self:
        if not isinstance(hilbert, nk.hilbert.HomogeneousHilbert):
            raise TypeError(
                "Renyi2 needs a space in which all sites have the same states, but the state lives "
                f"on {hilbert}."
            )
        if self.subsystem[-1] >= hilbert.size or len(self.subsystem) == hilbert.size:
            raise ValueError(
                f"subsystem takes some, but not all, of the sites 0 to {hilbert.size - 1}, but "
                f"{list(self.subsystem)} was given."
            )
        return dataclasses.replace(self, hilbert=hilbert)

    @property
    def _mask(self) -> Bool[np.ndarray, " n_sites"]:
        return np.isin(np.arange(self.hilbert.size), self.subsystem)

    def _sign(self, x: Inexact[Array, "n n_sites"]) -> Float[Array, " n"]:
        """The sign of fermions when the modes of the subsystem come first; 1 for others."""
        if not isinstance(self.hilbert, nk.hilbert.SpinOrbitalFermions):
            return jnp.ones(x.shape[0])
        occupied = jnp.asarray(x, int)
        before = jnp.cumsum(jnp.where(self._mask, 0, occupied), axis=-1)
        passed = jnp.sum(jnp.where(self._mask, occupied * before, 0), axis=-1)
        return 1.0 - 2.0 * (passed % 2)

    def _is_inside(self, x: Inexact[Array, "n n_sites"]) -> Bool[Array, " n"]:
        constraint = self.hilbert.constraint if self.hilbert.constrained else None
        return jnp.ones(x.shape[0], bool) if constraint is None else constraint(x)

    @override
    def channels(
        self, log_psi: LogPsi, params: PyTree, samples: Chains, weights: Weights, chunk: int | None
    ) -> tuple[Channels, Weights]:
        first, second = _halves(samples)
        shape = first.shape[:-1]
        if not math.prod(shape):
            raise ValueError("Renyi2 needs pairs of samples, but a step has only one sample.")
        a, b = (half.reshape(-1, samples.shape[-1]) for half in (first, second))
        swapped = jnp.where(self._mask, b, a), jnp.where(self._mask, a, b)

        def of(x: Array) -> Array:
            return in_chunks(lambda y: log_psi(params, y), x, chunk)

        # Outside of the space log psi may be anything.
        allowed = self._is_inside(swapped[0]) & self._is_inside(swapped[1])
        a_there, b_there = (
            jnp.where(allowed[:, None], new, old) for new, old in zip(swapped, (a, b), strict=True)
        )
        ratio = jnp.exp(of(a_there) + of(b_there) - of(a) - of(b))
        signs = self._sign(a) * self._sign(b) * self._sign(a_there) * self._sign(b_there)
        values = jnp.where(allowed, signs * jnp.real(ratio), 0).reshape(*shape, 1)
        if weights is None:
            return values, None
        w, other = _halves(weights)
        return values, w * other / jnp.sum(w * other)

    @override
    def n_series(self, n_chains: int) -> int:
        return max(1, n_chains // 2)

    @override
    def combine(self, means: Float[Array, " n_channels"]) -> Float[Array, ""]:
        return self._entropy(means[0])

    def _entropy(self, purity: Float[Array, ""]) -> Float[Array, ""]:
        return -jnp.log(purity) / math.log(self.base)

    @override
    def summed(self) -> Summed:
        states = np.asarray(self.hilbert.all_states())
        rows, columns = (
            np.unique(states[:, part], axis=0, return_inverse=True)[1].ravel()
            for part in (self._mask, ~self._mask)
        )
        signs = self._sign(jnp.asarray(states))
        shape = int(rows.max()) + 1, int(columns.max()) + 1
        return _SummedRenyi2(jnp.asarray(rows), jnp.asarray(columns), signs, self, shape)

    @property
    @override
    def fingerprint(self) -> str:
        return repr(self)


def _halves(chains: Array) -> tuple[Array, Array]:
    """The two samples of each pair, or their weights: shape (n_chains, length, ...)."""
    axis = 0 if chains.shape[0] > 1 else 1
    half = chains.shape[axis] // 2
    first, second = jnp.split(chains, [half], axis=axis)
    return first, jax.lax.slice_in_dim(second, 0, half, axis=axis)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _SummedRenyi2(Summed):
    """The state as a matrix: a row for each configuration of the subsystem."""

    rows: Array
    columns: Array
    signs: Array
    entropy: Renyi2
    shape: tuple[int, int] = dataclasses.field(metadata={"static": True})

    @override
    def value(self, psi: Inexact[Array, " n_states"]) -> Float[Array, ""]:
        matrix = jnp.zeros(self.shape, psi.dtype)
        matrix = matrix.at[self.rows, self.columns].set(psi * self.signs)
        if self.shape[0] > self.shape[1]:  # both parts have the same entropy
            matrix = matrix.T
        return self.entropy._entropy(jnp.sum(jnp.abs(matrix @ matrix.conj().T) ** 2))

"""Functions of expectation values as observables: variances and connected correlations."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import netket as nk
from jax.experimental.sparse import JAXSparse
from jaxtyping import Array, Float, Inexact, PyTree
from netket.hilbert import AbstractHilbert
from typing_extensions import override

from ritz.estimators.base import LogPsi, in_double
from ritz.estimators.jackknife import pseudo_values
from ritz.lattice.matrix_elements import hermitian
from ritz.lattice.operators import (
    exact_statistics,
    fingerprint,
    local_energies,
    sparse_matrix,
    traceable,
)

Chains = Inexact[Array, "n_chains length n_sites"]
Channels = Float[Array, "n_series length n_channels"]
Weights = Float[Array, "n_chains length"] | None


class Functional(abc.ABC):
    """A function of expectation values, as an observable of `VMC` and `Evaluation`.

    Error bars are those of the jackknife over samples, chains as a whole included, and the bias of
    order 1/n is taken away, see `ritz.estimators.jackknife`.
    """

    @abc.abstractmethod
    def prepared(self, hilbert: AbstractHilbert) -> Self:
        """The form that compiled programs take: a pytree.

        Args:
            hilbert: The space of the state.

        Raises:
            TypeError: If it has no such form.
            ValueError: If it does not fit the space.
        """

    @abc.abstractmethod
    def channels(
        self, log_psi: LogPsi, params: PyTree, samples: Chains, weights: Weights, chunk: int | None
    ) -> tuple[Channels, Weights]:
        """The values whose means are combined, by chain or pair of chains, and their weights.

        Args:
            log_psi: `(params, samples) -> log psi`, for a batch.
            params: Parameters of the wave function.
            samples: Samples of each chain.
            weights: Their probabilities, which sum to one; None for equal ones.
            chunk: Number of configurations passed to log psi at once; None for all.
        """

    @abc.abstractmethod
    def combine(self, means: Float[Array, " n_channels"]) -> Float[Array, ""]:
        """The quantity, from the means of the channels."""

    @abc.abstractmethod
    def summed(self) -> "Summed":
        """The form that full sums take."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """A text that differs for others, by which saved runs are compared."""

    def n_series(self, n_chains: int) -> int:
        """Number of series of values that so many chains give."""
        return n_chains

    def sampled(
        self, log_psi: LogPsi, params: PyTree, samples: Chains, weights: Weights, chunk: int | None
    ) -> tuple[nk.stats.Stats, Float[Array, "n_series length"]]:
        """Statistics, and the pseudo-values of which they are; see `channels`."""
        channels, weights = self.channels(log_psi, params, samples, weights, chunk)
        values = pseudo_values(in_double(channels), self.combine, weights)
        return nk.stats.statistics(values), values


class Summed(abc.ABC):
    """A functional in the form that full sums take: a pytree."""

    @abc.abstractmethod
    def value(self, psi: Inexact[Array, " n_states"]) -> Float[Array, ""]:
        """The exact quantity in a normalised state."""

    def statistics(self, psi: Inexact[Array, " n_states"]) -> nk.stats.Stats:
        """The exact quantity as NetKet's statistics."""
        value = self.value(psi)
        zero: Any = jnp.zeros_like(value)
        return nk.stats.Stats(mean=value, error_of_mean=zero, variance=zero)  # pyright: ignore


def _local(
    operator: Any, log_psi: LogPsi, params: PyTree, samples: Chains, chunk: int | None
) -> Inexact[Array, "n_chains length"]:
    flat = samples.reshape(-1, samples.shape[-1])
    values = local_energies(log_psi, params, flat, operator, chunk)
    return in_double(values).reshape(samples.shape[:-1])


def _mean(values: Array, weights: Weights) -> Array:
    return jnp.mean(values) if weights is None else jnp.sum(weights * values)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variance(Functional):
    """<O^2> - <O>^2 of a Hermitian operator, with an error bar.

    It is <|O_loc|^2> - <O_loc>^2 of the local values O_loc. That misses |<x|O|psi>|^2 where
    psi(x) = 0, of which there are no samples; `through_square` does not.

    Args:
        operator: A Hermitian operator of NetKet; others are refused.
        through_square: Whether <O^2> is estimated from the operator O @ O, which connects many more
            configurations, and is right also where psi vanishes.
    """

    operator: Any
    through_square: bool = dataclasses.field(default=False, metadata={"static": True})
    square: Any = dataclasses.field(default=None, repr=False)
    """O @ O in the form for compiled programs."""

    @override
    def prepared(self, hilbert: AbstractHilbert) -> Self:
        role = "the operator of a Variance"
        operator, square = hermitian(self.operator, hilbert, role), None
        if self.through_square:
            square = traceable(self.operator @ self.operator, hilbert)
        return dataclasses.replace(self, operator=operator, square=square)

    @override
    def channels(
        self, log_psi: LogPsi, params: PyTree, samples: Chains, weights: Weights, chunk: int | None
    ) -> tuple[Channels, Weights]:
        local = _local(self.operator, log_psi, params, samples, chunk)
        centre = jnp.real(_mean(local, weights))  # by which the variance does not change
        away = local - centre
        squares = jnp.abs(away) ** 2
        if self.square is not None:
            of_square = _local(self.square, log_psi, params, samples, chunk)
            squares = jnp.real(of_square - 2 * centre * local) + centre**2
        return jnp.stack([jnp.real(away), squares], axis=-1), weights

    @override
    def combine(self, means: Float[Array, " n_channels"]) -> Float[Array, ""]:
        return means[1] - means[0] ** 2

    @override
    def summed(self) -> Summed:
        return _SummedVariance(sparse_matrix(self.operator))

    @property
    @override
    def fingerprint(self) -> str:
        return f"variance of {fingerprint(self.operator)}, through square {self.through_square}"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _SummedVariance(Summed):
    matrix: JAXSparse

    @override
    def value(self, psi: Inexact[Array, " n_states"]) -> Float[Array, ""]:
        return jnp.asarray(exact_statistics(self.matrix, psi)[0].variance)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ConnectedCorrelator(Functional):
    """Re <A B> - <A> <B> of two Hermitian operators, with an error bar.

    Args:
        first: A, an operator of NetKet.
        second: B, likewise.
    """

    first: Any
    second: Any
    product: Any = dataclasses.field(default=None, repr=False)
    """A @ B in the form for compiled programs."""

    @override
    def prepared(self, hilbert: AbstractHilbert) -> Self:
        product = traceable(self.first @ self.second, hilbert)
        first, second = (traceable(one, hilbert) for one in (self.first, self.second))
        return dataclasses.replace(self, first=first, second=second, product=product)

    @property
    def _operators(self) -> tuple[Any, Any, Any]:
        return self.first, self.second, self.product

    @override
    def channels(
        self, log_psi: LogPsi, params: PyTree, samples: Chains, weights: Weights, chunk: int | None
    ) -> tuple[Channels, Weights]:
        values = [_local(one, log_psi, params, samples, chunk) for one in self._operators]
        return jnp.real(jnp.stack(values, axis=-1)), weights

    @override
    def combine(self, means: Float[Array, " n_channels"]) -> Float[Array, ""]:
        return means[2] - means[0] * means[1]

    @override
    def summed(self) -> Summed:
        return _SummedMeans(tuple(map(sparse_matrix, self._operators)), self.combine)

    @property
    @override
    def fingerprint(self) -> str:
        return f"connected correlator of {' and '.join(map(fingerprint, self._operators[:2]))}"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _SummedMeans(Summed):
    matrices: tuple[JAXSparse, ...]
    combine: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})

    @override
    def value(self, psi: Inexact[Array, " n_states"]) -> Float[Array, ""]:
        means = [jnp.real(jnp.vdot(psi, matrix @ psi)) for matrix in self.matrices]
        return self.combine(jnp.stack(means))

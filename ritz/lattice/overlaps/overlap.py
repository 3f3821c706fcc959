"""The squared overlap of a wave function with a fixed state, and its local values."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import netket as nk
from jax.experimental.sparse import JAXSparse
from jaxtyping import Array, Float, Inexact
from netket.operator import AbstractOperator
from typing_extensions import override

from ritz.driver import Kernel
from ritz.lattice.operators import in_chunks

LogPsi = Callable[[Array], Array]
"""Configurations -> log psi."""


class Samples(NamedTuple):
    """A wave function and samples of it, or all configurations with their probabilities."""

    log_psi: LogPsi
    x: Inexact[Array, "n_samples n_sites"]
    probabilities: Float[Array, " n_samples"] | None
    shape: tuple[int, ...]
    """Number of chains, and of samples in each."""


class Overlap(NamedTuple):
    """The overlap F = |<target|psi>|^2, of normalised states."""

    local: Inexact[Array, " n_samples"]
    """Local values of the projector |target><target|, whose mean is F: the gradient follows from
    them as that of an energy does from local energies."""
    stats: nk.stats.Stats
    """Statistics of F."""
    error: Float[Array, ""]
    """Standard error of F from the samples of the target alone."""


class AbstractTarget(abc.ABC):
    """A state |phi>, or U|phi>, whose overlap with a wave function is taken. A pytree."""

    @abc.abstractmethod
    def overlap(self, carried: Any, ours: Samples) -> tuple[Overlap, Any]:
        """The overlap.

        Args:
            carried: Parameters of phi and its sampler's state.
            ours: The wave function psi.

        Returns:
            The overlap, and what is to be carried to the next step.
        """


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SampledTarget(AbstractTarget):
    """Estimates the overlap from samples x of |psi|^2 and y of |phi|^2, drawn at each step.

    F is the mean of (U phi)(x) / psi(x) times (U^+ psi)(y) / phi(y).
    """

    kernel: Kernel
    """Evaluates phi, see `ritz.lattice.Evaluation`."""
    unitary: AbstractOperator | None
    """U; None for one."""
    adjoint: AbstractOperator | None
    """Its adjoint."""
    control_variate: float | None = dataclasses.field(metadata={"static": True})
    """Coefficient c of the control variate c (|f|^2 - 1), where f are the products for pairs of
    samples: the mean of |f|^2 is known to be 1 (Sinibaldi et al., Quantum 7, 1131 (2023)). With
    None F is the product of the means of the factors, which is more exact for small overlaps."""
    chunk_size: int | None = dataclasses.field(metadata={"static": True})
    """Number of configurations evaluated at once; None for all."""

    @override
    def overlap(self, carried: Any, ours: Samples) -> tuple[Overlap, Any]:
        kernel: Any = self.kernel
        carried, batch = kernel.sample(carried)
        log_phi = kernel.inner.log_psi(carried)

        def phi(x: Array) -> Array:
            return log_phi(carried.params, x)

        theirs = batch.reshape(-1, batch.shape[-1])
        forward = self._terms(self.unitary, phi, ours.x, ours.log_psi)
        backward = self._terms(self.adjoint, ours.log_psi, theirs, phi)
        # Norms of psi and phi are arbitrary: numbers stay near 1 with a common factor taken out.
        shift = jnp.max(jnp.real(forward[1]))
        shift = jnp.where(jnp.isfinite(shift), shift, 0)
        a = jnp.sum(forward[0] * jnp.exp(forward[1] - shift), axis=-1)
        b = jnp.sum(backward[0] * jnp.exp(backward[1] + shift), axis=-1)
        stats = self._statistics(a, b, ours.shape, batch.shape[:-1])
        of_target = jnp.real(jnp.mean(a) * b).reshape(batch.shape[:-1])
        error = series_statistics(of_target).error_of_mean
        return Overlap(a * jnp.mean(b), stats, jnp.asarray(error)), carried

    def _terms(self, operator: Any, above: LogPsi, x: Array, below: LogPsi) -> tuple[Array, Array]:
        """<x|U|y> and the logarithm of above(y) / below(x), shape (n_samples, n_connected)."""
        own = in_chunks(below, x, self.chunk_size)
        if operator is None:
            values = in_chunks(above, x, self.chunk_size)
            return jnp.ones((len(x), 1)), (values - own)[:, None]
        connected, elements = operator.get_conn_padded(x)
        flat = connected.reshape(-1, x.shape[-1])
        values = in_chunks(above, flat, self.chunk_size).reshape(elements.shape)
        return elements, values - own[:, None]

    def _statistics(
        self, a: Array, b: Array, ours: tuple[int, ...], theirs: tuple[int, ...]
    ) -> nk.stats.Stats:
        if self.control_variate is None:
            return product_statistics(a.reshape(ours), b.reshape(theirs))
        pairs = a * jnp.resize(b, a.shape)
        controlled = self.control_variate * (jnp.abs(pairs) ** 2 - 1)
        # Each row has whole chains of both states: rows are independent.
        n_rows = math.gcd(*(shape[0] if len(shape) > 1 else 1 for shape in (ours, theirs)))
        return series_statistics((jnp.real(pairs) + controlled).reshape(n_rows, -1))


def product_statistics(a: Inexact[Array, "*ours"], b: Inexact[Array, "*theirs"]) -> nk.stats.Stats:
    """The real part of the product of two means, with its error.

    To first order that of a mean of a has the part along the phase of the other mean B, the series
    Re(a B), and the errors from a and b, which are independent, add up in quadrature.

    Args:
        a: A series for each chain, shape (n_chains, length); or one series.
        b: As `a`, of other chains.
    """
    means = jnp.mean(a), jnp.mean(b)
    parts: list[Any] = [
        series_statistics(jnp.real(values * other))
        for values, other in zip((a, b), means[::-1], strict=True)
    ]
    fields: dict[str, Any] = {
        "mean": jnp.real(means[0] * means[1]),
        "error_of_mean": jnp.hypot(*(part.error_of_mean for part in parts)),
        "variance": parts[0].variance + parts[1].variance,
    }
    return nk.stats.Stats(**fields)


def series_statistics(values: Float[Array, "*shape"]) -> nk.stats.Stats:
    """NetKet's statistics of values by chain; the error is 0 where all values are equal."""
    stats: Any = nk.stats.statistics(values)
    # Where two states agree all values are equal, of which NetKet knows no error.
    return stats.replace(error_of_mean=jnp.where(stats.variance > 0, stats.error_of_mean, 0))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SummedTarget(AbstractTarget):
    """The exact overlap, from a sum over all configurations."""

    kernel: Kernel
    """Evaluates phi, see `ritz.lattice.Evaluation`."""
    states: Array
    """All configurations, shape (n_states, n_sites)."""
    unitary: JAXSparse | None
    """U as a matrix; None for one."""
    chunk_size: int | None = dataclasses.field(metadata={"static": True})
    """Number of configurations evaluated at once; None for all."""

    @override
    def overlap(self, carried: Any, ours: Samples) -> tuple[Overlap, Any]:
        kernel: Any = self.kernel
        log_phi = kernel.inner.log_psi(carried)
        psi = self._normalised(ours.log_psi)
        phi = self._normalised(lambda x: log_phi(carried.params, x))
        if self.unitary is not None:
            phi = self.unitary @ phi
        product = jnp.vdot(phi, psi)
        fidelity = jnp.abs(product) ** 2
        empty = psi == 0
        local = jnp.where(empty, fidelity, phi * product / jnp.where(empty, 1, psi))
        fields: dict[str, Any] = {
            "mean": fidelity,
            "error_of_mean": jnp.zeros_like(fidelity),
            "variance": fidelity * (1 - fidelity),
        }
        return Overlap(local, nk.stats.Stats(**fields), jnp.zeros_like(fidelity)), carried

    def _normalised(self, log_psi: LogPsi) -> Array:
        values = in_chunks(log_psi, self.states, self.chunk_size)
        psi = jnp.exp(values - jnp.max(jnp.real(values)))
        return psi / jnp.linalg.norm(psi)

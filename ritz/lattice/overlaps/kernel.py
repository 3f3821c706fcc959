"""A step of lattice VMC with overlaps in the loss."""

import dataclasses
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.lattice.kernels.kernel import Altered, LatticeCarry, LatticeKernel
from ritz.lattice.overlaps.overlap import AbstractTarget, Overlap, Samples, series_statistics
from ritz.types import Row


class OverlapCarry(NamedTuple):
    """All that the next step needs."""

    own: LatticeCarry
    targets: tuple[Any, ...]
    """Parameters and sampler state of each target."""

    @property
    def params(self) -> PyTree:
        """Parameters of the wave function, a tree of arrays."""
        return self.own.params

    @property
    def sampler_state(self) -> PyTree:
        """NetKet's sampler state; None for a full sum."""
        return self.own.sampler_state


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OverlapKernel(Kernel):
    """Lattice VMC with the loss <H> + sum_i w_i |<target_i|psi>|^2.

    Samples of the targets are drawn when the update is computed.
    """

    inner: LatticeKernel
    targets: tuple[AbstractTarget, ...]
    weights: tuple[float, ...] = dataclasses.field(metadata={"static": True})
    """w_i."""
    is_infidelity: bool = dataclasses.field(metadata={"static": True})
    """Whether the statistics of the loss are those of 1 - F, and H is one."""

    @override
    def sample(self, carry: OverlapCarry) -> tuple[OverlapCarry, PyTree]:
        own, batch = self.inner.sample(carry.own)
        return carry._replace(own=own), batch

    @override
    def propose(self, carry: OverlapCarry, batch: PyTree) -> tuple[OverlapCarry, Proposal]:
        found: list[Overlap] = []
        carried: list[Any] = []
        log_psi, params = self.inner.log_psi(carry.own), carry.own.params

        def altered(
            stats: nk.stats.Stats, x: Array, energies: Array, probabilities: Array | None
        ) -> Altered:
            shape = x.shape[:1] if probabilities is not None else batch.shape[:-1]
            ours = Samples(lambda x: log_psi(params, x), x, probabilities, shape)
            losses = energies
            for target, weight, before in zip(
                self.targets, self.weights, carry.targets, strict=True
            ):
                overlap, after = target.overlap(before, ours)
                losses = losses + weight * overlap.local
                found.append(overlap)
                carried.append(after)
            loss = _statistics(losses, ours)
            if self.is_infidelity:
                stats = _complement(found[0].stats)  # which may be more exact
                loss = _replaced(loss, mean=stats.mean, error_of_mean=stats.error_of_mean)
            else:
                of_targets = zip(self.weights, found, strict=True)
                errors = [weight * overlap.error for weight, overlap in of_targets]
                squares = jnp.square(jnp.stack([loss.error_of_mean, *errors]))
                loss = _replaced(loss, error_of_mean=jnp.sqrt(jnp.sum(squares)))
            return Altered(stats, loss, losses)

        own, proposal = self.inner.propose(carry.own, batch, altered)
        metrics: Row = dict(proposal.metrics)
        if self.is_infidelity:
            metrics.pop("v_score", None)
        else:
            metrics["overlaps"] = {str(n): overlap.stats for n, overlap in enumerate(found)}
        return OverlapCarry(own, tuple(carried)), proposal._replace(metrics=metrics)

    @override
    def apply(self, carry: OverlapCarry, update: PyTree) -> OverlapCarry:
        return carry._replace(own=self.inner.apply(carry.own, update))

    @override
    def trial(self, carry: OverlapCarry, batch: PyTree, update: PyTree) -> NoReturn:
        raise NotImplementedError(
            "a loss with overlaps has no trial loss, since samples of the targets are not kept."
        )


def _statistics(losses: Array, ours: Samples) -> nk.stats.Stats:
    """Statistics of the loss by its local values, with the targets' samples as they are."""
    if ours.probabilities is None:
        stats = series_statistics(jnp.real(losses).reshape(ours.shape))
        return _replaced(stats, variance=jnp.var(losses))
    mean = jnp.sum(ours.probabilities * losses)
    variance = jnp.sum(ours.probabilities * jnp.abs(losses - mean) ** 2)
    stats = nk.stats.Stats(error_of_mean=jnp.zeros_like(variance))  # pyright: ignore
    return _replaced(stats, mean=jnp.real(mean), variance=variance)


def _complement(stats: nk.stats.Stats) -> nk.stats.Stats:
    """Statistics of 1 - F from those of F."""
    return _replaced(stats, mean=1 - jnp.real(stats.mean))


def _replaced(stats: Any, **fields: Any) -> nk.stats.Stats:
    return stats.replace(**fields)

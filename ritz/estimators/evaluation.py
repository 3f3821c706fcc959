"""Evaluation: samples and estimates with fixed parameters, as a kernel for every domain."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.types import Loss, Row


class EstimatingKernel(Protocol):
    """The part of a domain's kernel that samples and estimates."""

    def sample(self, carry: Any) -> tuple[Any, PyTree]:
        """Draw samples; returns the new carry and the samples."""
        ...

    def estimate(self, carry: Any, batch: PyTree) -> tuple[Any, Loss, Row, Mapping[str, Array]]:
        """Estimate everything on the samples, and change no parameter.

        Returns:
            The carry, with what the next step is judged by; statistics of the energy; further
            metrics of the row; and name -> values by chain, shape (n_chains, n), of the quantities
            that have such.
        """
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EvaluationKernel(Kernel):
    """Evaluation = sampling + local values; only the chains move.

    The carry has a field `moments`, name -> `ChainMoments`.
    """

    inner: EstimatingKernel

    @override
    def sample(self, carry: Any) -> tuple[Any, PyTree]:
        return self.inner.sample(carry)

    @override
    def propose(self, carry: Any, batch: PyTree) -> tuple[Any, Proposal]:
        carry, stats, metrics, values = self.inner.estimate(carry, batch)
        moments = {
            name: known.with_values(jnp.real(values[name])) if name in values else known
            for name, known in carry.moments.items()
        }
        return carry._replace(moments=moments), Proposal(stats, (), metrics)

    @override
    def apply(self, carry: Any, update: tuple[()]) -> Any:
        return carry

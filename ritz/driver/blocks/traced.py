"""The parts of callbacks that are compiled into blocks."""

import dataclasses
import logging
import weakref
from collections.abc import Hashable, Iterable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PyTree

from ritz.driver.callback import AbstractCallback
from ritz.driver.kernel import Proposal
from ritz.types import Loss, Row

_logger = logging.getLogger(__name__)

Held = tuple[PyTree, ...]
"""Carry of each traced part, in the order of `Observers.parts`."""


class TracedPart:
    """The traced part of one callback, as a static argument of compiled functions.

    Two of them are equal if they compile to the same: the class and `traced_settings` are. The
    callback itself is not kept alive, so that a program in the cache holds no parameters.
    """

    def __init__(self, callback: AbstractCallback):
        reference = weakref.ref(callback)
        settings = callback.traced_settings
        self._callback = reference
        self._key: Hashable = (type(callback), reference if settings is None else settings)

    @property
    def callback(self) -> AbstractCallback:
        """The callback; needed while a function is traced."""
        callback = self._callback()
        assert callback is not None, "a traced part outlived its callback"
        return callback

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TracedPart) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclasses.dataclass(frozen=True)
class Observers:
    """All traced parts of a run; static in compiled functions."""

    loss_name: str
    parts: tuple[TracedPart, ...] = ()
    """Parts with a carry."""
    meters: tuple[TracedPart, ...] = ()
    """Parts that add metrics."""

    def metrics(self, carry: PyTree, proposal: Proposal) -> Row:
        """The kernel's metrics and those of callbacks."""
        metrics = dict(proposal.metrics)
        for meter in self.meters:
            metrics.update(meter.callback.traced_metrics(carry, proposal))
        return metrics

    def row(self, step: ArrayLike | jax.ShapeDtypeStruct | None, loss: Loss, metrics: Row) -> Row:
        """The row that traced parts get for a step."""
        return {"step": step, self.loss_name: loss, **metrics}

    def observe(self, hook: str, held: Held, carry: PyTree, row: Row) -> Held:
        """Carries of the parts after `hook`."""
        return tuple(
            part.callback.traced(own, carry, row) if part.callback.traced_at == hook else own
            for part, own in zip(self.parts, held, strict=True)
        )

    def has(self, callback: AbstractCallback) -> bool:
        """Whether one of the parts belongs to `callback`."""
        return any(part.callback is callback for part in (*self.parts, *self.meters))

    def sees(self, hook: str) -> bool:
        """Whether any part acts at `hook`."""
        return any(part.callback.traced_at == hook for part in self.parts)

    def load(self, held: Held) -> None:
        """Give the callbacks the carries of their parts."""
        for part, own in zip(self.parts, held, strict=True):
            part.callback.load_traced(own)


def gather(
    callbacks: Iterable[AbstractCallback], carry: PyTree, row: Row, loss_name: str
) -> tuple[Observers, Held]:
    """The traced parts of a run's callbacks, and their carries at its start.

    A part that looks for something which steps do not compute, a `LookupError`, is left out: its
    callback sees every step live instead.

    Args:
        callbacks: All callbacks of the run.
        carry: The kernel's carry.
        row: Shapes of what a step computes, see `Observers.row`.
        loss_name: The name of the loss in it.
    """
    parts, held, meters = [], [], []
    for callback in callbacks:
        if callback.has_traced_metrics:
            meters.append(TracedPart(callback))
        if not callback.has_traced:
            continue
        own = jax.tree.map(jnp.asarray, callback.init_traced(carry))
        try:
            jax.eval_shape(callback.traced, own, carry, row)
        except LookupError as error:
            _logger.info("%s sees every step live: %s", callback.label, error)
            continue
        parts.append(TracedPart(callback))
        held.append(own)
    return Observers(loss_name, tuple(parts), tuple(meters)), tuple(held)

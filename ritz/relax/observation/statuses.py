"""Transitions of structures between stages, and to the statuses of finished ones."""

import jax
import jax.numpy as jnp

from ritz.relax.algorithms.stage import FusedStage
from ritz.relax.batching.batch import FAILED, UNCERTAIN, UNCONVERGED, Slots
from ritz.relax.observation.quantities import Observables, quantity


def statuses(
    stages: FusedStage, slots: Slots, observables: Observables, active: jax.Array, finite: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The status of each structure after a step, and its counters; at most one transition a step.

    Args:
        stages: The stages.
        slots: The structures, with the counters of their criteria.
        observables: What the criteria look at.
        active: Which structures were evaluated.
        finite: Which of them have finite energies and forces.
    """
    n_stages = len(stages)
    old, status, failed = slots.status, slots.status, active & ~finite
    counters = []
    for i, hook in enumerate(stages.all_hooks):
        rule = hook.rule
        looked = active & (slots.steps % rule.frequency == 0)
        if rule.source is not None:
            looked &= old == rule.source
        met, nan = rule.evaluate(lambda name: quantity(name, observables))
        failed |= looked & nan
        counter = jnp.where(
            looked, jnp.where(met, slots.counters[:, i] + 1, 0), slots.counters[:, i]
        )
        counters.append(counter)
        target = jnp.asarray(rule.target, old.dtype)
        moves = looked & met & (counter > rule.patience)
        if rule.target != UNCERTAIN:  # what is uncertain may look as if it had converged
            moves &= status == old
        status = jnp.where(moves, target, status)
    for place, stage in enumerate(stages.stages):
        if stage.max_steps is not None:
            last = place == n_stages - 1
            beaten = last and stage.convergence_hook is not None
            after = UNCONVERGED if beaten else place + 1
            spent = active & (old == place) & (slots.stage_steps >= stage.max_steps)
            status = jnp.where(spent & (status == old), after, status)
    status = jnp.where(failed, FAILED, status).astype(old.dtype)
    kept = jnp.stack(counters, axis=-1) if counters else slots.counters
    return status, jnp.where((status != old)[:, None], 0, kept).astype(slots.counters.dtype)

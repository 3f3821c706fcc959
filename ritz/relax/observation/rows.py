"""The rows that a relaxation logs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ritz.relax.batching.batch import FAILED, UNCONVERGED, Given, Outcome, Slots, waiting
from ritz.relax.observation.quantities import QUANTITIES, Observables
from ritz.types import Row


def row(
    slots: Sequence[Slots],
    given: Sequence[Given],
    observables: Sequence[Observables],
    active: Sequence[jax.Array],
    statuses: Sequence[jax.Array],
    n_stages: int,
    shown: Sequence[str],
) -> tuple[jax.Array, Row]:
    """The largest force of structures that go on, or of the last ones, and the rest of the row.

    Once no structure goes on, the force is that of those that were evaluated in this step and have
    not failed; 0 if all of these have.

    Args:
        slots: The slots of each bucket.
        given: The structures of each.
        observables: What was computed for each.
        active: Which structures of each were evaluated.
        statuses: What the statuses of each become.
        n_stages: How many stages there are.
        shown: Names of further quantities that are logged for each structure.
    """
    status = jnp.concatenate(list(statuses))
    running = (status >= 0) & (status < n_stages)
    by_slot = {
        "place": jnp.concatenate([g.place[s.member] for g, s in zip(given, slots, strict=True)])
    }
    for name in ("energy", "fmax"):
        by_slot[name] = jnp.concatenate([getattr(view, name) for view in observables])
    by_slot["status"] = status
    for name in shown:
        by_slot[name] = jnp.concatenate([QUANTITIES[name][1](view) for view in observables])
    energy = by_slot["energy"]
    last = jnp.concatenate(list(active)) & (status != FAILED)
    counts_in = jnp.where(jnp.any(running), running, last)
    forces = jnp.where(counts_in, by_slot["fmax"], 0)
    energies = jnp.where(jnp.isfinite(energy) & (status != FAILED), energy, 0)
    metrics = {"energy": jnp.sum(energies), "running": jnp.sum(running)}
    counts = _counts(slots, given, status, n_stages)
    return jnp.max(forces), {**metrics, **counts, "structures": by_slot}


def _counts(
    slots: Sequence[Slots], given: Sequence[Given], status: jax.Array, n_stages: int
) -> dict[str, int | jax.Array]:
    """Numbers of structures that wait, and that have ended in each way."""
    left = [s.finished.status for s in slots if isinstance(s.finished, Outcome)]
    ended = jnp.concatenate([status, *left])
    return {
        "waiting": sum(waiting(s, len(g.place)) for s, g in zip(slots, given, strict=True)),
        "converged": jnp.sum(ended == n_stages),
        "unconverged": jnp.sum(ended == UNCONVERGED),
        "failed": jnp.sum(ended == FAILED),
    }

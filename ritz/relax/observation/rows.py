"""The rows that a relaxation logs."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from ritz.relax.batching.batch import (
    FAILED,
    UNCERTAIN,
    UNCONVERGED,
    Given,
    Outcome,
    Slots,
    waiting,
)
from ritz.relax.batching.division import SlotDivision
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
    watched: bool,
    division: SlotDivision,
) -> tuple[jax.Array, Row, jax.Array]:
    """The largest force of structures that go on, or of the last ones, and the rest of the row.

    At last, whether the run must pause: a neighbour list did not fit, or nothing is left to do.

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
        watched: Whether structures may end as uncertain, so that these are counted.
        division: The devices that share the slots.
    """
    columns: dict[str, Sequence[jax.Array]] = {
        "place": [
            g.place[jnp.minimum(s.member, len(g.place) - 1)]
            for g, s in zip(given, slots, strict=True)
        ]
    }
    for name in ("energy", "fmax"):
        columns[name] = [getattr(view, name) for view in observables]
    columns |= {"status": statuses, "active": active}
    for name in shown:
        columns[name] = [QUANTITIES[name][1](view) for view in observables]
    names = ["converged", "unconverged", "failed", *["uncertain"] * watched]
    codes = jnp.array([n_stages, UNCONVERGED, FAILED, UNCERTAIN][: len(names)])
    left = [s.finished.status for s in slots if isinstance(s.finished, Outcome)]
    ended = jnp.sum(jnp.concatenate([*left, codes[:0]])[:, None] == codes, axis=0)
    by_slot, ended = division.whole(columns, ended)
    status, energy, was_active = by_slot["status"], by_slot["energy"], by_slot.pop("active")
    running = (status >= 0) & (status < n_stages)
    last = was_active & (status != FAILED)
    counts_in = jnp.where(jnp.any(running), running, last)
    forces = jnp.where(counts_in, by_slot["fmax"], 0)
    energies = jnp.where(jnp.isfinite(energy) & (status != FAILED), energy, 0)
    n_waiting = sum(waiting(s, len(g.place)) for s, g in zip(slots, given, strict=True))
    ended += jnp.sum(status[:, None] == codes, axis=0)
    metrics = {
        "energy": jnp.sum(energies),
        "running": jnp.sum(running),
        "waiting": n_waiting,
        **dict(zip(names, ended, strict=True)),
        **_mean_temperature(by_slot, counts_in),
        "structures": by_slot,
    }
    overflow = jnp.any(running & ~was_active)  # what runs and was not evaluated
    pauses = overflow | ~(jnp.any(running) | (n_waiting > 0))
    return jnp.max(forces), metrics, pauses


def _mean_temperature(by_slot: Mapping[str, jax.Array], counts_in: jax.Array) -> Row:
    """The mean temperature of structures that count, where temperatures are logged."""
    if "temperature" not in by_slot:
        return {}
    total = jnp.sum(jnp.where(counts_in, by_slot["temperature"], 0))
    return {"temperature": total / jnp.maximum(jnp.sum(counts_in), 1)}

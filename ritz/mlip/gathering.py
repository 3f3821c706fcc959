"""Batches gathered from a split, on the device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.ragged import ragged
from ritz.mlip.rooms import GroupRoom
from ritz.mlip.split import Batch, Split


def gather(model: AbstractModel, split: Split, ids: Int[Array, " slots"], room: GroupRoom) -> Batch:
    """The structures `ids` of a split.

    Args:
        model: What the split was packed for.
        split: Where they are from.
        ids: Which structures; -1 for none.
        room: How many atoms there is room for, and whether forces are asked for.
    """
    there = ids >= 0
    at = jnp.maximum(ids, 0)
    counts = jnp.where(there[:, None], split.counts[at], 0)
    places = [ragged(counts[:, kind], capacity) for kind, capacity in enumerate(room.atoms)]
    slot = jnp.concatenate([place.slot for place in places])
    valid = jnp.concatenate([place.valid for place in places])

    def rows(starts: Any) -> Any:
        found = [starts[at[p.slot], kind] + p.within for kind, p in enumerate(places)]
        return jnp.where(valid, jnp.concatenate(found), 0)

    labels = jax.tree.map(lambda label: label[at], split.labels)
    labels = labels._replace(weight=jnp.where(there, labels.weight, 0))
    n_atoms = jnp.maximum(jnp.sum(counts, axis=-1), 1).astype(labels.energy.dtype)
    firsts = np.cumsum([0, *room.atoms[:-1]])
    begins = [first + place.begins for first, place in zip(firsts, places, strict=True)]
    own = rows(split.starts)
    inputs = jax.tree.map(lambda row: row[own], split.inputs)
    forces, tables = None, None
    if room.supervised:
        assert split.forces is not None
        atoms = rows(split.table_starts)
        forces = split.forces[atoms]
        tables = jax.tree.map(lambda row: row[atoms], split.tables)
    inputs, tables = model.localised(inputs, tables, [begin[slot] for begin in begins])
    return Batch(ids, n_atoms, labels, slot, valid, inputs, forces, tables)

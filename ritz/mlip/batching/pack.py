"""Structures of a data set as arrays on the host, and batches gathered from them on the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.arrays import AnyArray, Filled
from ritz.mlip.descriptors.chunk import Chunk, starts_of
from ritz.mlip.models.abstract_model import AbstractModel, Batch, GroupRoom, Labels, Widths
from ritz.mlip.models.normalisation import Normalisation


class Split(NamedTuple):
    """Structures as arrays; atoms are ordered by structure, and by species within it.

    Of a split that is streamed, rows of atoms are only those of the structures in the window, and
    `starts` are right for these alone.
    """

    counts: Int[AnyArray, "structures n_species"]
    """How many atoms of each species a structure has."""
    labels: Labels
    starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species."""
    inputs: Any
    """What energies need of each atom, see `AbstractModel.inputs`."""
    table_starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species among those with tables."""
    forces: Float[AnyArray, "tabled_atoms 3"] | None
    tables: Any | None
    """What forces need besides, see `AbstractModel.tables`."""


def forces_of(chunk: Chunk) -> np.ndarray:
    """The forces on all atoms of a chunk; zero where they are not known."""
    found = [
        np.zeros((len(s), 3)) if s.forces is None else np.asarray(s.forces)
        for s in chunk.structures
    ]
    return np.concatenate(found)[chunk.order]


def pack(
    model: AbstractModel,
    chunks: list[Chunk],
    labels: Labels,
    normalisation: Normalisation | None,
    widths: Widths,
    dtype: str,
    with_stress: bool,
) -> Split:
    """Pack structures; chunks are emptied one by one, so that little is in memory twice.

    Args:
        model: What they are packed for.
        chunks: The structures.
        labels: What is known of them.
        normalisation: How features are scaled.
        widths: How long rows of neighbours must be.
        dtype: Of the numbers.
        with_stress: Whether stress is asked for where forces are.
    """
    counts = np.concatenate([chunk.counts for chunk in chunks])
    tabled = np.asarray(labels.has_tables)
    table_starts = np.zeros_like(counts)
    table_starts[tabled] = starts_of(counts[tabled])
    sizes = counts.sum(axis=1)
    inputs, tables, begin = Filled(int(sizes.sum())), Filled(int(sizes[tabled].sum())), 0
    while chunks:
        chunk = chunks.pop(0)
        own = tabled[begin : begin + len(chunk.sizes)]
        begin += len(chunk.sizes)
        inputs.add(model.inputs(chunk, normalisation, widths, dtype))
        if np.any(own):
            part = chunk.only(own)
            tables.add(
                (forces_of(part).astype(dtype), model.tables(part, widths, dtype, with_stress))
            )
    forces, rows = (None, None) if tables.rows is None else tables.rows
    return Split(counts, labels, starts_of(counts), inputs.rows, table_starts, forces, rows)


class Ragged(NamedTuple):
    """Which atoms of which structures are where in a row of so many places."""

    slot: Int[Array, " places"]
    """The structure of the batch; the last one in empty places."""
    within: Int[Array, " places"]
    """Which of the structure's atoms."""
    valid: Bool[Array, " places"]
    """Which places hold an atom."""
    begins: Int[Array, " slots"]
    """The place of each structure's first atom."""


def ragged(counts: Int[Array, " slots"], capacity: int) -> Ragged:
    """Put `counts[i]` atoms of each structure i one after another into `capacity` places."""
    ends = jnp.cumsum(counts)
    places = jnp.arange(capacity, dtype=ends.dtype)
    slot = jnp.sum(places[:, None] >= ends, axis=-1, dtype=ends.dtype)
    valid = places < ends[-1]
    slot = jnp.minimum(slot, len(counts) - 1)
    begins: Any = ends - counts
    within: Any = jnp.where(valid, places - begins[slot], 0)
    return Ragged(slot, within, valid, begins)


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

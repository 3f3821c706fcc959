"""Structures of a data set as arrays on the host, and batches gathered from them on the device."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ritz.mlip.arrays import AnyArray, RowBuffer
from ritz.mlip.descriptors.chunk import Chunk, starts_of
from ritz.mlip.models.abstract_model import (
    AbstractModel,
    Batch,
    GroupCapacity,
    Labels,
    Normalisation,
    Widths,
)


class Split(NamedTuple):
    """Structures as arrays; atoms are ordered by structure, and by species within it.

    Of a split that is streamed, rows of atoms are only those of the structures in the window, and
    `starts` are right for these alone.
    """

    counts: Int[AnyArray, "structures n_species"]
    """Number of atoms of each species."""
    labels: Labels
    starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species."""
    inputs: PyTree
    """Inputs of the energies, atom by atom, see `AbstractModel.inputs`."""
    table_starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species among those with tables."""
    forces: Float[AnyArray, "tabled_atoms 3"] | None
    tables: PyTree | None
    """Tables from which forces follow, see `AbstractModel.tables`."""


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
    inputs, tables, begin = RowBuffer(int(sizes.sum())), RowBuffer(int(sizes[tabled].sum())), 0
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
    return Split(
        counts,
        labels,
        starts_of(counts),
        inputs=inputs.rows,
        table_starts=table_starts,
        forces=forces,
        tables=rows,
    )


class _Ragged(NamedTuple):
    """Which atom of which structure each place of a row holds."""

    slot: Int[Array, " places"]
    """The structure of the batch; the last one in empty places."""
    within: Int[Array, " places"]
    """Which of the structure's atoms."""
    valid: Bool[Array, " places"]
    """Which places hold an atom."""
    begins: Int[Array, " slots"]
    """The place of each structure's first atom."""


def _ragged(counts: Int[Array, " slots"], n_places: int) -> _Ragged:
    """Put `counts[i]` atoms of each structure i one after another into `n_places` places."""
    ends = jnp.cumsum(counts)
    places = jnp.arange(n_places, dtype=ends.dtype)
    slot = jnp.sum(places[:, None] >= ends, axis=-1, dtype=ends.dtype)
    valid = places < ends[-1]
    slot = jnp.minimum(slot, len(counts) - 1)
    begins: Any = ends - counts
    within: Any = jnp.where(valid, places - begins[slot], 0)
    return _Ragged(slot, within, valid, begins)


def gather(
    split: Split, groups: Sequence[Int[Array, " slots"]], capacity: Sequence[GroupCapacity]
) -> tuple[Batch, ...]:
    """Some structures of a split, by group.

    Args:
        split: Where they are from.
        groups: The structures of each group; -1 for none.
        capacity: The capacity of each group, and whether its forces are predicted.
    """
    return tuple(_gathered(split, *group) for group in zip(groups, capacity, strict=True))


def _gathered(split: Split, ids: Int[Array, " slots"], capacity: GroupCapacity) -> Batch:
    there = ids >= 0
    at = jnp.maximum(ids, 0)
    counts = jnp.where(there[:, None], split.counts[at], 0)
    places = [_ragged(counts[:, kind], n_places) for kind, n_places in enumerate(capacity.atoms)]
    slot = jnp.concatenate([place.slot for place in places])
    valid = jnp.concatenate([place.valid for place in places])

    def rows(starts: Int[AnyArray, "structures n_species"]) -> Int[Array, " atoms"]:
        found = [starts[at[p.slot], kind] + p.within for kind, p in enumerate(places)]
        return jnp.where(valid, jnp.concatenate(found), 0)

    labels = jax.tree.map(lambda label: label[at], split.labels)
    labels = labels._replace(weight=jnp.where(there, labels.weight, 0))
    n_atoms = jnp.maximum(jnp.sum(counts, axis=-1), 1).astype(labels.energy.dtype)
    firsts = np.cumsum([0, *capacity.atoms[:-1]])
    begins = [first + place.begins for first, place in zip(firsts, places, strict=True)]
    atoms = rows(split.starts)
    inputs = jax.tree.map(lambda row: row[atoms], split.inputs)
    forces, tables = None, None
    if capacity.supervised:
        assert split.forces is not None
        tabled = rows(split.table_starts)
        forces = split.forces[tabled]
        tables = jax.tree.map(lambda row: row[tabled], split.tables)
    return Batch(
        ids=ids,
        n_atoms=n_atoms,
        labels=labels,
        slot=slot,
        valid=valid,
        begins=tuple(begin[slot] for begin in begins),
        inputs=inputs,
        forces=forces,
        tables=tables,
    )

"""Neighbour lists of a batch, kept on the device and rebuilt when atoms have moved.

A list holds all pairs within cutoff + skin, and serves until two atoms may have come closer than
the skin has room for (Verlet, Phys. Rev. 159, 98 (1967)).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.potentials.pairs import pairs_on_host, row_places
from ritz.relax.algorithms.matrices import inverse

_ROUNDING = 1e-9
"""Relative margin of the reach when images are counted."""

MOST_CELLS = 2**15 - 1
"""Largest number of lattice vectors between neighbours, from the integer type of shifts."""

MOST_NEIGHBORS = 100_000
"""Largest number of neighbours of an atom: about those within 60 Angstrom in a metal."""

MOST_CANDIDATES = 2**18
"""Number of candidate pairs examined together; bounds the memory of a search."""


class NeighborLists(NamedTuple):
    """The lists of all slots; the first axis is the slot."""

    neighbors: Int[Array, "slots n k"]
    shifts: Int[Array, "slots n k 3"]
    """Lattice vectors to add to the neighbour's position."""
    counts: Int[Array, "slots n"]
    """Number of neighbours of each atom."""
    positions: Float[Array, "slots n 3"]
    """Positions at which the lists were made."""
    cell: Float[Array, "slots 3 3"]
    stale: Bool[Array, " slots"]
    """Whether a list must be rebuilt in any case."""
    overflow: Bool[Array, " slots"]
    """Whether a list did not fit and must not be used."""


class NeighborList(NamedTuple):
    """The list of one structure, see `NeighborLists`."""

    neighbors: Int[Array, "n k"]
    shifts: Int[Array, "n k 3"]
    counts: Int[Array, " n"]
    overflow: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class ListSettings:
    """Static settings of a compiled search."""

    cutoff: float | None
    skin: float
    width: int
    """Largest number of neighbours of an atom."""
    images: tuple[int, int, int]
    """Number of images of each atom searched along each lattice vector."""
    on_host: bool
    """Whether vesin searches on the host; otherwise all pairs are examined on the device."""
    chunk: int
    """Number of structures searched at once."""
    cell_moves: bool

    @property
    def reach(self) -> float:
        """Cutoff plus skin, in Angstrom."""
        return math.inf if self.cutoff is None else self.cutoff + self.skin


def empty_lists(slots: int, n_atoms: int, settings: ListSettings, dtype: np.dtype) -> NeighborLists:
    """Empty lists, which must be made before they are used."""
    width = settings.width
    return NeighborLists(
        neighbors=jnp.zeros((slots, n_atoms, width), jnp.int32),
        shifts=jnp.zeros((slots, n_atoms, width, 3), jnp.int16),
        counts=jnp.zeros((slots, n_atoms), jnp.int32),
        positions=jnp.zeros((slots, n_atoms, 3), dtype),
        cell=jnp.zeros((slots, 3, 3), dtype),
        stale=jnp.ones(slots, bool),
        overflow=jnp.zeros(slots, bool),
    )


def entries(lists: NeighborLists) -> Bool[Array, "slots n k"]:
    """Mask of the used entries of the lists."""
    return jnp.arange(lists.neighbors.shape[-1]) < lists.counts[..., None]


def vectors(
    positions: jax.Array, cell: jax.Array, neighbors: jax.Array, shifts: jax.Array
) -> Float[Array, "n k 3"]:
    """Vectors from each atom of one structure to its neighbours, in Angstrom."""
    return positions[neighbors] - positions[:, None] + shifts.astype(positions.dtype) @ cell


def cells_within(cell: jax.Array, pbc: jax.Array, reach: float) -> jax.Array:
    """The reach in units of the cell's heights, along each lattice vector; 0 if not periodic."""
    if math.isinf(reach):
        return jnp.zeros(3, cell.dtype)
    per_cell = jnp.sqrt(jnp.sum(inverse(cell) ** 2, axis=-2))  # 1 / height
    return jnp.where(pbc, reach * per_cell * (1 + _ROUNDING), 0)


def images_needed(cell: jax.Array, pbc: jax.Array, reach: float) -> jax.Array:
    """Number of images of an atom that can be within reach of another, along each lattice vector.

    Those whose distance along it is below a cells are in an interval of length 2 a.
    """
    return jnp.floor(2 * cells_within(cell, pbc, reach)).astype(int) + 1


def search(
    positions: jax.Array, cell: jax.Array, pbc: jax.Array, mask: jax.Array, settings: ListSettings
) -> NeighborList:
    """Look at all pairs of one structure, and at as many images of them as `settings` has.

    Each atom's candidates are ordered by image, counted from the first that can be within reach,
    and neighbour; those that are within reach are taken in that order.
    """
    n, width = len(positions), settings.width
    beyond = np.stack(np.meshgrid(*map(np.arange, settings.images), indexing="ij"), -1)
    beyond = beyond.reshape(-1, 3)
    within = cells_within(cell, pbc, settings.reach)
    fractional = positions @ inverse(cell)
    everyone = jnp.arange(n)
    exists = jnp.all(pbc | (beyond == 0), axis=-1)[:, None]

    def row(i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        first = jnp.where(pbc, jnp.ceil(fractional[i] - fractional - within), 0)
        shift = first + beyond[:, None]  # images, n, 3
        apart = positions - positions[i] + shift @ cell
        itself = (everyone == i) & jnp.all(shift == 0, axis=-1)
        near = jnp.sum(apart**2, axis=-1) < settings.reach**2
        near &= exists & mask & mask[i] & ~itself
        rank = jnp.cumsum(near.reshape(-1))
        taken = jnp.searchsorted(rank, jnp.arange(1, width + 1), method="scan_unrolled")
        taken = jnp.minimum(taken, rank.size - 1)
        used = jnp.arange(width) < rank[-1]
        j = jnp.where(used, taken % n, i)
        shifts: jax.Array = shift.reshape(-1, 3)[taken] * used[:, None]
        return jnp.asarray(j, jnp.int32), shifts.astype(jnp.int16), rank[-1].astype(jnp.int32)

    size = max(1, min(n, MOST_CANDIDATES // (n * len(beyond))))
    if size == n:
        neighbors, shifts, count = jax.vmap(row)(everyone)
    else:
        neighbors, shifts, count = jax.lax.map(row, everyone, batch_size=size)
    missing = images_needed(cell, pbc, settings.reach) > jnp.array(settings.images)
    overflow = jnp.any(count > width) | jnp.any(missing) | _far(fractional, pbc, mask)
    return NeighborList(neighbors, shifts, count, overflow)


def _far(fractional: jax.Array, pbc: jax.Array, mask: jax.Array) -> jax.Array:
    """Whether atoms are more lattice vectors apart than shifts can hold."""
    # The first entry of a row is an atom, never padding.
    there = jnp.where(mask[:, None], fractional, fractional[:1])
    apart = jnp.max(there, axis=0) - jnp.min(there, axis=0)
    return jnp.any(pbc & (apart > MOST_CELLS))


def search_on_host(
    positions: jax.Array, cell: jax.Array, pbc: jax.Array, mask: jax.Array, settings: ListSettings
) -> NeighborList:
    """The same by vesin's cell lists, in a call to the host; for large structures."""
    n, width = len(positions), settings.width
    shapes = (
        jax.ShapeDtypeStruct((n, width), jnp.int32),
        jax.ShapeDtypeStruct((n, width, 3), jnp.int16),
        jax.ShapeDtypeStruct((n,), jnp.int32),
    )
    call: Callable[..., Any] = jax.pure_callback
    neighbors, shifts, count = call(
        lambda x, c, periodic, there: _padded(
            x, c, periodic, there, reach=settings.reach, width=width
        ),
        shapes,
        positions,
        cell,
        pbc,
        mask,
        vmap_method="sequential",
    )
    overflow = jnp.any(count > width) | _far(positions @ inverse(cell), pbc, mask)
    return NeighborList(neighbors, shifts, count, overflow)


def _padded(
    positions: np.ndarray,
    cell: np.ndarray,
    pbc: np.ndarray,
    mask: np.ndarray,
    reach: float,
    width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mask = np.asarray(mask)
    n, atoms = len(mask), np.flatnonzero(mask)
    if not countable(len(atoms), cell, pbc, reach):  # does not fit
        nothing = np.zeros((n, width), np.int32), np.zeros((n, width, 3), np.int16)
        return *nothing, np.full(n, width + 1, np.int32)
    first, second, shifts = pairs_on_host(np.asarray(positions)[atoms], cell, pbc, reach)
    count = np.bincount(first, minlength=len(atoms))
    _, place = row_places(count)
    fits = place < width
    first, second, shifts, place = first[fits], second[fits], shifts[fits], place[fits]
    all_neighbors = np.repeat(np.arange(n, dtype=np.int32)[:, None], width, axis=1)
    all_shifts = np.zeros((n, width, 3), np.int16)
    all_neighbors[atoms[first], place] = atoms[second]
    all_shifts[atoms[first], place] = shifts
    all_counts = np.zeros(n, np.int32)
    all_counts[atoms] = count
    return all_neighbors, all_shifts, all_counts


def countable(n_atoms: int, cell: np.ndarray, pbc: np.ndarray, reach: float) -> bool:
    """Whether a structure has few enough neighbours for a search."""
    cell = np.asarray(cell, float)
    if not np.all(np.isfinite(cell)) or not abs(np.linalg.det(cell)) > 0:
        return False
    return expected_neighbors(n_atoms, cell, pbc, reach) <= MOST_NEIGHBORS


def expected_neighbors(n_atoms: int, cell: np.ndarray, pbc: np.ndarray, reach: float) -> float:
    """Upper estimate of the number of neighbours of an atom, without a search.

    Args:
        n_atoms: Number of atoms in the cell.
        cell: Three linearly independent lattice vectors.
        pbc: Along which of them it is periodic.
        reach: Reach of the lists, in Angstrom.
    """
    periodic = np.asarray(pbc, bool)
    if not np.any(periodic):
        return 0.0
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return float(n_atoms * np.prod((2 * reach / heights)[periodic]))


def outdated(
    lists: NeighborLists, positions: jax.Array, cell: jax.Array, settings: ListSettings
) -> jax.Array:
    """Slots in which a pair that is not listed may have come within the cutoff.

    With T the linear map from the old cell to the new one, and u the largest distance of an atom
    from where T takes it, a pair that was farther than the reach is now farther than
    reach * (1 - |T - 1|) - 2 u.
    """
    if math.isinf(settings.reach):
        return lists.stale
    old, reach = lists.positions, settings.reach
    if settings.cell_moves:
        change = inverse(lists.cell) @ cell
        strain = jnp.sqrt(jnp.sum((change - jnp.eye(3, dtype=cell.dtype)) ** 2, axis=(-2, -1)))
        old = old @ change
        reach *= 1 - strain
    moved = jnp.max(jnp.sum((positions - old) ** 2, axis=-1), axis=-1)
    assert settings.cutoff is not None
    skin = reach - settings.cutoff
    return lists.stale | (skin < 0) | (4 * moved > skin**2)


def refresh(
    lists: NeighborLists,
    positions: jax.Array,
    cell: jax.Array,
    pbc: jax.Array,
    mask: jax.Array,
    active: jax.Array,
    settings: ListSettings,
) -> NeighborLists:
    """Rebuild outdated lists in active slots; the other lists stay."""
    if settings.cutoff is None:
        return lists
    wanted = outdated(lists, positions, cell, settings) & active
    find: Any = search_on_host if settings.on_host else search
    size = min(settings.chunk, len(wanted))

    def renew(lists: NeighborLists) -> NeighborLists:
        order = jnp.argsort(~wanted, stable=True)
        order = jnp.pad(order, (0, size), mode="edge")

        def chunk(i: jax.Array, lists: NeighborLists) -> NeighborLists:
            slots = jax.lax.dynamic_slice_in_dim(order, i * size, size)
            found = jax.vmap(lambda *args: find(*args, settings))(
                positions[slots], cell[slots], pbc[slots], mask[slots]
            )
            new = NeighborLists(
                neighbors=found.neighbors,
                shifts=found.shifts,
                counts=jnp.minimum(found.counts, settings.width),
                positions=positions[slots],
                cell=cell[slots],
                stale=found.overflow,
                overflow=found.overflow,
            )
            valid = wanted[slots]
            return jax.tree.map(
                lambda old, new: old.at[slots].set(
                    jnp.where(valid.reshape(-1, *[1] * (new.ndim - 1)), new, old[slots])
                ),
                lists,
                new,
            )

        n_wanted = jnp.sum(wanted)
        return jax.lax.fori_loop(0, (n_wanted + size - 1) // size, chunk, lists)

    return jax.lax.cond(jnp.any(wanted), renew, lambda lists: lists, lists)

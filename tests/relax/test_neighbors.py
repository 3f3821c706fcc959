"""Neighbour lists against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.relax.batching.neighbors import (
    ListSettings,
    empty_lists,
    images_needed,
    outdated,
    refresh,
    search,
    search_on_host,
)

N, REACH = 7, 4.0
SETTINGS = ListSettings(REACH - 1, 1.0, 160, (6, 6, 6), False, 2, False)

CELLS = {
    "cubic": np.eye(3) * 3.2,
    "skewed": np.array([[3.0, 0, 0], [1.4, 2.9, 0], [-1.2, 1.3, 3.1]]),
    "very skewed": np.array([[3.0, 0, 0], [2.9, 2.4, 0], [2.0, -1.9, 2.6]]),
    "left-handed": np.array([[0, 3.0, 0], [3.3, 0, 0], [0, 0.5, 3.4]]),
    "wide": np.array([[9.0, 0, 0], [1.0, 8.5, 0], [0, 2.0, 9.5]]),
}
PERIODIC = [(True, True, True), (True, False, True), (False, False, False)]


def brute_force(positions, cell, pbc, reach):
    """All (i, j, shift) within reach, from many images."""
    found = set()
    ranges = [range(-9, 10) if p else (0,) for p in pbc]
    for shift in itertools.product(*ranges):
        apart = positions[None] - positions[:, None] + np.array(shift) @ cell
        for i, j in np.argwhere(np.sum(apart**2, -1) < reach**2):
            if i != j or any(shift):
                found.add((int(i), int(j), *shift))
    return found


def listed(found, n_real=N):
    entries = []
    for i, count in enumerate(np.asarray(found.counts)):
        own = [(i, int(j), *map(int, s)) for j, s in zip(
            np.asarray(found.neighbors[i])[:count], np.asarray(found.shifts[i])[:count],
            strict=True)]  # fmt: skip
        assert len(set(own)) == len(own)
        entries += own
    return set(entries)


def structure(name, pbc, spread=1.0):
    random = np.random.default_rng(0)
    cell = CELLS[name]
    positions = random.random((N, 3)) @ cell
    positions += random.integers(-2, 3, (N, 3)) * np.array(pbc) @ cell * spread
    padded = np.vstack([positions, np.zeros((2, 3))])
    return positions, padded, cell, np.array(pbc), np.arange(N + 2) < N


SEARCHES = {
    "device": jax.jit(search, static_argnums=4),
    "host": jax.jit(search_on_host, static_argnums=4),
}


@pytest.mark.parametrize("way", SEARCHES)
@pytest.mark.parametrize("pbc", PERIODIC)
@pytest.mark.parametrize("name", CELLS)
def test_all_pairs_are_found_once(name, pbc, way):
    positions, padded, cell, pbc, mask = structure(name, pbc)

    with jax.enable_x64(True):
        found = SEARCHES[way](jnp.asarray(padded), jnp.asarray(cell), pbc, mask, SETTINGS)

    if not np.any(found.overflow):
        assert listed(found) == brute_force(positions, cell, pbc, REACH)
    else:
        needed = images_needed(jnp.asarray(cell), pbc, REACH)
        assert name == "very skewed" and np.max(needed) > 6
    assert np.all(np.asarray(found.counts)[N:] == 0)


def test_too_few_places_and_too_few_images_are_told():
    _, padded, cell, pbc, mask = structure("cubic", (True, True, True))
    for settings in (
        ListSettings(3.0, 1.0, 8, (6, 6, 6), False, 2, False),
        ListSettings(3.0, 1.0, 160, (3, 1, 3), False, 2, False),
    ):
        assert SEARCHES["device"](padded, cell, pbc, mask, settings).overflow


def test_lists_serve_until_atoms_have_used_up_the_skin():
    settings = ListSettings(3.0, 1.0, 8, (1, 1, 1), False, 1, True)
    with jax.enable_x64(True):
        lists = empty_lists(3, 2, settings, jnp.float64)
        cell = jnp.broadcast_to(jnp.eye(3) * 9.0, (3, 3, 3))
        positions = jnp.zeros((3, 2, 3)).at[:, 1, 0].set(2.0)
        none = jnp.zeros((3, 3), bool)
        everything = jnp.ones((3, 2), bool)
        lists = refresh(
            lists, positions, cell, none, everything, jnp.array([True, True, False]), settings
        )
        assert lists.stale.tolist() == [False, False, True]  # slots at rest wait

        moved = positions.at[0, 0, 1].add(0.49).at[1, 0, 1].add(0.51)
        assert outdated(lists, moved, cell, settings).tolist()[:2] == [False, True]

        # Atoms that follow the cell use up what its strain takes from the reach.
        for strain, needed in ((0.02, False), (0.3, True)):
            stretched = cell * (1 - strain)
            assert outdated(lists, positions * (1 - strain), stretched, settings)[0] == needed

"""Neighbour pairs on the host."""

import itertools

import numpy as np
import pytest

from ritz.potentials.pairs import most_neighbors, pairs_on_host
from ritz.potentials.sparse_pairs import is_sparse, sparse_pairs

SLANTED = np.array([[3.0, 0.4, 0.1], [-0.7, 4.0, 0.3], [0.2, 0.5, 2.5]])
PERIODIC = list(itertools.product([False, True], repeat=3))


def brute(positions, cell, pbc, reach, most):
    """All pairs, of images up to `most` lattice vectors away, in order."""
    ranges = [range(-most, most + 1) if periodic else (0,) for periodic in pbc]
    found = []
    for i, j in itertools.product(range(len(positions)), repeat=2):
        for shift in itertools.product(*ranges):
            apart = positions[j] - positions[i] + np.array(shift) @ cell
            if np.sum(apart**2) < reach**2 and (i != j or any(shift)):
                found.append((i, j, *shift))
    return sorted(found)


def rows(first, second, shifts):
    return sorted(map(tuple, np.column_stack([first, second, shifts]).tolist()))


@pytest.mark.parametrize("pbc", PERIODIC)
def test_sparse_pairs_are_those_of_all_images(pbc):
    rng = np.random.default_rng(1)
    positions = rng.uniform(-1, 2, (7, 3)) @ SLANTED  # some outside of the cell
    found = sparse_pairs(positions, SLANTED, np.array(pbc), 3.1)
    assert rows(*found) == brute(positions, SLANTED, pbc, 3.1, 5)


@pytest.mark.parametrize("pbc", PERIODIC)
@pytest.mark.parametrize("far", [1e7, 3e44])
def test_pairs_of_clusters_far_apart(pbc, far):
    """Each cluster has its own pairs, however far the other is where that is not periodic."""
    rng = np.random.default_rng(2)
    cluster = rng.uniform(0, 1.5, (4, 3))
    aside = np.zeros(3) if all(pbc) else np.eye(3)[pbc.index(False)] * far
    cell = np.diag([2.5, 3.0, 3.5])
    positions = np.concatenate([cluster, np.zeros((1, 3)) + aside])
    reach = 1.2
    assert is_sparse(positions, cell, np.array(pbc), reach) != all(pbc)
    found = rows(*pairs_on_host(positions, cell, np.array(pbc), reach))
    assert found == brute(positions, cell, pbc, reach, 2)
    counts = np.bincount([row[0] for row in found], minlength=1)
    assert most_neighbors(positions, cell, np.array(pbc), reach) == counts.max()


def test_a_flat_structure_of_many_cells_and_a_long_cell():
    """Cell lists of one layer, or one row, of very many cells divide by zero."""
    positions = np.array([[0.0, 0, 0], [0.3, 0, 0], [1e3, 1e3, 0]])
    nowhere = np.zeros(3, bool)
    assert rows(*pairs_on_host(positions, np.eye(3), nowhere, 0.5)) == [
        (0, 1, 0, 0, 0),
        (1, 0, 0, 0, 0),
    ]
    long = np.diag([3e5, 2.0, 2.0])
    positions = np.array([[0.1, 0, 0], [3e5 - 0.2, 0, 0]])
    assert rows(*pairs_on_host(positions, long, np.ones(3, bool), 0.5)) == [
        (0, 1, -1, 0, 0),
        (1, 0, 1, 0, 0),
    ]


def test_ordinary_structures_go_to_cell_lists():
    rng = np.random.default_rng(3)
    positions = rng.uniform(0, 100, (50, 3))
    for pbc in PERIODIC:
        assert not is_sparse(positions, np.eye(3) * 100, np.array(pbc), 5.0)
    many = np.zeros((200_000, 3)) + rng.uniform(0, 250, (200_000, 1))
    assert not is_sparse(many, np.eye(3) * 250, np.ones(3, bool), 6.0)

"""Selections against brute force, and their limits."""

import itertools

import numpy as np
import pytest

from ritz.exploration import d_optimal, farthest_points, select

ROWS = np.random.default_rng(0).normal(size=(14, 3)) * [1.0, 10.0, 0.1]


def by_brute_force(rows, n, chosen):
    """Distances of all pairs, one row after the other."""
    everything = np.concatenate([rows, chosen])
    rows, chosen = rows / everything.std(axis=0), chosen / everything.std(axis=0)
    selected = []
    while len(selected) < n:
        taken = [*chosen, *rows[selected]]
        nearest = [min(np.linalg.norm(row - one) for one in taken) for row in rows]
        selected.append(max(range(len(rows)), key=lambda place: nearest[place]))
    return selected


def test_farthest_points_are_those_of_brute_force():
    known = ROWS[:3] + 0.1
    assert list(farthest_points(ROWS, 6, known)) == by_brute_force(ROWS, 6, known)


def test_first_point_is_the_farthest_from_the_mean():
    scaled = ROWS / ROWS.std(axis=0)
    first, second = farthest_points(ROWS, 2)
    assert first == np.argmax(np.linalg.norm(scaled - scaled.mean(axis=0), axis=1))
    assert second == np.argmax(np.linalg.norm(scaled - scaled[first], axis=1))


def test_d_optimal_makes_the_determinant_largest_one_row_at_a_time():
    selected = d_optimal(ROWS, 5)
    scaled = ROWS / ROWS.std(axis=0)
    scaled = scaled - scaled.mean(axis=0)
    for number in range(5):
        before = scaled[selected[:number]]

        def determinant(place, before=before):
            rows = np.array([*before, scaled[place]])
            return np.linalg.slogdet(rows.T @ rows + 1e-3 * np.eye(3))[1]

        free = [place for place in range(len(ROWS)) if place not in selected[:number]]
        assert selected[number] == max(free, key=determinant)
    best = max(
        np.linalg.slogdet(scaled[[*rows]].T @ scaled[[*rows]] + 1e-3 * np.eye(3))[1]
        for rows in itertools.combinations(range(len(ROWS)), 5)
    )
    found = scaled[selected]
    assert np.linalg.slogdet(found.T @ found + 1e-3 * np.eye(3))[1] > best - np.log(3)


@pytest.mark.parametrize("method", ["farthest", "d_optimal"])
def test_same_rows_are_taken_once_and_known_ones_never(method):
    rows = np.repeat(ROWS[:4], 3, axis=0)
    selected = select(method, rows, 10)
    assert sorted(place // 3 for place in selected) == [0, 1, 2, 3]
    assert all(place % 3 == 0 for place in selected)  # ties go to the first row
    assert {place // 3 for place in select(method, rows, 10, ROWS[:2])} == {2, 3}
    assert len(select(method, rows[:0], 10)) == 0
    assert len(select(method, rows, 2)) == 2


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: select("maxvol", ROWS, 2), "method must be 'farthest' or 'd_optimal'"),
        (lambda: farthest_points(ROWS, 2, ROWS[:, :2]), r"shapes \(14, 3\) and \(14, 2\)"),
        (lambda: d_optimal(ROWS * np.nan, 2), "must be finite"),
        (lambda: d_optimal(ROWS, -1), "n must be"),
    ],
)
def test_mistakes(call, told):
    with pytest.raises(ValueError, match=told):
        call()

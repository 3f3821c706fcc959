"""Selection of few among many by their features: farthest points, and D-optimal rows."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from ritz.checks import check_choice, check_count

_SAME = 1e-9
"""Relative tolerance within which rows count as the same: far above rounding errors of features,
far below any difference between structures."""


def _scaled(
    features: Float[np.ndarray, "rows features"], chosen: Float[np.ndarray, "known features"] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and known rows, each feature divided by its standard deviation over the rows."""
    rows = np.asarray(features, float)
    known = np.zeros((0, rows.shape[-1])) if chosen is None else np.asarray(chosen, float)
    if rows.ndim != 2 or known.ndim != 2 or known.shape[1] != rows.shape[1]:
        raise ValueError(
            "features must have the shape (n_rows, n_features), and chosen as many features, but "
            f"have the shapes {np.shape(features)} and {np.shape(known)}."
        )
    if not np.all(np.isfinite(rows)) or not np.all(np.isfinite(known)):
        raise ValueError("features must be finite; leave out structures that have failed.")
    spread = np.std(np.concatenate([rows, known]), axis=0) if len(rows) else np.ones(rows.shape[1])
    scale = np.where(spread > 0, spread, 1.0)
    return rows / scale, known / scale


def _smallest(rows: np.ndarray) -> float:
    """Distance within which rows are the same."""
    return _SAME * max(1.0, float(np.abs(rows).max()))


def farthest_points(
    features: Float[np.ndarray, "rows features"],
    n: int,
    chosen: Float[np.ndarray, "known features"] | None = None,
) -> Int[np.ndarray, " selected"]:
    """Rows, each the farthest from all that are chosen already.

    Greedy: the next row is the one whose distance to its nearest chosen row is largest (Gonzalez,
    Theor. Comput. Sci. 38, 293 (1985): at most twice the best covering radius). Each feature is
    divided by its standard deviation. Ties go to the first row, so that the result depends on the
    order of the rows alone. Without `chosen` it begins with the row farthest from the mean. Rows
    that are the same as a chosen one are never taken.

    Args:
        features: Features, a row for each candidate.
        n: Largest number of rows.
        chosen: Features of what is known already, such as the structures that were trained on.

    Returns:
        Places of the rows in the order in which they were chosen; fewer than `n` if there are not
        as many different ones.

    Raises:
        ValueError: If shapes do not fit, or numbers are not finite.
    """
    check_count("n", n, 0)
    rows, known = _scaled(features, chosen)
    selected: list[int] = []
    if not len(rows) or not n:
        return np.array(selected, int)
    if len(known):
        nearest = np.min([np.linalg.norm(rows - row, axis=1) for row in known], axis=0)
        nothing_chosen = False
    else:
        nearest = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
        nothing_chosen = True
    smallest = _smallest(rows)
    while len(selected) < min(n, len(rows)):
        place = int(np.argmax(nearest))
        if nearest[place] <= smallest and not nothing_chosen:
            break
        distances = np.linalg.norm(rows - rows[place], axis=1)
        nearest = distances if nothing_chosen else np.minimum(nearest, distances)
        selected.append(place)
        nothing_chosen = False
    return np.array(selected, int)


def d_optimal(
    features: Float[np.ndarray, "rows features"],
    n: int,
    chosen: Float[np.ndarray, "known features"] | None = None,
    ridge: float = 1e-3,
) -> Int[np.ndarray, " selected"]:
    """Rows that make the determinant of the information matrix of a linear model large.

    Greedy: the next row x is the one with the largest x^T A^-1 x, where A is the sum of the outer
    products of the chosen rows plus `ridge` times the identity; it multiplies det A by one plus
    that (Fedorov, Theory of Optimal Experiments, 1972; for potentials Podryabinkin and Shapeev,
    Comput. Mater. Sci. 140, 171 (2017)). Each feature is divided by its standard deviation, and
    counts from its mean. Ties go to the first row, and rows that are the same as a chosen one are
    never taken.

    Args:
        features: Features, a row for each candidate.
        n: Largest number of rows.
        chosen: Features of what is known already.
        ridge: Information from before any row is chosen, in scaled features.

    Returns:
        Places of the rows in the order in which they were chosen; fewer than `n` if there are not
        as many different ones.

    Raises:
        ValueError: If shapes do not fit, or numbers are not finite.
    """
    check_count("n", n, 0)
    rows, known = _scaled(features, chosen)
    selected: list[int] = []
    if not len(rows) or not n:
        return np.array(selected, int)
    mean = np.concatenate([rows, known]).mean(axis=0)
    rows, known = rows - mean, known - mean
    inverse = np.linalg.inv(known.T @ known + ridge * np.eye(rows.shape[1]))
    smallest, free = _smallest(rows), np.ones(len(rows), bool)
    for row in known:
        free &= np.linalg.norm(rows - row, axis=1) > smallest
    while len(selected) < n and np.any(free):
        gains = np.einsum("ri,ij,rj->r", rows, inverse, rows)
        place = int(np.argmax(np.where(free, gains, -np.inf)))
        along = inverse @ rows[place]
        inverse -= np.outer(along, along) / (1 + rows[place] @ along)
        selected.append(place)
        free &= np.linalg.norm(rows - rows[place], axis=1) > smallest
    return np.array(selected, int)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "farthest": farthest_points,
    "d_optimal": d_optimal,
}
"""The methods by the names that `select` takes."""


def select(
    method: str,
    features: Float[np.ndarray, "rows features"],
    n: int,
    chosen: Float[np.ndarray, "known features"] | None = None,
) -> Int[np.ndarray, " selected"]:
    """Choose few rows by the method of a name, "farthest" or "d_optimal".

    Args:
        method: The name.
        features: See `farthest_points`.
        n: See `farthest_points`.
        chosen: See `farthest_points`.

    Raises:
        ValueError: If there is no such method, shapes do not fit, or numbers are not finite.
    """
    check_choice("method", method, tuple(METHODS))
    return METHODS[method](features, n, chosen)

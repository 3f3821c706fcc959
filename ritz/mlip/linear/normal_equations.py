"""Least squares of energies, forces and stress, with a penalty chosen by cross-validation."""

import dataclasses
import functools
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve

_logger = logging.getLogger(__name__)

ENERGY, FORCES, STRESS = "energy", "forces", "stress"

_RATIOS = {ENERGY: 0.03, STRESS: 0.1}
"""With which ratio of expected errors to those of forces, in Angstrom and 1/Angstrom^2, the search
begins."""

_FIRST = 1e-8
"""A usual penalty."""

_LEAST, _LARGEST = 0.99e-13, 1.01e2
"""Between which the penalty is: below, rounding is larger."""

_NONE = 1e-9
"""Share of the weights below which nothing is left."""

_BEGINS = (0, 2, -2, 4, -4, 6, 8)
"""Powers of ten by which it differs where the search may begin: it has several minima."""

Place = tuple[int, ...]
"""Steps from where the search began: of the logarithms of the penalty and of open ratios."""


@dataclasses.dataclass
class Moments:
    """Sums over rows, from which least squares follow: of A^T A, A^T y, y^2 and weights."""

    gram: Float[np.ndarray, "columns columns"]
    right: Float[np.ndarray, " columns"]
    squares: float = 0.0
    count: float = 0.0

    @classmethod
    def zero(cls, n_columns: int) -> "Moments":
        """Sums over no row."""
        return cls(np.zeros((n_columns, n_columns)), np.zeros(n_columns))

    def add(self, rows: np.ndarray, values: np.ndarray, weights: np.ndarray) -> None:
        """Add rows of shape (n_rows, n_columns), what they should give, and their weights."""
        scaled = rows * weights[:, None]
        self.gram += scaled.T @ rows
        self.right += scaled.T @ values
        self.squares += float(weights @ values**2)
        self.count += float(weights.sum())

    def without(self, part: "Moments") -> "Moments":
        """The sums over the rows that are not in a part of them."""
        return Moments(
            self.gram - part.gram,
            self.right - part.right,
            self.squares - part.squares,
            self.count - part.count,
        )

    def mean_square(self, weights: Float[np.ndarray, " columns"]) -> float:
        """The mean square of what weights of the columns leave of the values."""
        left = self.squares + float(weights @ (self.gram @ weights - 2 * self.right))
        return max(left, 1e-14 * self.squares, 1e-300) / self.count


class Choice(NamedTuple):
    """What a fit depends on besides the rows."""

    penalty: float
    """What is added to the normal equations, in units of the mean square of a column."""
    ratios: Mapping[str, float]
    """Expected errors of energies and stress over those of forces; empty if only one of the three
    is fitted."""


class Solution(NamedTuple):
    """The result of a fit."""

    weights: Float[np.ndarray, " columns"]
    choice: Choice
    left_out: Mapping[str, float]
    """Root mean squares of the errors of structures that were left out, by quantity; empty if
    nothing was chosen by them."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows of several quantities in several folds, and how they are weighed.

    Args:
        folds: Moments by quantity, fold by fold.
        free: Columns that are not penalised, but as far as rounding asks for it.
        shares: How much the logarithm of the error of each quantity counts.
    """

    folds: Sequence[Mapping[str, Moments]]
    free: np.ndarray
    shares: Mapping[str, float]

    @property
    def quantities(self) -> list[str]:
        """Names of the quantities that have rows in some fold."""
        return [name for name in self.shares if any(fold[name].count for fold in self.folds)]

    @functools.cached_property
    def total(self) -> Mapping[str, Moments]:
        """The moments of all folds together."""
        found = {}
        for name in self.quantities:
            parts = [fold[name] for fold in self.folds]
            found[name] = Moments(
                np.sum([part.gram for part in parts], axis=0),
                np.sum([part.right for part in parts], axis=0),
                sum(part.squares for part in parts),
                sum(part.count for part in parts),
            )
        return found

    def solve(self, moments: Mapping[str, Moments], choice: Choice) -> np.ndarray:
        """The weights of the columns.

        Raises:
            scipy.linalg.LinAlgError: If the penalty is too small for the columns.
        """
        unit = FORCES if FORCES in moments else next(iter(moments))
        scales = np.sqrt(np.diag(moments[unit].gram) / moments[unit].count)
        scales = np.where(scales > 1e-12 * scales.max(), scales, 1.0)
        matrix, right = 0.0, 0.0
        for name, part in moments.items():
            weight = 1 / choice.ratios.get(name, 1.0) ** 2
            matrix = matrix + weight * part.gram
            right = right + weight * part.right
        matrix, right = matrix / np.outer(scales, scales), right / scales
        diagonal = np.diag(matrix).copy()
        n_rows = moments[unit].count
        penalty = np.where(self.free, _LEAST * np.maximum(diagonal, 1e-9), choice.penalty * n_rows)
        matrix[np.diag_indices_from(matrix)] += penalty
        return cho_solve(cho_factor(matrix, lower=True, overwrite_a=True), right) / scales

    def left_out_errors(self, choice: Choice) -> dict[str, float]:
        """Errors of each fold, fitted to the others: root mean squares over all folds."""
        total = self.total
        squares = dict.fromkeys(total, 0.0)
        for fold in self.folds:
            rest = {
                name: whole.without(fold[name])
                for name, whole in total.items()
                if whole.count - fold[name].count > _NONE * whole.count
            }
            weights = self.solve(rest, choice)
            for name in squares:
                if fold[name].count:
                    squares[name] += fold[name].mean_square(weights) * fold[name].count
        return {name: math.sqrt(squares[name] / total[name].count) for name in squares}

    def fit(self, penalty: float | None, ratios: Mapping[str, float | None]) -> Solution:
        """The weights, with what is None chosen by the errors of folds that were left out.

        Args:
            penalty: See `Choice`.
            ratios: See `Choice`; of what is not fitted they are left out.

        Raises:
            ValueError: If columns depend on each other, and the penalty that is given is too small.
        """
        quantities = self.quantities
        unit = FORCES if FORCES in quantities else quantities[0]
        asked = {name: ratios.get(name) for name in quantities if name != unit}
        begin = Choice(
            _FIRST if penalty is None else penalty,
            {name: _RATIOS[name] if value is None else value for name, value in asked.items()},
        )
        unknown = [name for name, value in asked.items() if value is None]
        left_out: Mapping[str, float] = {}
        choice = begin
        if penalty is None or unknown:
            choice, left_out = self._search(begin, penalty is None, unknown)
        try:
            return Solution(self.solve(self.total, choice), choice, left_out)
        except LinAlgError as error:
            raise ValueError(
                f"regularisation={choice.penalty:g} is too small for these features, some of which "
                "depend on others; give a larger one, such as 1e-8, or None."
            ) from error

    def _search(
        self, begin: Choice, any_penalty: bool, unknown: Sequence[str]
    ) -> tuple[Choice, Mapping[str, float]]:
        """The best choice that steps along the logarithms of one number after another find."""
        known: dict[Place, tuple[float, Mapping[str, float]]] = {}

        def choice_at(place: Place) -> Choice:
            penalty = begin.penalty * 10.0 ** place[0]
            factors = {name: 10.0 ** (n / 2) for name, n in zip(unknown, place[1:], strict=True)}
            ratios = {name: r * factors.get(name, 1.0) for name, r in begin.ratios.items()}
            return Choice(penalty, ratios)

        def score_at(place: Place) -> float:
            if place not in known:
                known[place] = self._scored(choice_at(place), any_penalty)
            return known[place][0]

        rest = (0,) * len(unknown)
        first = [(n, *rest) for n in (_BEGINS if any_penalty else (0,))]
        place = min(first, key=score_at)
        axes = range(0 if any_penalty else 1, len(place))
        best = None
        while place != best:
            best = place
            for axis, direction in itertools.product(axes, (1, -1)):
                while score_at(_moved(place, axis, direction)) < score_at(place):
                    place = _moved(place, axis, direction)
        return choice_at(place), known[place][1]

    def _scored(self, choice: Choice, any_penalty: bool) -> tuple[float, Mapping[str, float]]:
        """What is minimised, and the errors that it is of; infinite where nothing can be solved."""
        if any_penalty and not _LEAST <= choice.penalty <= _LARGEST:
            return math.inf, {}
        try:
            errors = self.left_out_errors(choice)
        except LinAlgError:
            return math.inf, {}
        _logger.debug("%s leaves out %s", choice, errors)
        return self._score(errors), errors

    def _score(self, errors: Mapping[str, float]) -> float:
        return sum(self.shares[name] * math.log(value) for name, value in errors.items())


def _moved(place: Place, axis: int, by: int) -> Place:
    return (*place[:axis], place[axis] + by, *place[axis + 1 :])

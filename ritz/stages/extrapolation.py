"""Extrapolation of energies to zero variance, where a wave function is an eigenstate."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import chdtrc

from ritz.html import never_fails, table, titled
from ritz.stages.digest import Estimate

UNLIKELY = 0.01
"""Probability of chi^2 below which points do not lie on a line."""
_STEPS, _TOLERANCE = 200, 1e-12


class EnergyPoint(NamedTuple):
    """Energy and variance of one wave function, with one standard error each.

    Errors of zero, as of full sums, are allowed if all errors of the energy, or of the variance, of
    all points are zero.
    """

    energy: float
    error: float
    variance: float
    """<H^2> - <H>^2, or any fixed multiple of it, such as the variance per site squared."""
    variance_error: float


class Extrapolation(NamedTuple):
    """The line E = energy + slope * variance through several wave functions."""

    energy: float
    """The energy at zero variance. It is not bounded from below by the exact one."""
    error: float
    """One standard error, times sqrt(chi2 / (n_points - 2)) where that is above 1."""
    slope: float
    chi2: float
    """Sum of squared distances from the line in standard errors; NaN if points have no errors."""
    n_points: int
    doubts: tuple[str, ...] = ()
    """Why energy and error are not to be trusted, in words."""

    @never_fails
    def _repr_html_(self) -> str:
        return titled(type(self).__name__, table(self._asdict().items()))

    def __str__(self) -> str:
        free = self.n_points - 2
        fit = f", chi^2 {self.chi2:.3g} for {free}" if free and math.isfinite(self.chi2) else ""
        return f"{self.energy:.9g} +- {self.error:.2g} ({self.n_points} points{fit})"


def extrapolate(points: Sequence[EnergyPoint | Estimate]) -> Extrapolation:
    """The energy at zero variance, by a straight line through energies and variances.

    Near an eigenstate energy and variance are proportional (Kwon, Ceperley, Martin, Phys. Rev. B
    48, 12037, 1993). The line has errors in both coordinates (York et al., Am. J. Phys. 72, 367,
    2004); those of one wave function are taken as independent of one another. Points without any
    errors have the scatter about the line as their error.

    Args:
        points: Wave functions of one state: those of different networks or stages of a run, with
            symmetries or without. Estimates of an energy from `read_digest` are points.

    Raises:
        TypeError: If they are something else.
        ValueError: If there are fewer than two, of different variances, or if a number is not
            finite, negative, or known for some of them only.
    """
    given = [_point(one) for one in points]
    x, y, x_error, y_error = _checked(given)
    exact = not (np.any(x_error) or np.any(y_error))
    if not (exact or np.any(y_error) or np.ptp(y)):
        raise ValueError("all energies are the same and have no errors, so that there is no line.")
    if exact:
        x_error, y_error = np.zeros_like(x), np.ones_like(y)
    slope, step = float(np.polyfit(x, y, 1)[0]), math.inf
    for _ in range(_STEPS):
        if abs(step) <= _TOLERANCE * abs(slope):
            break
        new = _better_slope(slope, x, y, x_error, y_error)
        slope, step = new, new - slope
    weights = 1 / (y_error**2 + slope**2 * x_error**2)
    centre_x, centre_y = np.average(x, weights=weights), np.average(y, weights=weights)
    energy = float(centre_y - slope * centre_x)
    on_line = centre_x + _along(slope, x - centre_x, y - centre_y, x_error, y_error)
    mean = np.average(on_line, weights=weights)
    of_slope = 1 / np.sum(weights * (on_line - mean) ** 2)
    error = math.sqrt(1 / np.sum(weights) + mean**2 * of_slope)
    chi2, free = float(np.sum(weights * (y - energy - slope * x) ** 2)), len(x) - 2
    if exact:
        error, chi2 = (error * math.sqrt(chi2 / free) if free else math.nan), math.nan
    elif free:
        error *= max(1.0, math.sqrt(chi2 / free))
    return Extrapolation(
        energy, error, slope, chi2, len(x), tuple(_doubts(points, slope, chi2, free))
    )


def _along(slope: float, u: Any, v: Any, x_error: Any, y_error: Any) -> Any:
    """Distances along x of the points of a line nearest to given ones, from the centre."""
    weights = 1 / (y_error**2 + slope**2 * x_error**2)
    return weights * (u * y_error**2 + slope * v * x_error**2)


def _better_slope(slope: float, x: Any, y: Any, x_error: Any, y_error: Any) -> float:
    """One step of York's iteration."""
    weights = 1 / (y_error**2 + slope**2 * x_error**2)
    u, v = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    beta = weights * _along(slope, u, v, x_error, y_error)
    return float(np.sum(beta * v) / np.sum(beta * u))


def _doubts(points: Sequence[EnergyPoint | Estimate], slope: float, chi2: float, free: int) -> list:
    found = []
    if not free:
        found.append("two points always lie on a line: give a third wave function to test it")
    elif chdtrc(free, chi2) < UNLIKELY:
        found.append(
            f"the points do not lie on a line (chi^2 is {chi2:.3g} for {free} degrees of freedom), "
            "so the error was widened to their scatter: leave out those with the largest variance"
        )
    if slope <= 0:
        found.append(
            "the energy does not fall with the variance: these are not wave functions of one "
            "state, or they are not converged"
        )
    marks = {one.suspect for one in points if isinstance(one, Estimate) and one.suspect}
    if marks:
        found.append(f"evaluations are suspect themselves: {', '.join(sorted(marks))}")
    return found


def _point(one: object) -> EnergyPoint:
    if isinstance(one, EnergyPoint):
        return one
    if not isinstance(one, Estimate):
        raise TypeError(
            "points must be EnergyPoint(energy, error, variance, variance_error) or estimates from "
            f"ritz.stages.read_digest, but {one!r} was given."
        )
    if math.isnan(one.variance_error):
        raise ValueError(
            "an evaluation has no error bar of its variance: it was of one step only, or of an "
            "older version of Ritz; evaluate anew."
        )
    return EnergyPoint(one.mean, one.error, one.variance, one.variance_error)


def _checked(points: Sequence[EnergyPoint]) -> tuple[Float[np.ndarray, " n"], ...]:
    """Variances, energies, and the errors of both."""
    numbers = np.array(points, float).reshape(-1, 4)
    y, y_error, x, x_error = numbers.T
    needed = "a line needs at least two wave functions of different variances, better three, but "
    if len(numbers) < 2:
        raise ValueError(needed + ("one was given." if len(numbers) else "none was given."))
    if np.ptp(x) == 0:
        raise ValueError(
            f"{needed}all {len(numbers)} have the variance {x[0]:g}; add wave functions of "
            "another quality, such as earlier or smaller ones."
        )
    if not np.all(np.isfinite(numbers)) or np.any(numbers[:, 1:] < 0):
        wrong = next(one for one in points if not np.all(np.isfinite(one)) or min(one[1:]) < 0)
        raise ValueError(
            f"energies, variances and errors must be finite, and the last two not negative: {wrong}"
        )
    for name, errors in (("energy", y_error), ("variance", x_error)):
        if np.any(errors == 0) and np.any(errors):
            raise ValueError(
                f"the error of the {name} is zero for some points only; give all of them errors, "
                "or none."
            )
    return x, y, x_error, y_error

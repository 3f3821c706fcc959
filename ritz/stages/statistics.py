"""Error bars of correlated series."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_WINDOW = 5.0
"""The window over which correlations are summed, in autocorrelation times (Sokal 1996)."""
_FEWEST_BLOCKS = 4
_ROUNDING = 1e-12
"""Changes below this fraction of the values are rounding errors."""


class SeriesStatistics(NamedTuple):
    """A mean with its error, from a correlated series."""

    mean: float
    error: float
    """One standard error of the mean; NaN for less than two values."""
    autocorrelation_time: float
    """1 + 2 sum_t rho(t), in entries of the series; there are n / tau independent values."""
    reliable: bool
    """Whether the series is long enough for its correlations: if not, the error is too small."""


def series_statistics(series: Float[np.ndarray, " n"]) -> SeriesStatistics:
    """Mean, error and autocorrelation time of a series in equilibrium.

    Args:
        series: Values of consecutive steps.
    """
    values = np.asarray(series, float)
    if len(values) < 2:
        mean = float(values[0]) if len(values) else math.nan
        return SeriesStatistics(mean, math.nan, math.nan, False)
    error, reliable = blocking_error(values)
    return SeriesStatistics(float(np.mean(values)), error, autocorrelation_time(values), reliable)


def blocking_error(series: Float[np.ndarray, " n"]) -> tuple[float, bool]:
    """The error of the mean by blocking (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989).

    Neighbours are averaged again and again. Of the block lengths B, the smallest is taken with
    B^3 > 2 n (error(B) / error(1))^4, where bias and noise of the error are in balance (Wolff,
    Comput. Phys. Commun. 156, 143, 2004; Lee et al., Phys. Rev. E 83, 066706, 2011).

    Returns:
        The error, and whether there was such a length. If not, the largest error is returned.
    """
    values = np.asarray(series, float)
    n = len(values)
    errors: list[float] = []
    while len(values) >= 2:
        errors.append(float(np.std(values, ddof=1)) / math.sqrt(len(values)))
        length = 2 ** (len(errors) - 1)
        exact = errors[0] <= _ROUNDING * np.max(np.abs(series))
        if exact or not math.isfinite(errors[0]):
            return errors[0], True
        balanced = length**3 > 2 * n * (errors[-1] / errors[0]) ** 4
        if balanced and len(values) >= _FEWEST_BLOCKS:
            return errors[-1], True
        even = len(values) // 2 * 2
        values = (values[0:even:2] + values[1:even:2]) / 2
    return max(errors), False


def autocorrelation_time(series: Float[np.ndarray, " n"]) -> float:
    """The integrated autocorrelation time 1 + 2 sum_t rho(t), in entries of the series.

    A series with one mean a step gives it in steps of the driver. The sum ends at the first t that
    is at least 5 times its value (Sokal, Functional Integration, 131, 1997). Independent values
    have 1.
    """
    deviations = np.asarray(series, float) - np.mean(series)
    n = len(deviations)
    spectrum = np.fft.rfft(deviations, 2 * n)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n]
    if not correlation[0] > 0:
        return math.nan if math.isnan(float(correlation[0])) else 1.0
    times = 2 * np.cumsum(correlation / correlation[0]) - 1
    beyond = np.arange(n) >= _WINDOW * times
    # Anticorrelated values may bring the sum below zero, which no time is.
    return max(float(times[np.argmax(beyond) if np.any(beyond) else n - 1]), 1 / n)


def drift(series: Float[np.ndarray, " n"]) -> float:
    """Difference of the means of the second and the first half, in standard errors.

    Both errors are those of `blocking_error`. Above 4 or so the series was not in equilibrium (the
    test of Geweke, 1992, with halves); NaN for series that are too short for an error.
    """
    values = np.asarray(series, float)
    half = len(values) // 2
    if half < 2:
        return math.nan
    errors, are_long = zip(*map(blocking_error, (values[:half], values[half:])), strict=True)
    if not all(are_long):
        return math.nan
    change, error = float(np.mean(values[half:]) - np.mean(values[:half])), math.hypot(*errors)
    if abs(change) <= _ROUNDING * float(np.max(np.abs(values))):
        return 0.0
    return change / error if error > 0 else math.inf


def r_hat(
    count: int, means: Float[np.ndarray, " n_chains"], m2: Float[np.ndarray, " n_chains"]
) -> float:
    """Disagreement of chains: the potential scale reduction (Gelman and Rubin 1992, eq. 20).

    Near 1 the chains agree; above 1.01 they have not mixed.

    Args:
        count: Number of values in each chain.
        means: The mean of each chain.
        m2: The sum of the squared deviations from it.

    Returns:
        R-hat, or NaN for a single chain or a single value in each.
    """
    if len(means) < 2 or count < 2:
        return math.nan
    within = float(np.mean(m2)) / (count - 1)
    between = float(np.var(means, ddof=1))
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((count - 1) / count + between / within)

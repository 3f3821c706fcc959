"""Energies at zero variance: coverage of the error bar, and what is doubtful."""

import math

import numpy as np
import pytest

from ritz.stages import EnergyPoint, Estimate, Extrapolation, extrapolate

VARIANCES = np.array([0.2, 0.5, 0.9, 1.4])
ERRORS, VARIANCE_ERRORS = np.array([0.02, 0.03, 0.03, 0.05]), np.array([0.02, 0.04, 0.06, 0.1])


def synthetic(rng, curvature=0.0, n=4):
    energies = -10 + 0.7 * VARIANCES + curvature * VARIANCES**2 + rng.normal(size=4) * ERRORS
    variances = VARIANCES + rng.normal(size=4) * VARIANCE_ERRORS
    columns = np.stack([energies, ERRORS, variances, VARIANCE_ERRORS], axis=1)
    return [EnergyPoint(*row) for row in columns[:n].tolist()]


def test_the_error_bar_covers_the_true_energy():
    """Errors in both coordinates: the intercept within one and two standard errors."""
    rng = np.random.default_rng(0)
    found = [extrapolate(synthetic(rng)) for _ in range(1200)]
    plain = np.array([one.error / max(1, math.sqrt(one.chi2 / 2)) for one in found])
    z = (np.array([one.energy for one in found]) + 10) / plain
    assert abs(np.mean(z)) < 0.15 and np.std(z) == pytest.approx(1, abs=0.06)
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.683, abs=0.04)
    assert np.mean(np.abs(z) < 2) == pytest.approx(0.954, abs=0.02)
    assert np.mean([one.chi2 for one in found]) == pytest.approx(2, abs=0.15)
    assert np.mean([one.slope for one in found]) == pytest.approx(0.7, abs=0.02)
    assert np.mean([len(one.doubts) > 0 for one in found]) < 0.03


def test_errors_of_the_variance_matter():
    """A line that ignores them gives too small an error bar."""
    rng = np.random.default_rng(1)
    both, one = [], []
    for _ in range(400):
        points = synthetic(rng)
        both.append(extrapolate(points))
        one.append(extrapolate([point._replace(variance_error=0.0) for point in points]))
    assert np.std([x.energy for x in both]) > 1.15 * np.mean(
        [x.error / max(1, math.sqrt(x.chi2 / 2)) for x in one]
    )


def test_points_off_a_line_widen_the_error_and_are_told():
    found = extrapolate(synthetic(np.random.default_rng(2), curvature=-0.5))
    straight = extrapolate(synthetic(np.random.default_rng(2)))
    assert found.chi2 > 10 and found.error > 2 * straight.error
    assert "the points do not lie on a line" in found.doubts[0] and not straight.doubts
    assert str(straight).endswith(f"(4 points, chi^2 {straight.chi2:.3g} for 2)")


def test_two_points_are_a_line_that_nothing_tests():
    found = extrapolate(synthetic(np.random.default_rng(3), n=2))
    assert "give a third wave function" in found.doubts[0] and found.error > 0


def test_points_without_errors_have_their_scatter():
    exact = [EnergyPoint(-10 + 0.7 * v, 0, v, 0) for v in VARIANCES]
    found = extrapolate(exact)
    assert found.energy == pytest.approx(-10, abs=1e-12) and found.error < 1e-12
    shifted = [
        one._replace(energy=one.energy + s)
        for one, s in zip(exact, (0.1, -0.1, -0.1, 0.1), strict=True)
    ]
    found = extrapolate(shifted)
    line, covariance = np.polyfit(VARIANCES, [one.energy for one in shifted], 1, cov=True)
    assert found.energy == pytest.approx(line[1]) and math.isnan(found.chi2)
    assert found.error == pytest.approx(math.sqrt(covariance[1, 1]))
    assert math.isnan(extrapolate(shifted[:2]).error)


def test_scaling_variances_changes_nothing():
    points = synthetic(np.random.default_rng(4))
    scaled = [
        p._replace(variance=p.variance / 36, variance_error=p.variance_error / 36) for p in points
    ]
    one, other = extrapolate(points), extrapolate(scaled)
    assert other.energy == pytest.approx(one.energy) and other.error == pytest.approx(one.error)


def estimate(energy, variance, suspect="", error=0.02):
    return Estimate(energy, 0.01, variance, 1.0, 1.0, 100, 1000, True, suspect, 0.0, error)


def test_estimates_are_points():
    points = [estimate(-9.9, 0.1), estimate(-9.8, 0.2), estimate(-9.7, 0.3, "r_hat")]
    found = extrapolate(points)
    assert isinstance(found, Extrapolation) and found.energy == pytest.approx(-10)
    assert found.doubts == ("evaluations are suspect themselves: r_hat",)
    rising = extrapolate([estimate(-10.1, 0.1), estimate(-10.2, 0.2), estimate(-10.3, 0.3)])
    assert "the energy does not fall with the variance" in rising.doubts[0]


GOOD = EnergyPoint(-1.0, 0.1, 0.2, 0.01)


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        ([GOOD], ValueError, "of different variances, better three, but one was given"),
        ([GOOD, GOOD], ValueError, "different variances, .* but all 2 have the variance 0.2; add"),
        ([GOOD, GOOD._replace(variance=-1)], ValueError, "must be finite, and the last two not"),
        ([GOOD, EnergyPoint(math.nan, 0.1, 1, 0.1)], ValueError, r"must be finite.*energy=nan"),
        ([GOOD, EnergyPoint(-1, 0, 1, 0.1)], ValueError, "error of the energy is zero for some"),
        ([EnergyPoint(-1, 0, v, 0.1) for v in (1, 2)], ValueError, "energies are the same"),
        ([GOOD, (1, 2)], TypeError, r"points must be EnergyPoint\(energy, error"),
        ([GOOD, estimate(-1, 1, error=math.nan)], ValueError, "has no error bar of its variance"),
    ],
)
def test_what_gives_no_line(points, error, message):
    with pytest.raises(error, match=message):
        extrapolate(points)

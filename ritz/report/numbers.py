"""Numbers of a run as text for its report."""

import math
from collections.abc import Mapping
from typing import Any

from ritz.report.facts import RunFacts
from ritz.stages.digest import Estimate

_NOT_SHOWN = ("result_of", "finite", "error", "suspect", "stop_reason", "message", "exact")
_UNITS = {"energy": "eV/atom", "force": "eV/Å"}
"""Units of errors of potentials, whose names end with these words."""


def headline(facts: RunFacts) -> str:
    """The result of a run in a few words; empty if there is none yet."""
    result = facts.result
    for name in ("energy", "RMSE_energy", "final_RMSE_test", "converged"):
        if name in result:
            value = _value(name, result, facts)
            return f"{_label(name)} {value}"
    return ""


def result_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """Name and value of every number of a result, with units and errors."""
    rows = [
        (_label(name), _value(name, facts.result, facts))
        for name, value in facts.result.items()
        if name not in _NOT_SHOWN and value is not None and not isinstance(value, list)
    ]
    if facts.exact is not None:
        rows.insert(1, (facts.view.reference, f"{facts.exact:.9g}"))
    return rows


def digest_rows(digest: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """Name, mean with error, variance, autocorrelation time, R-hat, samples and doubts."""
    return [
        (
            name,
            with_error(one.mean, one.error),
            f"{one.variance:.3g}",
            f"{one.autocorrelation_time:.2g}",
            "" if math.isnan(one.r_hat) else f"{one.r_hat:.4f}",
            f"{one.n_samples:,}" if one.n_samples else "",
            one.suspect or one.too_short,
        )
        for name, one in digest.items()
    ]


def with_error(value: float, error: object) -> str:
    """A value and its error, with as many digits as the error lets count."""
    if not isinstance(error, int | float) or not math.isfinite(error) or error <= 0:
        return f"{value:.9g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _label(name: str) -> str:
    return name.removeprefix("final_").replace("_", " ")


def _value(name: str, result: Mapping[str, Any], facts: RunFacts) -> str:
    value = result[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    mark = result.get("suspect")
    if name == "energy":
        unit = next((q.unit for q in facts.view.numbers if q.name.lower() == "energy"), "")
        text = f"{value:.9g}" if mark else with_error(value, result.get("error"))
        return f"{text} {unit}".rstrip() + (f" (suspect: {mark})" if mark else "")
    if name == "converged" and "structures" in result:
        return f"{value} of {result['structures']}"
    if name == "seconds":
        return f"{value:.3g} s"
    if "RMSE" in name or "MAE" in name:
        return f"{value:.4g} {_UNITS['force' if 'force' in name else 'energy']}"
    return f"{value:.6g}"

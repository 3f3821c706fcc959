"""Numbers of a run as text for its report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ritz.report.facts import RunFacts
from ritz.stages.digest import Estimate

_NOT_SHOWN = ("result_of", "finite", "error", "suspect", "stop_reason", "message", "exact")
_FIRST = ("energy", "RMSE_energy", "RMSE_force", "RMSE_test", "RMSE_force_test", "converged")
"""Results that are told first, where a run has them."""
_LAST = ("steps", "seconds")
_HEADLINE = 2
"""Number of results in a headline."""
_LABELS = {"r_hat": "R-hat", "converged": "converged structures"}
_PER_ATOM = 1e3, "meV/atom"
_FORCE = 1.0, "eV/Å"


def headline(facts: RunFacts) -> str:
    """The result of a run in a few words; empty if there is none yet."""
    names = [name for name in _FIRST if _is_there(facts.result.get(name))][:_HEADLINE]
    return ", ".join(f"{_label(name)} {_value(name, facts.result, facts)}" for name in names)


def result_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """Name and value of every number of a result, with units and errors."""
    there = [name for name, value in facts.result.items() if _is_there(value)]
    middle = [name for name in there if name not in (*_FIRST, *_LAST, *_NOT_SHOWN)]
    first, last = ([name for name in names if name in there] for names in (_FIRST, _LAST))
    rows = [(_label(name), _value(name, facts.result, facts)) for name in [*first, *middle, *last]]
    if facts.exact is not None:
        rows.insert(len(first), (facts.view.reference, f"{facts.exact:.9g}"))
    return rows


def _is_there(value: object) -> bool:
    return value is not None and not isinstance(value, list | dict)


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


def timing_rows(timing: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Callback, hook, calls, seconds and share of the run."""
    return [
        (
            row["callback"],
            row["hook"],
            row["calls"] if row["hook"] else "",
            f"{float(row['seconds']):.3g}",
            f"{float(row['share']):.2%}",
        )
        for row in timing
    ]


def with_error(value: float, error: object) -> str:
    """A value and its error, with as many digits as the error lets count."""
    if not isinstance(error, int | float) or not math.isfinite(error) or error <= 0:
        return f"{value:.9g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _label(name: str) -> str:
    return _LABELS.get(name) or name.removeprefix("final_").replace("_", " ")


def _value(name: str, result: Mapping[str, Any], facts: RunFacts) -> str:
    value = result[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if name == "energy":
        return _energy(value, result, facts)
    if name == "converged" and "structures" in result:
        return f"{value} of {result['structures']}"
    if name == "seconds":
        return f"{value:.3g} s"
    if "RMSE" in name or "MAE" in name:
        scale, unit = _FORCE if "force" in name else _PER_ATOM
        return f"{scale * value:.4g} {unit}"
    return f"{value:.6g}"


def _energy(value: float, result: Mapping[str, Any], facts: RunFacts) -> str:
    mark = result.get("suspect")
    unit = next((q.unit for q in facts.view.numbers if q.name.lower() == "energy"), "")
    text = f"{value:.9g}" if mark else with_error(value, result.get("error"))
    return f"{text} {unit}".rstrip() + (f" (suspect: {mark})" if mark else "")

"""Numbers of a run as text for its report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ritz.folders.view import RunView
from ritz.report.facts import RunFacts
from ritz.stages.digest import Estimate
from ritz.sweeps.results import ENERGY

_NOT_SHOWN = ("result_of", "finite", "error", "suspect", "stop_reason", "message", "exact")
_FIRST = ("energy", "RMSE_energy", "RMSE_force", "RMSE_test", "RMSE_force_test", "converged")
"""Results that are told first, where a run has them."""
_LAST = ("steps", "seconds")
_HEADLINE = 2
"""Number of results in a headline."""
_LABELS = {"r_hat": "R-hat", "converged": "converged structures"}
_PER_ATOM = 1e3, "meV/atom"
_FORCE = 1.0, "eV/Å"
_V_SCORE = "V-score, mean of the last tenth"
_MOST_DIGITS = 12
"""Digits behind the point that a value with an error has at most."""


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
    more = []
    if facts.exact is not None:
        more.append((facts.view.reference, f"{facts.exact:.9g}"))
    if facts.v_score is not None:
        more.append((_V_SCORE, f"{facts.v_score:.3g}"))
    return rows[: len(first)] + more + rows[len(first) :]


def _is_there(value: object) -> bool:
    return value is not None and not isinstance(value, list | dict)


def digest_rows(digest: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """Name, mean with error, variance, autocorrelation time, R-hat, samples and doubts."""
    return [
        (
            name,
            with_error(estimate.mean, estimate.error),
            f"{estimate.variance:.3g}",
            f"{estimate.autocorrelation_time:.2g}",
            "" if math.isnan(estimate.r_hat) else f"{estimate.r_hat:.4f}",
            f"{estimate.n_samples:,}" if estimate.n_samples else "",
            estimate.suspect or estimate.too_short,
        )
        for name, estimate in digest.items()
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
    """A value and its error, with as many digits as the error lets count.

    An error below the precision of a number stands for itself.
    """
    if not isinstance(error, int | float) or not math.isfinite(error) or error <= 0:
        return f"{value:.9g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > _MOST_DIGITS:
        return f"{value:.9g} ± {error:.1g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def unit_of(name: str, view: RunView) -> tuple[float, str]:
    """Factor from a result in the summary to the unit that it is shown in, and this unit."""
    if name == ENERGY:
        return 1.0, next((q.unit for q in view.numbers if q.name.lower() == ENERGY), "")
    if "RMSE" in name or "MAE" in name:
        return _FORCE if "force" in name else _PER_ATOM
    return 1.0, ""


def number_text(
    name: str, value: float, view: RunView, error: object = None, suspect: object = None
) -> str:
    """A result with its unit, and its error unless it is suspect.

    Args:
        name: Its name in the summary.
        value: The number in the summary.
        view: How the run is shown.
        error: One standard error, if that is known.
        suspect: Why the result is suspect; text, or anything else if it is not.
    """
    scale, unit = unit_of(name, view)
    is_suspect = isinstance(suspect, str) and bool(suspect)
    if name == ENERGY:
        text = f"{value:.9g}" if is_suspect else with_error(value, error)
    else:
        text = f"{scale * value:.4g}" if unit else f"{value:.6g}"
    return f"{text} {unit}".rstrip() + (f" (suspect: {suspect})" if is_suspect else "")


def _label(name: str) -> str:
    return _LABELS.get(name) or name.removeprefix("final_").replace("_", " ")


def _value(name: str, result: Mapping[str, Any], facts: RunFacts) -> str:
    value = result[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if name == ENERGY:
        error, suspect = result.get("error"), result.get("suspect")
        return number_text(name, value, facts.view, error, suspect)
    if name == "converged" and "structures" in result:
        return f"{value} of {result['structures']}"
    if name == "seconds":
        return f"{value:.3g} s"
    return number_text(name, value, facts.view)

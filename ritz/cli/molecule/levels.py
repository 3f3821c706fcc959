"""The result of an evaluation of several states, for the summary and in lines of text."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ritz.cli.molecule.build import SPIN
from ritz.cli.result_text import value_text
from ritz.molecule.multistate.levels import energy_levels
from ritz.stages.digest import Estimate
from ritz.types import Settings


class StatesSummary(NamedTuple):
    """What is told of several states."""

    variance: float
    """The largest one of the energies, in hartree^2."""
    entries: Settings
    """`states`, from the lowest to the highest; `squared_overlaps`; whether all is reliable, and
    why it is not."""


def summary_of(digest: Mapping[str, Estimate]) -> StatesSummary:
    """The summary of an evaluation.

    Args:
        digest: Its estimates by name.
    """
    levels = energy_levels(digest)
    energies = {one.state: digest[f"energy_{one.state}"] for one in levels}
    states = []
    for one in levels:
        spin = digest[f"{SPIN}_{one.state}"]
        states.append(
            {
                "state": one.state,
                "energy": one.energy,
                "error": one.error,
                "suspect": energies[one.state].suspect,
                "excitation_ev": one.excitation_ev,
                "excitation_error_ev": one.excitation_error_ev,
                "variance": energies[one.state].variance,
                "spin_squared": spin.mean,
                "spin_squared_error": spin.error,
                "spin_suspect": spin.suspect,
            }
        )
    overlaps = {
        name.removeprefix("overlap_"): estimate
        for name, estimate in digest.items()
        if name.startswith("overlap_")
    }
    marks = _marks(e.suspect for e in energies.values())
    entries: Settings = {
        "states": states,
        "squared_overlaps": {pair: estimate.mean for pair, estimate in overlaps.items()},
        "squared_overlap_errors": {pair: estimate.error for pair, estimate in overlaps.items()},
        "reliable": not marks and all(e.reliable for e in energies.values()),
    }
    if marks:
        entries["suspect"] = marks
    short = {state: one.too_short for state, one in energies.items() if one.too_short}
    if short:
        entries["too_short"] = "; ".join(f"state {state}: {why}" for state, why in short.items())
    return StatesSummary(max(e.variance for e in energies.values()), entries)


def _marks(suspects: Iterable[str]) -> str:
    """All doubts of several estimates, each once."""
    return ", ".join(sorted({mark for text in suspects for mark in text.split(", ") if mark}))


def _with_unit(value: str, error: float, unit: str, suspect: str) -> str:
    """A value and its error with a unit, or with what is wrong with it."""
    if suspect:
        return value_text(f"{value} {unit}", error, suspect)
    return f"{value_text(value, error)} {unit}"


def state_lines(result: Settings) -> list[str]:
    """A line for each state, and one for each overlap.

    Args:
        result: With the entries of `summary_of`.
    """
    lines = []
    lowest = result["states"][0]
    for one in result["states"]:
        parts = [_with_unit(f"{one['energy']:.8g}", one["error"], "hartree", one["suspect"])]
        if one is not lowest:
            doubts = _marks([one["suspect"], lowest["suspect"]])
            above = f"{one['excitation_ev']:.5g}"
            parts.append(_with_unit(above, one["excitation_error_ev"], "eV above", doubts))
        spin = f"S^2 {one['spin_squared']:.4f}"
        parts.append(value_text(spin, one["spin_squared_error"] or None, one["spin_suspect"]))
        lines.append(f"state {one['state']:<7} {', '.join(parts)}")
    for pair, squared in result["squared_overlaps"].items():
        first, second = pair.split("_")
        told = value_text(f"{squared:.2g}", result["squared_overlap_errors"][pair])
        lines.append(f"overlap {first}, {second:<3} {told} (squared)")
    return lines

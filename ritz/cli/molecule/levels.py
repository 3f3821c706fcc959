"""The result of an evaluation of several states, for the summary and in lines of text."""

from collections.abc import Mapping
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
    """`states`, from the lowest to the highest; `squared_overlaps`; whether all is reliable."""


def summary_of(digest: Mapping[str, Estimate]) -> StatesSummary:
    """The summary of an evaluation.

    Args:
        digest: Its estimates by name.
    """
    levels = energy_levels(digest)
    energies = {one.state: digest[f"energy_{one.state}"] for one in levels}
    states = [
        {
            "state": one.state,
            "energy": one.energy,
            "error": one.error,
            "excitation_ev": one.excitation_ev,
            "excitation_error_ev": one.excitation_error_ev,
            "variance": energies[one.state].variance,
            "spin_squared": digest[f"{SPIN}_{one.state}"].mean,
        }
        for one in levels
    ]
    overlaps = {
        name.removeprefix("overlap_"): estimate.mean
        for name, estimate in digest.items()
        if name.startswith("overlap_")
    }
    marks = {mark for e in energies.values() for mark in e.suspect.split(", ") if mark}
    found: Settings = {
        "states": states,
        "squared_overlaps": overlaps,
        "reliable": not marks and all(e.reliable for e in energies.values()),
    }
    if marks:
        found["suspect"] = ", ".join(sorted(marks))
    return StatesSummary(max(e.variance for e in energies.values()), found)


def state_lines(result: Settings) -> list[str]:
    """A line for each state, and one for each overlap.

    Args:
        result: With the entries of `summary_of`.
    """
    lines = []
    for one in result["states"]:
        energy = f"{one['energy']:.8g}"
        text = f"{value_text(energy, one['error'])} hartree"
        if one["excitation_ev"]:
            above = value_text(f"{one['excitation_ev']:.5g}", one["excitation_error_ev"])
            text += f", {above} eV above"
        lines.append(f"state {one['state']:<7} {text}, S^2 {one['spin_squared']:.4f}")
    for pair, squared in result["squared_overlaps"].items():
        first, second = pair.split("_")
        lines.append(f"overlap {first}, {second:<3} {squared:.2g} (squared)")
    return lines

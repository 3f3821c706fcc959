"""Extrapolate the energies of several evaluations to zero variance."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ritz.cli.result_text import value_text
from ritz.stages.digest import Estimate, read_digest
from ritz.stages.extrapolation import extrapolate
from ritz.stages.sampling import STANDARD_LOSS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz extrapolate` takes."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder with the digest of an evaluation"
    )
    parser.add_argument(
        "--energy", default="", help="name of the energy in the digests; found by itself"
    )


def run(options: argparse.Namespace) -> int:
    """Print energy and variance of each run, and the energy at zero variance.

    Raises:
        ValueError: If a folder has no digest, or the points give no line.
    """
    points, lines = [], []
    for folder in options.runs:
        name, estimate = _energy(folder, read_digest(Path(folder)), options.energy)
        points.append(estimate)
        shown = value_text(f"{estimate.mean:.9g}", estimate.error, estimate.suspect)
        lines.append(f"{folder}: {name} {shown}, variance {estimate.variance:.4g}")
    found = extrapolate(points)
    lines.append(f"at zero variance: {found}")
    lines += [f"doubtful: {doubt}" for doubt in found.doubts]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _energy(folder: str, digest: Mapping[str, Estimate], name: str) -> tuple[str, Estimate]:
    names = [name] if name else list(STANDARD_LOSS)
    for known in names:
        if known in digest:
            return known, digest[known]
    raise ValueError(
        f"{folder}: the digest has no {' or '.join(names)}; it has {', '.join(digest)}: give one "
        "of these as --energy."
    )

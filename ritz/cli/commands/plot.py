"""Draw the logs of one or several runs over each other."""

import argparse
import sys
from pathlib import Path

from ritz.cli.domains import view_of
from ritz.plotting import plot_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz plot` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or log file")
    parser.add_argument("-o", "--output", type=str, default="runs.png", help="the picture to write")
    parser.add_argument("--quantity", type=str, help="what to draw at the top; by default the loss")
    parser.add_argument("--exact", type=float, help="a line at this value")


def run(options: argparse.Namespace) -> None:
    """Draw, with the curves that belong to the domain of the first run."""
    first = Path(options.runs[0])
    view = view_of(first if first.is_dir() else first.parent)
    picture = plot_runs(options.runs, options.output, options.quantity, options.exact, view)
    sys.stdout.write(f"{picture}\n")

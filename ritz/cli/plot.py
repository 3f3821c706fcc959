"""Draw the logs of one or several runs over each other."""

import argparse
import sys

from ritz.plotting import plot_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz plot` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or log file")
    parser.add_argument("-o", "--output", type=str, default="runs.png", help="the picture to write")
    parser.add_argument(
        "--quantity", type=str, help="what to draw; else the first quantity with a mean"
    )
    parser.add_argument("--exact", type=float, help="a line at this value")


def run(options: argparse.Namespace) -> None:
    """Draw."""
    picture = plot_runs(options.runs, options.output, options.quantity, options.exact)
    sys.stdout.write(f"{picture}\n")

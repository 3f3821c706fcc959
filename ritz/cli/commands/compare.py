"""Compare runs in one table: what differs, results with error bars, and how they ended."""

import argparse
import sys
from pathlib import Path

from ritz.sweeps.comparison import compare, text_of

_FORMATS = (".csv", ".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz compare` takes."""
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="run folder, or folder of runs")
    parser.add_argument("--quantity", default="", help="an entry of summary.json; found by itself")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only runs that have this; may be given again",
    )
    parser.add_argument("--sort", default="", help="column to sort by; from above with - in front")
    parser.add_argument("--all", action="store_true", help="show all numbers of the summaries")
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write the table (.csv) or a picture of it (.png, .pdf, .svg); may be given again",
    )
    parser.add_argument("--against", default="", help="the column at the x axis of the picture")


def run(options: argparse.Namespace) -> None:
    """Print the table, and write what is asked for.

    Raises:
        ValueError: If there are no runs, or a column or a kind of file is not known.
    """
    where = {}
    for condition in options.where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"--where takes NAME=VALUE, but {condition!r} was given.")
        if name in where:
            raise ValueError(f"--where names {name} twice; a run has one value of it.")
        where[name] = value
    for name in options.output:
        if Path(name).suffix not in _FORMATS:
            raise ValueError(f"-o writes {', '.join(_FORMATS)}, but {name!r} was given.")
    frame = compare(options.runs, options.quantity, where, options.sort, everything=options.all)
    sys.stdout.write(text_of(frame) + "\n")
    for name in options.output:
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".csv":
            frame.to_csv(file)
        else:
            from ritz.sweeps.picture import draw

            draw(frame, file, options.against)
        sys.stdout.write(f"{file}\n")

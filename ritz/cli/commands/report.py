"""Write a page about one or several runs, to look at and to hand on."""

import argparse
import sys

from ritz.cli.domains import view_of
from ritz.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz report` takes."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, folder of runs, or log file"
    )
    parser.add_argument("-o", "--output", type=str, default="report.html", help="the page to write")
    parser.add_argument(
        "--quantity",
        action="append",
        default=[],
        metavar="NAME",
        help="a further quantity to draw, such as one that a callback logs; may be repeated",
    )


def run(options: argparse.Namespace) -> None:
    """Write the page, with the curves that belong to the domain of each run.

    Raises:
        ValueError: If there is no run, or the page is to have another name than a page.
    """
    if not options.output.endswith((".html", ".htm")):
        raise ValueError(f"-o writes a page of HTML, .html, but {options.output!r} was given.")
    sys.stdout.write(f"{write_report(options.runs, options.output, view_of, options.quantity)}\n")

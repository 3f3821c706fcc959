"""Write a package with a callback, logger, update rule or driver of your own, and its tests.

It can be installed at once, and is found as a plug-in: `ritz plugins` lists it.
"""

import argparse
import sys
from pathlib import Path

from ritz.cli.new_package import KINDS, Package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz new` takes."""
    parser.add_argument("kind", choices=KINDS, help="what to begin with; plugin has one of each")
    parser.add_argument("name", metavar="NAME", help="such as StopWhenPrecise")
    parser.add_argument(
        "--into", default=".", metavar="FOLDER", help="where the folder of the package is made"
    )


def run(options: argparse.Namespace) -> None:
    """Write the package, and say what to do with it.

    Raises:
        ValueError: If the name cannot be that of a package, or the folder exists.
    """
    package = Package(options.kind, options.name)
    folder = package.write(Path(options.into))
    written = sorted(str(file) for file in folder.rglob("*") if file.is_file())
    advice = [f"pip install -e {folder}", f"python -m pytest {folder}"]
    if package.is_offered:
        advice.append("ritz plugins --check")
    sys.stdout.write("\n".join([*written, "", "Next:", *advice]) + "\n")

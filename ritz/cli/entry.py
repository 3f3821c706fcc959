"""Where the command `ritz` begins."""

import sys

import ritz
from ritz.cli.interrupts import interruptible
from ritz.cli.pipes import until_closed
from ritz.extras import MissingExtra, needs


def main() -> int:
    """Run the command, or say what must be installed for it."""
    return interruptible(_main)


def _main() -> int:
    if sys.argv[1:] == ["--version"]:
        return until_closed(_tell_version)
    try:
        with needs("the command", "cli"):
            from ritz.cli.main import run_command
    except MissingExtra as error:
        sys.stderr.write(f"ritz: {error}\n")
        return 2
    return run_command()


def _tell_version() -> int:
    sys.stdout.write(f"ritz {ritz.__version__}\n")
    return 0

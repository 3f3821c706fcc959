"""Reads the command line of `ritz`."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

import ritz
from ritz.cli import demo, plot

_COMMANDS = {"demo": demo, "plot": plot}


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and what is allowed."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ritz", description="Variational optimisations through one run loop.")
    parser.add_argument("--version", action="version", version=f"ritz {ritz.__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{" + ",".join(_COMMANDS) + "}"
    )
    for name, module in _COMMANDS.items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name, help=text.splitlines()[0], description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )  # fmt: skip
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("ritz").setLevel(logging.INFO)
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ritz: {error}\n")
        return 2
    except KeyboardInterrupt as signal:
        sys.stderr.write(f"ritz: {signal or 'interrupted'}\n")
        return getattr(signal, "code", 130)
    return 0


if __name__ == "__main__":
    sys.exit(main())

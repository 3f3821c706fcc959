"""Reads the command line of `ritz`."""

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

import jsonargparse

import ritz
from ritz.cli import domains
from ritz.cli.domain import Domain, action_parser, add_actions, run_domain, subparser
from ritz.cli.error_text import Command
from ritz.cli.interrupts import interruptible
from ritz.cli.known_settings import owner
from ritz.cli.parts import split_overrides
from ritz.cli.spelling import underscored
from ritz.extras import MissingExtra

_COMMANDS = {
    "demo": "Find the ground state of the transverse-field Ising chain and check it against the "
    "exact energy.",
    "plot": "Draw the logs of one or several runs over each other.",
    "relax": "Relax structures from files, all at once.",
    "status": "Show how far runs are: step, energy, time left and last checkpoint.",
}
"""What they are for, by the name of their module; it is imported when it is needed."""

jsonargparse.set_parsing_settings(add_print_completion_argument=True)


def _parser(given: Sequence[str]) -> tuple[jsonargparse.ArgumentParser, Domain | None]:
    """The parser of all commands, and the domain that is meant.

    Settings of other domains are left out, unless all of them are to be completed.
    """
    parser = jsonargparse.ArgumentParser(
        prog="ritz",
        description="Variational optimisations through one run loop.",
        exit_on_error=False,
        allow_abbrev=False,
        version=ritz.__version__,
    )
    commands = parser.add_subcommands()
    completing = any(token.startswith("--print_completion") for token in given)
    for name, text in _COMMANDS.items():
        command = subparser(text)
        if given[:1] == [name] or completing:
            module = _module(name)
            command = subparser((module.__doc__ or "").strip())
            module.add_arguments(command)
        commands.add_subcommand(name, command, help=text)
    meant = None
    for name, text in domains.TEXTS.items():
        command = subparser(text)
        commands.add_subcommand(name, command, help=text)
        if given[:1] == [name] or completing:
            own = domains.load(name)
            add_actions(command, own)
            meant = own if given[:1] == [name] else meant
    return parser, meant


def _module(name: str) -> Any:
    return importlib.import_module(f"ritz.cli.{name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    Args:
        arguments: What follows `ritz`; by default the command line of the process.
    """
    return interruptible(lambda: run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """What `main` does, without its care for signals."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger = logging.getLogger("ritz")
    level = logger.level
    logger.setLevel(logging.INFO)
    given = list(sys.argv[1:] if arguments is None else arguments)
    given = underscored(given, bare=given[:1] != [] and given[0] in domains.TEXTS)
    sys.path.insert(0, "")  # functions in the present folder can be named
    try:
        return _run(given)
    except jsonargparse.ArgumentError as error:
        meant = _command(given)
        sys.stderr.write(f"ritz: {meant.explained(str(error))} (see {meant.name} --help)\n")
        return 2
    except (ValueError, OSError, MissingExtra) as error:
        sys.stderr.write(f"ritz: {error}\n")
        return 2
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            raise
        sys.stderr.write(f"ritz: {end.code}\n")
        return 1
    finally:
        sys.path.remove("")
        logger.setLevel(level)


def _run(given: list[str]) -> int:
    parser, domain = _parser(given)
    if domain is not None:
        run_domain(domain, given, parser)
        return 0
    if given[:1] == ["relax"]:
        relax = _module("relax")
        rest, overrides = split_overrides(given, relax.PARTS)
        return relax.run(parser.parse_args(rest).relax, overrides)
    options = parser.parse_args(given)
    _module(options.subcommand).run(options[options.subcommand])
    return 0


def _command(given: Sequence[str]) -> Command:
    """The command that is meant, for messages."""
    first = given[0] if given else ""
    if first in domains.TEXTS:
        domain = domains.load(first)
        named = [first, *(word for word in given[1:2] if word in domain.actions)]
        options = [option for option in _options(action_parser(domain, ""))
                   if owner(option[2:], domain.kind) is None]  # fmt: skip
        return Command(" ".join(["ritz", *named]), options, list(domain.actions), domain.kind)
    if first not in _COMMANDS:
        return Command("ritz", choices=[*_COMMANDS, *domains.TEXTS])
    parser = subparser("")
    _module(first).add_arguments(parser)
    return Command(f"ritz {first}", _options(parser))


def _options(parser: Any) -> list[str]:
    """What a parser takes with leading dashes, in full."""
    names = [name for action in parser._actions for name in action.option_strings]
    return [name for name in names if name.startswith("--")]


if __name__ == "__main__":
    sys.exit(main())

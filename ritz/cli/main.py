"""Reads the command line of `ritz`."""

import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

import jsonargparse
from jsonargparse import ArgumentParser

import ritz
from ritz.cli import domains
from ritz.cli.domain import Domain
from ritz.cli.domain_parser import action_parser, add_command, run_domain, subparser
from ritz.cli.error_text import Command
from ritz.cli.interrupts import interruptible
from ritz.cli.log_lines import LinesAroundBars
from ritz.cli.messages import reason
from ritz.cli.pipes import until_closed
from ritz.cli.processes import is_told
from ritz.cli.settings.spelling import underscored
from ritz.extras import MissingExtra

COMMANDS = {
    "compare": "Compare runs in one table: what differs, results with error bars, how they ended.",
    "demo": "Find the ground state of the transverse-field Ising chain and check it against the "
    "exact energy.",
    "extrapolate": "Extrapolate the energies of several evaluations to zero variance.",
    "new": "Write a package with a callback, logger, update rule or driver of your own.",
    "plot": "Draw the logs of one or several runs over each other.",
    "plugins": "List what installed packages add to Ritz, and check it.",
    "report": "Write a page about one or several runs, to look at and to hand on.",
    "status": "Show how far runs are: step, loss, time left and last checkpoint.",
    "sweep": "Execute many runs that differ in some settings.",
}
"""Commands without a domain: what each is for, by the name of its module."""

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
    for name, text in COMMANDS.items():
        command = subparser(text)
        if given[:1] == [name] or completing:
            module = _module(name)
            command = subparser((module.__doc__ or "").strip())
            module.add_arguments(command)
        commands.add_subcommand(name, command, help=text)
    meant = None
    for name, text in _domain_texts().items():
        is_meant = given[:1] == [name]
        is_own = name in domains.DOMAINS  # plug-ins are imported when they are named only
        domain = domains.load(name) if is_meant or (completing and is_own) else None
        add_command(commands, name, text, domain)
        meant = domain if is_meant else meant
    return parser, meant


def _domain_texts() -> dict[str, str]:
    """What each domain is for; commands of Ritz stand before plug-ins that are called like them."""
    return {name: text for name, text in domains.texts().items() if name not in COMMANDS}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"ritz.cli.commands.{name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    Args:
        arguments: What follows `ritz`; by default the command line of the process.
    """
    return interruptible(lambda: run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command without handling signals; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[LinesAroundBars()])
    logger = logging.getLogger("ritz")
    level = logger.level
    logger.setLevel(logging.INFO)
    given = list(sys.argv[1:] if arguments is None else arguments)
    given = underscored(given, bare=False)
    sys.path.insert(0, "")  # functions in the present folder can be named
    try:
        return until_closed(lambda: _run(given))
    except jsonargparse.ArgumentError as error:
        meant = _command(given)
        sys.stderr.write(f"ritz: {meant.explained(str(error))} (see {meant.name} --help)\n")
        return 2
    except (ValueError, OSError, MissingExtra) as error:
        if not is_told(error):
            sys.stderr.write(f"ritz: {reason(error)}\n")
        return 2
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            raise
        if not is_told(end):
            sys.stderr.write(f"ritz: {end.code}\n")
        return 1
    finally:
        sys.path.remove("")
        logger.setLevel(level)


def _run(given: list[str]) -> int:
    parser, domain = _parser(given)
    if domain is not None:
        return run_domain(domain, given, parser)
    options = parser.parse_args(given)
    return _module(options.subcommand).run(options[options.subcommand]) or 0


def _command(given: Sequence[str]) -> Command:
    """The command that is meant, for messages."""
    first = given[0] if given else ""
    if first in _domain_texts():
        return _command_of(domains.load(first), given[1:])
    if first not in COMMANDS:
        return Command("ritz", choices=[*COMMANDS, *_domain_texts()])
    parser = subparser("")
    _module(first).add_arguments(parser)
    return Command(f"ritz {first}", _options(parser))


def _command_of(domain: Domain, given: Sequence[str]) -> Command:
    """A command of a domain, for messages."""
    whole = domain.actions.get("")
    if whole is not None:
        options = _options(action_parser(domain, whole))
        dashed = {token.partition("=")[0] for token in given if token.startswith("--")}
        return Command(f"ritz {domain.name}", options, kind=domain.kind, dashed=dashed)
    named = [domain.name, *(word for word in given[:1] if word in domain.actions)]
    meant = next(domain.actions[word] for word in [*named[1:], *domain.actions])
    options = _options(action_parser(domain, meant))
    return Command(" ".join(["ritz", *named]), options, list(domain.actions), domain.kind)


def _options(parser: ArgumentParser) -> list[str]:
    """The options of a parser that begin with dashes, in full."""
    names = [name for action in parser._actions for name in action.option_strings]
    return [name for name in names if name.startswith("--")]


if __name__ == "__main__":
    sys.exit(main())

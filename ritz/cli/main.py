"""Reads the command line of `ritz`."""

import importlib
import logging
import re
import sys
from collections.abc import Sequence
from typing import Any

import jsonargparse

import ritz
from ritz.cli import domains
from ritz.cli.domain import Domain, add_actions, run_domain, subparser
from ritz.cli.interrupts import interruptible
from ritz.cli.known_settings import nearest
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
    return interruptible(lambda: command(arguments))


def command(arguments: Sequence[str] | None = None) -> int:
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
        text = _one_line(str(error), given[0] if given[:1] and given[0] in domains.TEXTS else None)
        sys.stderr.write(f"ritz: {text} (see {_named_command(given)} --help)\n")
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


def _named_command(given: Sequence[str]) -> str:
    """The command, of which the help lists the settings that were meant."""
    first = given[0] if given else ""
    if first in domains.TEXTS:
        named = [first, *(word for word in given[1:2] if word in domains.load(first).actions)]
    else:
        named = [first] if first in _COMMANDS else []
    return " ".join(["ritz", *named])


def _one_line(message: str, domain: str | None) -> str:
    """What jsonargparse says, as one line that names key, value and what is allowed."""
    text = " ".join(message.split())
    command = re.search(r'expected "[\w.]*subcommand" to be one of {([^}]*)}', text)
    if command:
        return f"give a command: {command[1].replace(',', ', ')}"
    unknown = domain and re.search(r"unrecognized arguments: --?([\w.]+)", text)
    if unknown:
        near = nearest(unknown[1], domains.load(str(domain)).kind)
        return f"{unknown[1]}: there is no such setting{near}"
    found = re.search(r'Parser key "(?P<key>[^"]+)": (?P<what>.*)', text)
    if not found:
        return text
    key, what = found["key"], found["what"]
    nested = re.search(r"NestedArg\(key='([^']*)'", what)
    if nested:
        return f"{key}.{nested[1]}: {key} takes a value without arguments"
    union = re.search(r"Union subtypes Subtypes: \[(.*?)\] Errors: .*Given value: (.*)", what)
    if union:
        return f"{key}: {union[2]!r} was given, but {_kinds(union[1])} is needed"
    wanted = re.search(r"Expected an? <class '(\w+)'>\. Got value: (.*)", what)
    if wanted:
        whole = re.fullmatch(r"-?(\d+)\.0", wanted[2]) if wanted[1] == "int" else None
        hint = f"; write {wanted[2][:-2]}" if whole else ""
        return f"{key}: {wanted[2]!r} was given, but {wanted[1]} is needed{hint}"
    choice = re.search(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", what)
    if choice:
        return f"{key}: {choice[2]!r} was given, but it must be one of: {choice[1]}"
    part = re.search(r"Not of type Part: (.*)", what)
    return f"{key}: {part[1] if part else what}"


def _kinds(subtypes: str) -> str:
    """The types of a union in the words of YAML."""
    names = [
        re.sub(r"<class '([\w.]+)'>", lambda m: m[1].split(".")[-1], text).strip()
        for text in re.split(r", (?![^\[]*\])", subtypes)
    ]
    words = ["null" if name == "NoneType" else name for name in names]
    return " or ".join(words)


if __name__ == "__main__":
    sys.exit(main())

"""The command line of a domain."""

import dataclasses
import functools
import logging
import sys
from collections.abc import Sequence
from typing import Any

import jsonargparse
from jsonargparse import ArgumentParser

from ritz.cli import processes
from ritz.cli.domain import Action, Domain, Invocation
from ritz.cli.settings.checks import check_arguments, check_names
from ritz.cli.settings.config_file import with_checked_files
from ritz.cli.settings.file_arguments import with_named_files
from ritz.cli.settings.parts import overridden, part_fields, split_overrides
from ritz.cli.settings.presets import with_preset
from ritz.cli.settings.spelling import spelt_out, underscored, whole_numbers
from ritz.cli.settings.suggestions import Configuration
from ritz.cli.settings.yaml_limits import check_yaml

_logger = logging.getLogger("ritz")


def subparser(text: str) -> ArgumentParser:
    """A parser that raises its errors."""
    return jsonargparse.ArgumentParser(description=text, exit_on_error=False, allow_abbrev=False)


def add_command(commands: Any, name: str, text: str, domain: Domain | None) -> None:
    """Add a domain to the commands.

    Args:
        commands: The subcommands of the whole parser.
        name: The command.
        text: What it is for.
        domain: The domain; None leaves out its actions and settings.
    """
    if domain is not None and "" in domain.actions:
        commands.add_subcommand(name, action_parser(domain, domain.actions[""]), help=text)
        return
    command = subparser(text)
    commands.add_subcommand(name, command, help=text)
    if domain is None:
        return
    actions = command.add_subcommands()
    for word, action in domain.actions.items():
        actions.add_subcommand(word, action_parser(domain, action), help=action.text)


def action_parser(domain: Domain, action: Action) -> ArgumentParser:
    """The parser of an action."""
    command = subparser(
        f"{action.text} Settings are given as NAME=VALUE, arguments of class paths as "
        "NAME.ARGUMENT=VALUE."
    )
    command.add_argument("--config", action="config", help="a YAML file with settings")
    command.add_argument(
        "--dry_run", action="store_true", help="build everything, run nothing, write nothing"
    )
    if action.begins_anew:
        command.add_argument(
            "--anew",
            action="store_true",
            help="set the saved run aside and begin anew",
        )
    if action.computes:
        processes.add_options(command)
    command.add_argument(
        "--progress", type=bool, default=True, help="whether to show a progress bar"
    )
    command.add_class_arguments(domain.kind)
    return command


def run_domain(domain: Domain, given: Sequence[str], parser: ArgumentParser) -> int:
    """Read the command line of a domain, and run its action.

    Args:
        domain: The domain.
        given: The command line.
        parser: The parser of all commands.

    Returns:
        The exit status.

    Raises:
        ValueError: If a setting is wrong: one line that names it.
    """
    name = next((name for name in domain.actions if name in given[1:2] or not name), None)
    if name is None or not domain.actions[name].computes:
        return _run(domain, given, parser)
    given, options = processes.split_options(given)
    with processes.shared(f"{domain.name} {name}".rstrip(), options):
        return _run(domain, given, parser)


def _run(domain: Domain, given: Sequence[str], parser: ArgumentParser) -> int:
    """Read the command line without what says how many processes there are, and run the action."""
    kind = domain.kind
    fields = part_fields(kind)
    given = with_preset(given, domain.presets, domain.shorthands)
    if domain.files is None:
        given = underscored(given, bare=True)
    else:
        given = [given[0], *with_named_files(given[1:], kind, domain.files)]
    given = spelt_out(given, kind)
    check_names(given, kind)
    rest, overrides = split_overrides(given, fields)
    rest = _with_saved_config(domain, rest, [field for field, _, _ in overrides])
    for token in rest:
        key, equals, value = token.partition("=")
        check_yaml(value if equals else token, key.lstrip("-")[:40])
    rest = whole_numbers(with_checked_files(rest, kind), kind)
    check_arguments(rest, kind)
    printing = [token for token in rest if token.startswith("--print_config")]
    options = parser.parse_args([token for token in rest if token not in printing])[domain.name]
    action = "" if "" in domain.actions else options.subcommand
    settings = options[action] if action else options
    for field, way, value in overrides:
        settings[field] = overridden(field, settings[field], way, value, fields[field])
    config, text = _resolved(kind, settings)
    if printing:
        if processes.is_first():
            sys.stdout.write(text)
        return 0
    call = Invocation(
        domain=domain.name,
        action=action,
        config=config,
        text=text,
        view=domain.view,
        dry_run=settings.dry_run,
        anew=domain.actions[action].begins_anew and settings.anew,
        progress=settings.progress,
    )
    return domain.actions[action].run(call) or 0


def _resolved(kind: Any, settings: jsonargparse.Namespace) -> tuple[Configuration, str]:
    """The configuration, and the same as YAML."""
    parser = subparser("")
    parser.add_class_arguments(kind)
    chosen = parser.get_defaults()
    names = [field.name for field in dataclasses.fields(kind)]
    for name in names:
        chosen[name] = settings[name]
    made = parser.instantiate(chosen)
    config = kind(**{name: made[name] for name in names})
    return config, parser.dump(chosen, skip_validation=True)


def _with_saved_config(domain: Domain, rest: list[str], changed: Sequence[str]) -> list[str]:
    """Where an action is given no configuration of its own, that of the run folder.

    Args:
        domain: The domain.
        rest: The command line.
        changed: The class paths of which arguments are given besides.
    """
    from ritz.cli.run_folder import CONFIG, RunFolder  # which imports JAX

    name = next((name for name in domain.actions if name in rest[1:2] or not name), None)
    named = {token[2:].partition("=")[0] for token in rest if token.startswith("--")}
    if name is None or not domain.actions[name].takes_saved_with({*changed, *named}):
        return rest
    chosen = [*_values("folder", rest), domain.kind().folder][0]
    if chosen is None:
        return rest
    folder = RunFolder(chosen)
    folder.check_domain(domain.name)
    if folder.config is None:
        needed = domain.actions[name].takes_saved
        has_default = isinstance(needed, str) and bool(
            functools.reduce(getattr, needed.split("."), domain.kind())
        )
        runs = not named & {"dry_run", "print_config"}
        if runs and has_default and _values("folder", rest):
            told = "There is no run in %s: a new one begins, with defaults for what is not given."
            _logger.info(told, chosen)
        return rest
    if not folder.is_intact():
        _logger.warning(
            "%s was damaged, or changed by hand, since it was written.", folder.path / CONFIG
        )
    place = 2 if name else 1
    return [*rest[:place], "--config", str(folder.path / CONFIG), *rest[place:]]


def _values(name: str, arguments: Sequence[str]) -> list[str]:
    """The values that a setting is given on a command line, the last one first."""
    found = []
    for place, token in enumerate(arguments):
        if token.startswith(f"--{name}="):
            found.append(token.partition("=")[2])
        elif token == f"--{name}":
            found += arguments[place + 1 : place + 2]
    return found[::-1]

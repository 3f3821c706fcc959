"""Commands of a domain, which are configured by a dataclass."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jsonargparse

from ritz.cli.config_file import with_checked_files
from ritz.cli.parts import overridden, part_fields, split_overrides
from ritz.cli.setting_checks import check_arguments, check_names
from ritz.cli.spelling import whole_numbers
from ritz.cli.yaml_limits import check_yaml

_logger = logging.getLogger("ritz")


@dataclasses.dataclass(frozen=True)
class Domain:
    """What `ritz NAME ACTION` does.

    Args:
        name: The command.
        text: What it is for, in a sentence.
        actions: Sentences, by the name of the action.
        kind: The dataclass of the configuration; it has a `folder`.
        run: Runs an action: its name, the configuration, the same as YAML, and the options.
        saved: The actions that take the configuration of the run folder.
        shares_samples: Whether several processes can share the work.
    """

    name: str
    text: str
    actions: Mapping[str, str]
    kind: type
    run: Callable[[str, Any, str, argparse.Namespace], None]
    saved: frozenset[str]
    shares_samples: bool = False


def subparser(text: str) -> Any:
    """A parser that raises its errors."""
    return jsonargparse.ArgumentParser(description=text, exit_on_error=False, allow_abbrev=False)


def add_actions(parser: Any, domain: Domain) -> None:
    """Give the parser of a domain its actions."""
    actions = parser.add_subcommands()
    for name, text in domain.actions.items():
        actions.add_subcommand(name, action_parser(domain, text), help=text)


def action_parser(domain: Domain, text: str) -> Any:
    """The parser of an action."""
    command = subparser(
        f"{text} Settings are given as train.iterations=500, class paths as "
        "train.optimizer=optax.adam, their arguments as train.optimizer.learning_rate=0.01."
    )
    command.add_argument("--config", action="config", help="a YAML file with settings")
    command.add_argument(
        "--dry_run", action="store_true", help="build everything, run nothing, write nothing"
    )
    if domain.shares_samples:
        command.add_argument(
            "--distributed",
            action="store_true",
            help="several processes share the samples: call jax.distributed.initialize() first",
        )
    command.add_argument(
        "--progress", type=bool, default=True, help="whether to show a progress bar"
    )
    command.add_class_arguments(domain.kind)
    return command


def run_domain(domain: Domain, given: list[str], parser: Any) -> None:
    """Read the command line of a domain, and run its action.

    Args:
        domain: The domain.
        given: The command line.
        parser: The parser of all commands.

    Raises:
        ValueError: If a setting is wrong: one line that names it.
    """
    fields = part_fields(domain.kind)
    check_names(given, domain.kind)
    rest, overrides = split_overrides(given, fields)
    action = next((name for name in domain.saved if name in rest[:2]), None)
    if action is not None:
        rest = _with_saved_config(domain, action, rest)
    for token in rest:
        key, equals, value = token.partition("=")
        check_yaml(value if equals else token, key.lstrip("-")[:40])
    rest = whole_numbers(with_checked_files(rest, domain.kind), domain.kind)
    check_arguments(rest, domain.kind)
    printing = [token for token in rest if token.startswith("--print_config")]
    options = parser.parse_args([token for token in rest if token not in printing])
    command = options[domain.name].subcommand
    settings = options[domain.name][command]
    for field, way, value in overrides:
        settings[field] = overridden(field, settings[field], way, value, fields[field])
    run, text = _resolved(domain, settings)
    if printing:
        sys.stdout.write(text)
    else:
        domain.run(command, run, text, settings)


def _resolved(domain: Domain, settings: Any) -> tuple[Any, str]:
    """The configuration, and the same as YAML."""
    parser = subparser("")
    parser.add_class_arguments(domain.kind)
    chosen = parser.get_defaults()
    names = [field.name for field in dataclasses.fields(domain.kind)]
    for name in names:
        chosen[name] = settings[name]
    made = parser.instantiate(chosen)
    run = domain.kind(**{name: made[name] for name in names})
    return run, parser.dump(chosen, skip_validation=True)


def _with_saved_config(domain: Domain, action: str, rest: list[str]) -> list[str]:
    """An action without a configuration of its own takes that of the run folder."""
    from ritz.cli.run_folder import CONFIG, RunFolder  # which imports JAX

    if any(token.startswith("--config") for token in rest):
        return rest
    folder = next((t.partition("=")[2] for t in rest if t.startswith("--folder=")), None)
    folder = folder or domain.kind().folder
    if RunFolder(folder).config is None:
        return rest
    if not RunFolder(folder).is_intact():
        _logger.warning(
            "%s was damaged, or changed by hand, since it was written.",
            RunFolder(folder).path / CONFIG,
        )
    place = rest.index(action) + 1
    return [*rest[:place], "--config", str(RunFolder(folder).path / CONFIG), *rest[place:]]

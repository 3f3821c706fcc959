"""Reads the command line of `ritz`."""

import dataclasses
import logging
import re
import sys
from collections.abc import Sequence
from typing import Any

import jsonargparse

import ritz
from ritz.cli import demo, lattice, plot, relax, status
from ritz.cli.config_file import check_file, config_files, nearest
from ritz.cli.lattice_config import LatticeRun
from ritz.cli.parts import overridden, part_fields, split_overrides
from ritz.cli.run_folder import CONFIG, RunFolder

_COMMANDS = {"demo": demo, "plot": plot, "relax": relax, "status": status}
_LATTICE = {
    "train": "Optimise a wave function on a lattice, or go on with it.",
    "evaluate": "Estimate the energy and observables of a trained wave function.",
}


jsonargparse.set_parsing_settings(add_print_completion_argument=True)


def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(
        prog="ritz",
        description="Variational optimisations through one run loop.",
        exit_on_error=False,
        allow_abbrev=False,
        version=ritz.__version__,
    )
    commands = parser.add_subcommands()
    for name, module in _COMMANDS.items():
        command = _subparser((module.__doc__ or "").strip())
        module.add_arguments(command)
        commands.add_subcommand(name, command, help=command.description.splitlines()[0])
    domain = _subparser(str(lattice.__doc__).strip())
    commands.add_subcommand("lattice", domain, help=domain.description)
    actions = domain.add_subcommands()
    for name, text in _LATTICE.items():
        actions.add_subcommand(name, _lattice_parser(text), help=text)
    return parser


def _subparser(text: str) -> Any:
    return jsonargparse.ArgumentParser(description=text, exit_on_error=False, allow_abbrev=False)


def _lattice_parser(text: str) -> Any:
    command = _subparser(
        f"{text} Settings are given as train.iterations=500, class paths as "
        "train.optimizer=optax.adam, their arguments as train.optimizer.learning_rate=0.01."
    )
    command.add_argument("--config", action="config", help="a YAML file with settings")
    command.add_argument(
        "--dry_run", action="store_true", help="build everything, run nothing, write nothing"
    )
    command.add_argument(
        "--distributed",
        action="store_true",
        help="several processes share the samples: call jax.distributed.initialize() first",
    )
    command.add_argument(
        "--progress", type=bool, default=True, help="whether to show a progress bar"
    )
    command.add_class_arguments(LatticeRun)
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger = logging.getLogger("ritz")
    level = logger.level
    logger.setLevel(logging.INFO)
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.insert(0, "")  # functions in the present folder can be named
    try:
        return _run(given)
    except jsonargparse.ArgumentError as error:
        text = _one_line(str(error), given[:1] == ["lattice"])
        sys.stderr.write(f"ritz: {text} (see ritz --help)\n")
        return 2
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ritz: {error}\n")
        return 2
    except KeyboardInterrupt as signal:
        sys.stderr.write(f"ritz: {signal or 'interrupted'}\n")
        return getattr(signal, "code", 130)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            raise
        sys.stderr.write(f"ritz: {end.code}\n")
        return 1
    finally:
        sys.path.remove("")
        logger.setLevel(level)


def _run(given: list[str]) -> int:
    parser = _parser()
    if given[:1] == ["relax"]:
        rest, overrides = split_overrides(given, relax.PARTS)
        return relax.run(parser.parse_args(rest).relax, overrides)
    if given[:1] != ["lattice"]:
        options = parser.parse_args(given)
        _COMMANDS[options.subcommand].run(options[options.subcommand])
        return 0
    fields = part_fields(LatticeRun)
    rest, overrides = split_overrides(given, fields)
    if "evaluate" in rest[:2]:
        rest = _with_saved_config(rest)
    for file in config_files(rest):
        check_file(file, LatticeRun)
    printing = [token for token in rest if token.startswith("--print_config")]
    options = parser.parse_args([token for token in rest if token not in printing])
    command = options.lattice.subcommand
    settings = options.lattice[command]
    for field, way, value in overrides:
        settings[field] = overridden(field, settings[field], way, value, fields[field])
    run, text = _resolved(settings)
    if printing:
        sys.stdout.write(text)
    else:
        lattice.run(command, run, text, settings)
    return 0


def _resolved(settings: Any) -> tuple[LatticeRun, str]:
    """The configuration, and the same as YAML."""
    parser = _subparser("")
    parser.add_class_arguments(LatticeRun)
    chosen = parser.get_defaults()
    names = [field.name for field in dataclasses.fields(LatticeRun)]
    for name in names:
        chosen[name] = settings[name]
    made = parser.instantiate(chosen)
    run = LatticeRun(**{name: made[name] for name in names})
    return run, parser.dump(chosen, skip_validation=True)


def _with_saved_config(rest: list[str]) -> list[str]:
    """An evaluation without a configuration of its own takes that of the run folder."""
    if any(token.startswith("--config") for token in rest):
        return rest
    folder = next((t.partition("=")[2] for t in rest if t.startswith("--folder=")), None)
    folder = folder or LatticeRun().folder
    if RunFolder(folder).config is None:
        return rest
    place = rest.index("evaluate") + 1
    return [*rest[:place], "--config", str(RunFolder(folder).path / CONFIG), *rest[place:]]


def _one_line(message: str, has_settings: bool) -> str:
    """What jsonargparse says, as one line that names key, value and what is allowed."""
    text = " ".join(message.split())
    command = re.search(r'expected "[\w.]*subcommand" to be one of {([^}]*)}', text)
    if command:
        return f"give a command: {command[1].replace(',', ', ')}"
    unknown = has_settings and re.search(r"unrecognized arguments: --?([\w.]+)", text)
    if unknown:
        known = [a.dest for a in _lattice_parser("")._actions if "." in a.dest]
        return f"{unknown[1]}: there is no such setting{nearest(unknown[1], known)}"
    found = re.search(r'Parser key "(?P<key>[^"]+)": (?P<what>.*)', text)
    if not found:
        return text
    key, what = found["key"], found["what"]
    wanted = re.search(r"Expected an? <class '(\w+)'>\. Got value: (.*)", what)
    if wanted:
        return f"{key}: {wanted[2]!r} was given, but {wanted[1]} is needed"
    part = re.search(r"Not of type Part: (.*)", what)
    return f"{key}: {part[1] if part else what}"


if __name__ == "__main__":
    sys.exit(main())

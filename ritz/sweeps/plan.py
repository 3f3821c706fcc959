"""The runs of a sweep: their names, folders and settings."""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ritz.plugins import plugins
from ritz.sweeps.naming import names_of
from ritz.sweeps.variations import Variation, variations

DOMAINS = ("lattice", "molecule", "mlip", "relax")
BEGINNING = "train.begin_from"
"""The setting that names the run folder whose wave function a training begins with."""

_VARYING = ("vary", "runs", "draw", "seeds")
_SETTINGS = ("command", "folder", "base", "config", "along")
_ENGINE = ("retries", "workers", "cluster", "halving")


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str
    """What differs, such as "h=0.5,seed=1"; the name of its folder."""
    folder: Path
    """Its run folder."""
    settings: Variation
    """What varies."""
    commands: tuple[tuple[str, ...], ...]
    """The command lines, one after the other: what follows `ritz`."""
    after: str = ""
    """Name of the run whose state it begins with; empty if it begins by itself."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All runs of a sweep, and how they are executed.

    Raises:
        ValueError: If an entry is not known or has a wrong value, or nothing is to be run.
    """

    folder: Path
    """Folder of the sweep, with those of its runs."""
    runs: tuple[PlannedRun, ...]
    """The runs."""
    retries: int = 2
    """How often a run is started again that was killed."""
    workers: int | None = None
    """How many runs go on at once; None for one on each GPU, or else each core, and on a queue
    for one job."""
    cluster: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """`kind` (local, slurm, pbs or lsf) and arguments of Dask's cluster."""
    halving: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of `Halving`; empty for none."""
    program: tuple[str, ...] = (sys.executable, "-m", "ritz")
    """What executes the commands."""

    @classmethod
    def of(cls, content: Mapping[str, Any], folder: str | Path | None = None) -> "Plan":
        """The plan that a configuration describes.

        Args:
            content: `command`, a command of `ritz` such as "lattice train", or a list of such that
                follow each other in each run; `base`, its settings, and `config`, a file with
                more; what varies, see `variations`; `along`, a setting along which each run begins
                with its neighbour's state; and the fields of `Plan`.
            folder: Folder of the sweep, in the place of that in `content`.
        """
        _check_keys(content)
        commands = _commands(content.get("command"))
        chosen = folder or content.get("folder")
        if not isinstance(chosen, str | Path) or not str(chosen):
            raise ValueError("folder: a sweep needs a folder, such as folder: runs/sweep.")
        found = variations(**{key: content[key] for key in _VARYING if key in content})
        _check_no_folder([content.get("base", {}), *found])
        along = content.get("along")
        place = Path(chosen)
        tokens = _tokens(content.get("base", {}), content.get("config"))
        names = names_of(found)
        before = _neighbours(found, along, commands) if along is not None else [None] * len(found)
        runs = []
        for name, varied, neighbour in zip(names, found, before, strict=True):
            after = "" if neighbour is None else names[neighbour]
            more = _assignments(varied)
            runs.append(
                PlannedRun(
                    name=name,
                    folder=place / name,
                    settings=varied,
                    commands=tuple(
                        _command_line(words, place, name, [*tokens, *more], after)
                        for words in commands
                    ),
                    after=after,
                )
            )
        return cls(
            folder=place,
            runs=tuple(runs),
            retries=_count("retries", content.get("retries", 2), 0),
            workers=None
            if content.get("workers") is None
            else _count("workers", content["workers"], 1),
            cluster=content.get("cluster") or {},
            halving=content.get("halving") or {},
        )


def _check_keys(content: Mapping[str, Any]) -> None:
    known = (*_SETTINGS, *_VARYING, *_ENGINE)
    for key in content:
        if key not in known:
            raise ValueError(f"{key}: a sweep has no such entry; it has {', '.join(known)}.")
    if not any(key in content for key in _VARYING):
        raise ValueError(
            "nothing varies: give vary, runs, draw or seeds, such as "
            "vary: {system.field: [0.5, 1.0]}."
        )


def _commands(given: Any) -> list[list[str]]:
    lines = [given] if isinstance(given, str) else given
    if not isinstance(lines, list) or not lines or not all(isinstance(x, str) for x in lines):
        raise ValueError(
            "command: a sweep runs a command of ritz, such as command: lattice train, or a list "
            f"of such, but {given!r} was given."
        )
    commands = [line.removeprefix("ritz ").split() for line in lines]
    for words in commands:
        known = [*DOMAINS, *(plugin.name for plugin in plugins("domains"))]
        if not words or words[0] not in known:
            raise ValueError(
                f"command: {' '.join(words)!r} is none that a sweep can run; it begins with one of "
                f"{', '.join(known)}."
            )
    domains = dict.fromkeys(words[0] for words in commands)
    if len(domains) > 1:
        raise ValueError(
            "command: those of a run share its folder, and must be of one domain, but "
            f"{' and '.join(domains)} were given."
        )
    return commands


def _check_no_folder(settings: Sequence[Any]) -> None:
    if any(isinstance(own, Mapping) and "folder" in own for own in settings):
        raise ValueError(
            "folder: each run of a sweep has one of its own, named by what differs; give `folder` "
            "beside `command`, not among the settings of runs."
        )


def _tokens(base: Any, config: Any) -> list[str]:
    """The common settings, as they stand on a command line."""
    if not isinstance(base, Mapping):
        raise ValueError(f"base takes settings by their names, but {base!r} was given.")
    if config is not None and not isinstance(config, str):
        raise ValueError(f"config takes the name of a YAML file, but {config!r} was given.")
    found = [] if config is None else ["--config", config]
    return found + _assignments(base)


def _assignments(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`NAME=VALUE` of nested settings; what has a class path is one value."""
    found = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "class_path" not in value and value:
            found += _assignments(value, f"{name}.")
        else:
            found.append(f"{name}={_text(value)}")
    return found


def _text(value: Any) -> str:
    """A value as YAML in one line."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.+/-]*", value)
    return value if plain else json.dumps(value)


def _command_line(
    words: Sequence[str], place: Path, name: str, tokens: Sequence[str], after: str
) -> tuple[str, ...]:
    line = [*words, *tokens, f"folder={place / name}"]
    if after:
        line.append(f"{BEGINNING}={place / after}")
    return tuple(line)


def _neighbours(
    found: Sequence[Variation], along: Any, commands: Sequence[Sequence[str]]
) -> list[int | None]:
    """The number of the run before each along a setting; None for the first ones."""
    is_name = isinstance(along, str) and along != "seed"
    if not is_name or not all(along in varied for varied in found):
        names = ", ".join(name for name in found[0] if name != "seed")
        raise ValueError(
            f"along names a setting other than the seed that varies in all runs, but {along!r} "
            f"was given; there are: {names or 'none'}."
        )
    if not any(words[-1] == "train" for words in commands):
        raise ValueError("along: only trainings begin with the state of another run.")
    last: dict[str, int] = {}
    before = []
    for number, varied in enumerate(found):
        others = json.dumps({k: v for k, v in varied.items() if k != along}, sort_keys=True)
        before.append(last.get(others))
        last[others] = number
    return before


def _count(name: str, value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number from {least} on, but {value!r} was given.")
    return value

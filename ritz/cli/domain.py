"""Domains of the command line: a configuration, and the actions that run with it."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ritz.folders.view import RunView


@dataclasses.dataclass(frozen=True)
class Invocation:
    """A command of a domain, as it was given.

    Args:
        domain: The name of the domain.
        action: The name of the action; empty where the domain has one without a name.
        config: The configuration, of `Domain.kind`.
        text: The configuration as YAML.
        view: What `ritz status` and `ritz plot` show of its runs.
        dry_run: Whether to build everything, run nothing and write nothing.
        anew: Whether the saved run is set aside, and a new one begins.
        progress: Whether to show a progress bar.
    """

    domain: str
    action: str
    config: Any
    text: str
    view: RunView = dataclasses.field(default_factory=RunView)
    dry_run: bool = False
    anew: bool = False
    progress: bool = True

    @property
    def stage(self) -> str:
        """Name of its checkpoints, rows and results: that of the action, or else of the domain."""
        return self.action or self.domain


@dataclasses.dataclass(frozen=True)
class Action:
    """An action of a domain, such as `train`.

    Args:
        text: What it is for, in a sentence.
        run: The function that runs it; it may return an exit status.
        takes_saved: Whether a command without `--config` takes the configuration of the run folder:
            True or False; or the name of a setting or a group, without which it takes it.
        begins_anew: Whether it has the option `--anew`, see `Invocation.anew`.
        computes: Whether it has the options of several processes, see `ritz.cli.processes`.
    """

    text: str
    run: Callable[[Invocation], int | None]
    takes_saved: bool | str = False
    begins_anew: bool = False
    computes: bool = True

    def takes_saved_with(self, given: Collection[str]) -> bool:
        """Whether it takes the configuration of the run folder.

        Args:
            given: The names of the settings that were given, with dots.
        """
        if "config" in given:
            return False
        if isinstance(self.takes_saved, str):
            group = f"{self.takes_saved}."
            return not any(n == self.takes_saved or n.startswith(group) for n in given)
        return self.takes_saved


@dataclasses.dataclass(frozen=True)
class Domain:
    """The command `ritz NAME`, with its configuration and its actions.

    Args:
        kind: The dataclass of the configuration, see `Configuration`; it has a `folder`.
        actions: The actions by name. A domain that does one thing has an action with an empty name,
            and the command is `ritz NAME`.
        files: The setting of the files that may stand on the command line without its name.
        name: The name of the command in the registry.
        view: What `ritz status` and `ritz plot` show of its runs.
        presets: A folder of YAML files that `preset=NAME` names; None for none.
        shorthands: What may be given by a short name beside a preset, see `with_preset`.
    """

    kind: type
    actions: Mapping[str, Action]
    files: str | None = None
    name: str = ""
    view: RunView = dataclasses.field(default_factory=RunView)
    presets: Path | None = None
    shorthands: Mapping[str, str] = dataclasses.field(default_factory=dict)

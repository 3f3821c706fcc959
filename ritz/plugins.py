"""Plug-ins: what installed packages add to Ritz, found by name and run only when it is named."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

KINDS = {
    "callbacks": "a callback",
    "loggers": "a logger",
    "updates": "an update rule",
    "samplers": "a sampler",
    "models": "a wave function or potential",
    "domains": "a domain of the command line",
}
"""The kinds of plug-ins, and what one of each is. Their entry points are in groups `ritz.KIND`."""


@dataclasses.dataclass(frozen=True, order=True)
class Plugin:
    """What a package offers under a name, as its metadata say; nothing of it is imported.

    Args:
        kind: One of `KINDS`.
        name: The name under which configurations and the command line find it.
        path: Where it is, such as "precise.stopping:StopWhenPrecise".
        package: The package that offers it.
        version: The version of that package.
    """

    kind: str
    name: str
    path: str
    package: str
    version: str

    def load(self) -> Any:
        """The class or function itself; its module is imported.

        Raises:
            ImportError: If that fails, for whatever reason: one line that names the package.
        """
        point = importlib.metadata.EntryPoint(self.name, self.path, f"ritz.{self.kind}")
        try:
            return point.load()
        except Exception as error:  # a module of somebody else may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ImportError(
                f"the plug-in {self.name} of {self.package} {self.version} cannot be loaded from "
                f"{self.path}: {reason}"
            ) from error


def plugins(kind: str | None = None) -> list[Plugin]:
    """What installed packages offer, sorted by kind, name and package; nothing is imported.

    Args:
        kind: One of `KINDS`; None for all.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"there are no plug-ins called {kind!r}, but {', '.join(KINDS)}.")
    found = []
    for group in KINDS if kind is None else (kind,):
        for point in importlib.metadata.entry_points(group=f"ritz.{group}"):
            package = point.dist
            name, version = ("", "") if package is None else (package.name, package.version)
            found.append(Plugin(group, point.name, point.value, name, version))
    return sorted(set(found))


def load(kind: str, name: str) -> Any:
    """The class or function that a plug-in offers.

    Args:
        kind: One of `KINDS`.
        name: Its name.

    Raises:
        ValueError: If no plug-in has this name, or several have.
        ImportError: If it cannot be loaded.
    """
    return chosen(plugins(kind), name).load()


def chosen(offered: Sequence[Plugin], name: str) -> Plugin:
    """The only plug-in of a name.

    Raises:
        ValueError: If there is none, or there are several.
    """
    named = [plugin for plugin in offered if plugin.name == name]
    if not named:
        there = ", ".join(sorted({plugin.name for plugin in offered})) or "none"
        raise ValueError(f"no installed plug-in is called {name!r}; there are: {there}.")
    if len(named) > 1:
        ways = " or ".join(f"{plugin.path} ({plugin.package})" for plugin in named)
        raise ValueError(f"several plug-ins are called {name!r}; give the path: {ways}.")
    return named[0]

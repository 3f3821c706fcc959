"""The conformance check of a plug-in: `python -m ritz.cli.plugin_check KIND NAME PATH`."""

import dataclasses
import inspect
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ritz.cli.plugin_contracts import contracts_of
from ritz.plugins import Plugin
from ritz.testing.requirement import require

ARGUMENTS = "check_arguments"
"""Attribute of a class or function: the arguments with which it is checked, if it needs some."""


def check_plugin(plugin: Plugin) -> None:
    """Check what a plug-in offers as `ritz.testing` checks what Ritz has.

    Update rules, callbacks, loggers and samplers of walkers pass their conformance checks; models
    and samplers of lattices must be of a type that configurations take; a domain must be complete.

    Args:
        plugin: The plug-in.

    Raises:
        AssertionError: If a check fails, with the reason.
        ImportError: If it cannot be loaded.
    """
    target = plugin.load()
    if plugin.kind == "domains":
        check_domain(plugin.name, target)
        return
    _check_kind(plugin, target)
    arguments = dict(getattr(target, ARGUMENTS, {}))
    _CHECKS[plugin.kind](lambda: target(**arguments), target)


def _check_kind(plugin: Plugin, target: Any) -> None:
    """Whether configurations take it."""
    contracts = contracts_of(plugin.kind)
    require(
        any(contract.allows(target) for contract in contracts),
        f"{plugin.path} is no {' and no '.join(c.text.partition(' ')[2] for c in contracts)}",
    )
    missing = [
        name
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in getattr(target, ARGUMENTS, {})
    ]
    require(
        plugin.kind == "models" or not missing,
        f"it needs {', '.join(missing)}; give the class an attribute {ARGUMENTS} = {{"
        + ", ".join(f"{name!r}: ..." for name in missing)
        + "}",
    )


def _check_callback(make: Callable[[], Any], target: Any) -> None:
    from ritz.testing import check_callback

    check_callback(make)


def _check_logger(make: Callable[[], Any], target: Any) -> None:
    from ritz.testing import check_logger

    with tempfile.TemporaryDirectory() as folder:
        check_logger(make, Path(folder))


def _check_update(make: Callable[[], Any], target: Any) -> None:
    from ritz.testing import check_update

    check_update(make())


def _check_sampler(make: Callable[[], Any], target: Any) -> None:
    from ritz.samplers import AbstractSampler
    from ritz.testing import check_sampler

    sampler = make()
    if isinstance(sampler, AbstractSampler):
        check_sampler(sampler)


def _check_model(make: Callable[[], Any], target: Any) -> None:
    """Nothing more: what a model is given depends on its domain."""


_CHECKS: dict[str, Callable[[Callable[[], Any], Any], None]] = {
    "callbacks": _check_callback,
    "loggers": _check_logger,
    "updates": _check_update,
    "samplers": _check_sampler,
    "models": _check_model,
}


def check_domain(name: str, domain: Any) -> None:
    """Check that a domain has all that the command line needs.

    Args:
        name: The name of its command.
        domain: The domain.

    Raises:
        AssertionError: If anything is missing.
        ValueError: If one of its examples names nothing.
    """
    from ritz.cli.domain import Domain
    from ritz.cli.settings.parts import part_fields
    from ritz.cli.settings.suggestions import groups
    from ritz.stages.parts import find

    if not isinstance(domain, Domain):
        raise AssertionError(f"{domain!r} is no ritz.cli.domain.Domain")
    fields = {field.name for field in dataclasses.fields(domain.kind)}
    kind: Any = domain.kind
    require("folder" in fields, f"its configuration {kind.__name__} has no folder")
    for word in sorted({part.rpartition(".")[2] for part in part_fields(kind)}):
        for table in ("contracts", "examples"):
            require(word in getattr(kind, table, {}), f"{kind.__name__}.{table} has no {word!r}")
        find(word, kind.examples[word], kind.contracts[word])
    lacking = sorted(set(groups(kind)) - set(kind.examples))
    if lacking:
        raise AssertionError(f"{kind.__name__}.examples has no {lacking[0]!r}")
    require(domain.actions, "it has no actions")
    for action, given in domain.actions.items():
        require(given.text.endswith("."), f"the text of its action {action or name} is no sentence")


def main() -> int:
    """Check the plug-in that the command line names; what fails is the last line of stderr."""
    kind, name, path = sys.argv[1:]
    try:
        check_plugin(Plugin(kind, name, path, "", ""))
    except Exception as error:  # whatever a plug-in raises
        reason = " ".join(str(error).split()) or "it raises an error without a message"
        label = "" if isinstance(error, AssertionError | ImportError) else type(error).__name__
        sys.stderr.write(f"\n{label}{': ' if label else ''}{reason[:400]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

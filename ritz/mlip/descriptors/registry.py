"""Descriptors by their names, as files of potentials call them."""

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def register(known: dict[str, type[T]], kind: type[T]) -> None:
    """Make a class known by its name; a module that runs again replaces its own classes.

    Args:
        known: The classes by name.
        kind: The new one.

    Raises:
        TypeError: If a class of another module has that name.
    """
    name = kind.__name__
    other = known.get(name, kind)
    if _source(other) != _source(kind):
        raise TypeError(
            f"{other.__module__} has a descriptor {name} already, and files of potentials call "
            f"descriptors by their names; give that of {kind.__module__} another name."
        )
    known[name] = kind


def find(known: Mapping[str, type], name: str, asked: type[T]) -> type[T]:
    """The class of a name.

    Args:
        known: The classes by name.
        name: The name.
        asked: What it must be, or a base class of it.

    Raises:
        ValueError: If it is unknown, or another than asked for.
    """
    kind = known.get(name)
    if kind is None:
        raise ValueError(
            f"the descriptor is {name!r}, but only {', '.join(sorted(known))} are known here; "
            "import the module that defines it."
        )
    if not issubclass(kind, asked):
        raise ValueError(
            f"the descriptor is {name!r}, but {asked.__name__} was asked for; {name}.from_header "
            "or AbstractDescriptor.from_header makes it."
        )
    return kind


def with_tuples(value: object) -> Any:
    """A value with tuples in place of lists, which JSON has for both."""
    return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value


def _source(kind: type) -> str:
    """The file that a class is from, or its module where that has none, as in notebooks."""
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__

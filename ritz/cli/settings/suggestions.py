"""Finds the setting that was meant by a wrong name."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from ritz.cli.settings.parts import part_fields
from ritz.cli.settings.spelling import dotted_hints

if TYPE_CHECKING:
    from ritz.stages.contract import Contract

_CLOSE = 0.6
"""Least similarity of two names, from 0 to 1 as in `difflib`, for one to be suggested."""


class Configuration(Protocol):
    """The dataclass of a configuration.

    `contracts` says what class paths may name, and `examples` has one without a module, both by the
    last word of the setting; of groups it has a setting with its value. It may have `instead` too:
    settings, or groups of settings, of another program -> the end of a sentence that says what to
    write for them.
    """

    contracts: ClassVar[Mapping[str, "Contract"]]
    examples: ClassVar[Mapping[str, str]]


def nearest(name: str, kind: type[Configuration], options: Sequence[str] = ()) -> str:
    """The end of a sentence: which setting is nearly `name`, or all that there are in its group.

    Args:
        name: With dots; any of its parts may be mistyped.
        kind: The `Configuration`.
        options: What the command takes besides, such as "--dry_run".
    """
    leaves = [leaf for leaf, _ in dotted_hints(kind)]
    pieces = name.split(".")
    known_elsewhere: Mapping[str, str] = getattr(kind, "instead", {})
    for end in range(len(pieces), 0, -1):
        told = known_elsewhere.get(".".join(pieces[:end]))
        if told is not None:
            return f"; {told}"
    found = _mended(pieces, leaves, part_fields(kind)) if len(pieces) > 1 else None
    near = [found] if found is not None else _by_last_word(pieces, leaves, kind, options)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    group = _group(pieces, leaves)
    there = f"; {'.'.join(group)} has: " if group else "; there are: "
    return f"{there}{', '.join(_below(group, leaves))}."


def groups(kind: type[Configuration]) -> list[str]:
    """The names of all groups of settings."""
    leaves = [leaf for leaf, _ in dotted_hints(kind)]
    return list(dict.fromkeys(leaf.rpartition(".")[0] for leaf in leaves if "." in leaf))


def owner(name: str, kind: type[Configuration]) -> str | None:
    """The setting that `name` is, or of whose class path it is an argument; None if there is none.

    Args:
        name: With dots.
        kind: The `Configuration`.
    """
    if name in dict(dotted_hints(kind)):
        return name
    return next((part for part in part_fields(kind) if name.startswith(f"{part}.")), None)


def _mended(pieces: Sequence[str], leaves: Sequence[str], parts: dict[str, bool]) -> str | None:
    """The name with each word as it is known; what stands behind a class path is left as it is."""
    way: list[str] = []
    for number, piece in enumerate(pieces):
        if ".".join(way) in parts:
            return ".".join([*way, *pieces[number:]])
        close = close_to(piece, _below(way, leaves))
        if not close:
            return None
        way.append(close[0])
    return ".".join(way)


def _by_last_word(
    pieces: Sequence[str], leaves: Sequence[str], kind: type[Configuration], options: Sequence[str]
) -> list[str]:
    """The settings, groups, arguments and options whose own name is closest to the last word."""
    names = [*leaves, *groups(kind), *_arguments(kind)]
    words = {name: name.rpartition(".")[2] for name in names}
    if len(pieces) == 1:
        words |= {option: option.lstrip("-") for option in options}
    close = close_to(pieces[-1], sorted(set(words.values())))
    return [name for name, own in words.items() if own in close]


def _arguments(kind: type[Configuration]) -> Iterator[str]:
    """The dotted names of the arguments that the examples of class paths take."""
    from ritz.stages.parts import find  # which imports JAX

    for part, is_list in part_fields(kind).items():
        word = part.rpartition(".")[2]
        if is_list:
            continue
        try:
            made = find(part, kind.examples[word], kind.contracts[word])
            names = list(inspect.signature(made).parameters)
        except (ValueError, TypeError):  # a package is not installed
            continue
        yield from (f"{part}.{name}" for name in names)


def close_to(word: str, known: Sequence[str]) -> list[str]:
    """The name that is nearest to `word`, if it is near."""
    return difflib.get_close_matches(word, known, n=1, cutoff=_CLOSE)


def _group(pieces: Sequence[str], leaves: Sequence[str]) -> list[str]:
    """The words at the beginning of a name that are known."""
    way: list[str] = []
    for piece in pieces[:-1]:
        if not _below([*way, piece], leaves):
            break
        way.append(piece)
    return way


def _below(way: Sequence[str], leaves: Sequence[str]) -> list[str]:
    """The words that can follow those of a group."""
    prefix = "".join(f"{word}." for word in way)
    found = [leaf[len(prefix) :].partition(".")[0] for leaf in leaves if leaf.startswith(prefix)]
    return list(dict.fromkeys(found))

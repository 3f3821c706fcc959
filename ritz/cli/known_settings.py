"""Which setting a wrong name was meant to be."""

import difflib
from collections.abc import Sequence

from ritz.cli.parts import part_fields
from ritz.cli.spelling import dotted_hints

_CLOSE = 0.6
"""The least similarity of names that are taken for each other, as `difflib` counts it."""


def nearest(name: str, kind: type) -> str:
    """The end of a sentence: which setting is nearly `name`, or all that there are in its group.

    Args:
        name: With dots; any of its parts may be mistyped.
        kind: The dataclass of the configuration.
    """
    leaves = [leaf for leaf, _ in dotted_hints(kind)]
    pieces = name.split(".")
    found = _mended(pieces, leaves, part_fields(kind)) if len(pieces) > 1 else None
    near = [found] if found is not None else _by_last_word(pieces[-1], leaves)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    group = _group(pieces, leaves)
    there = f"; {'.'.join(group)} has: " if group else "; there are: "
    return f"{there}{', '.join(_below(group, leaves))}."


def _mended(pieces: Sequence[str], leaves: Sequence[str], parts: dict[str, bool]) -> str | None:
    """The name with each word as it is known; what stands behind a class path is left as it is."""
    way: list[str] = []
    for number, piece in enumerate(pieces):
        if ".".join(way) in parts:
            return ".".join([*way, *pieces[number:]])
        close = _close(piece, _below(way, leaves))
        if not close:
            return None
        way.append(close[0])
    return ".".join(way)


def _by_last_word(word: str, leaves: Sequence[str]) -> list[str]:
    """The settings and groups whose own name is closest to `word`."""
    groups = dict.fromkeys(leaf.rpartition(".")[0] for leaf in leaves if "." in leaf)
    words = {name: name.rpartition(".")[2] for name in (*leaves, *groups)}
    close = _close(word, sorted(set(words.values())))
    return [name for name, own in words.items() if own in close]


def _close(word: str, known: Sequence[str]) -> list[str]:
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

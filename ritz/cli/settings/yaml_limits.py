"""Limits of the YAML that is read."""

from collections.abc import Iterator

import yaml

MOST_BYTES = 10 * 2**20
DEEPEST = 50
MOST_NODES = 1_000_000
"""Values in a document, where those that an alias repeats count each time."""


def check_yaml(text: str, name: str) -> None:
    """Refuse YAML that is too long, nested too deeply, or too large once aliases are filled in.

    Nothing is built, and no function calls itself, so that any text can be checked.

    Args:
        text: The YAML; what is none passes.
        name: What it is, for messages, such as the path of its file.

    Raises:
        ValueError: With the number and the limit.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"{name}: a configuration has at most {MOST_BYTES // 2**20} MiB, but this one has "
            f"{len(text) / 2**20:.0f}."
        )
    try:
        _check_events(_events(text), name)
    except yaml.YAMLError:
        return  # the parser tells it


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.parse(text, Loader=loader)


def _check_events(events: Iterator[yaml.Event], name: str) -> None:
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    """The anchor of each collection that is open, and the nodes before it."""
    n_nodes = 0
    for event in events:
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, n_nodes))
            n_nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = n_nodes - before
        elif isinstance(event, yaml.AliasEvent):
            n_nodes += sizes.get(event.anchor, 1)
            if any(event.anchor == opened for opened, _ in open_nodes):
                raise ValueError(f"{name}: *{event.anchor} stands within itself.")
        elif isinstance(event, yaml.ScalarEvent):
            n_nodes += 1
            if anchor is not None:
                sizes[anchor] = 1
        _check_counts(name, len(open_nodes), n_nodes)


def _check_counts(name: str, depth: int, n_nodes: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested too deeply: at most {DEEPEST} levels are read.")
    if n_nodes > MOST_NODES:
        raise ValueError(
            f"{name} has too many values: at most {MOST_NODES} are read, and those that an "
            "alias repeats count each time."
        )

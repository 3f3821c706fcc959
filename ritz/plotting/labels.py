"""Labels of runs: the shortest paths that tell them apart."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ritz.folders.columns import READERS


def labels_of(paths: Sequence[str | Path]) -> list[str]:
    """A label for each run, in their order.

    A folder is called by its name, and a log by that of its folder and its own without suffix;
    where labels are the same, parts of the path are put in front until they differ.

    Args:
        paths: Run folders or logs.
    """
    places = [Path(os.path.abspath(path)) for path in paths]
    parts = [_parts(place) for place in places]
    lengths = [
        min(1 if place.is_dir() else 2, len(Path(path).parts) or 1)
        for place, path in zip(places, paths, strict=True)
    ]
    while True:
        labels = ["/".join(names[-n:]) for names, n in zip(parts, lengths, strict=True)]
        counts = Counter(labels)
        longer = [
            min(n + (counts[label] > 1), len(names))
            for label, n, names in zip(labels, lengths, parts, strict=True)
        ]
        if longer == lengths:  # all differ, or the same run is there twice
            return labels
        lengths = longer


def _parts(place: Path) -> tuple[str, ...]:
    is_log = place.suffix in READERS and not place.is_dir()
    names = (place.with_suffix("") if is_log else place).parts[1:]
    return names or (place.anchor,)

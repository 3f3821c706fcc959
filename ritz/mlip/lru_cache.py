"""A cache of what was used last."""

import collections
import threading
from collections.abc import Hashable
from typing import Any


class LRUCache:
    """Cache of the entries that were used last; safe between threads.

    Args:
        size: How many there are at the most; None for any number.
    """

    def __init__(self, size: int | None):
        self.size = size
        self._entries: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Neither entries nor locks are sent to other processes."""
        return {"size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin empty."""
        LRUCache.__init__(self, state["size"])

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether a further entry would push out another."""
        return self.size is not None and len(self) >= self.size

    def get(self, key: Hashable) -> Any:
        """An entry, or None."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, entry: Any) -> None:
        """Store an entry; if the cache is full, the one that was used longest ago goes."""
        if self.size == 0:
            return
        with self._lock:
            self._entries[key] = entry
            while self.size is not None and len(self._entries) > self.size:
                self._entries.popitem(last=False)

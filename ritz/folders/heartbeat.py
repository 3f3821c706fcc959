"""Touches files as long as this process is alive."""

import contextlib
import os
import threading
from pathlib import Path

INTERVAL = 5.0
"""Seconds between two touches."""
PATIENCE = 30.0
"""Seconds without a touch after which a process counts as dead."""


class Heartbeat:
    """Sets the times of files to the present, again and again, in the background."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, path: Path) -> None:
        """Start to touch `path` regularly."""
        self._paths = [*self._paths, path]
        if self._thread is None or self._stop.is_set() or not self._thread.is_alive():
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._beat, args=(self._stop,), daemon=True)
            self._thread.start()

    def remove(self, path: Path) -> None:
        """Stop renewing the time of the lock at `path`; the thread ends with the last one."""
        self._paths = [p for p in self._paths if p != path]
        if not self._paths:
            self._stop.set()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL):
            for path in self._paths:
                with contextlib.suppress(OSError):
                    os.utime(path)

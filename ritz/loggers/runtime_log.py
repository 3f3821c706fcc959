"""A log in memory."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import jax
import orjson

from ritz.loggers.base import AbstractLogger, nothing_to_open
from ritz.loggers.files import atomic_write
from ritz.loggers.history import HistoryDict
from ritz.loggers.tree import append_row, from_layout, histories, to_layout


def _log_path(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix in (".log", ".json") else path.with_name(path.name + ".json")


class RuntimeLog(AbstractLogger):
    """Keeps all rows in memory: `log.data["Energy"]["Mean"]` is an array.

    Appending is O(1) however long the log is. `serialize` saves it in the JSON layout of NetKet
    and `deserialize` loads such a file.
    """

    every_process = True

    def __init__(self) -> None:
        self._data = HistoryDict()
        self._old_step = 0

    @property
    def data(self) -> HistoryDict:
        """The histories by name."""
        return self._data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def open(
        self, working_dir: Path, stage_name: str, initial_step: int = 0
    ) -> contextlib.AbstractContextManager[None]:
        """Drop the rows at or beyond `initial_step`."""
        self.truncate(initial_step)
        return nothing_to_open()

    def truncate(self, step: int) -> None:
        """Drop the rows at or beyond `step`, and quantities that have no other rows."""
        for history in histories(self._data):
            history.truncate(step)
        for key in [k for k, v in self._data.items() if not any(map(len, histories(v)))]:
            del self._data[key]
        self._note_last_step()

    def _note_last_step(self) -> None:
        last = [int(h.iters[-1]) for h in histories(self._data) if len(h)]
        self._old_step = max(last, default=0)

    def write(self, step: int, stats: Mapping[str, Any]) -> None:
        """Append the row."""
        append_row(self._data, step, stats)
        self._old_step = step

    def serialize(self, path: str | Path | IO[bytes]) -> None:
        """Save to a file, through a temporary one; `.json` is added unless it has `.log`."""
        if jax.process_index() != 0:
            return
        content = orjson.dumps(to_layout(self._data), option=orjson.OPT_SERIALIZE_NUMPY)
        if isinstance(path, str | Path):
            atomic_write(_log_path(path), content)
        else:
            path.write(content)

    @classmethod
    def deserialize(cls, path: str | Path) -> "RuntimeLog":
        """Load what `serialize`, or NetKet, saved.

        Raises:
            ValueError: If the file is no such log.
        """
        log = cls()
        path = _log_path(path)
        try:
            log._data = HistoryDict(from_layout(orjson.loads(path.read_bytes())))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no log in JSON layout: {error}") from error
        log._note_last_step()
        return log

    def __repr__(self) -> str:
        return f"RuntimeLog():\n keys = {list(self._data)}"

"""A log in memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import jax
import orjson
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.folders.files import atomic_write
from ritz.html import Markup, never_fails, titled
from ritz.loggers.gathering import GatheringLogger
from ritz.loggers.history import Histories, HistoryDict
from ritz.loggers.plain_rows import Gathered
from ritz.loggers.tree import append_row, from_layout, histories, to_layout
from ritz.types import Row, State


def _log_path(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix in (".log", ".json") else path.with_name(path.name + ".json")


class RuntimeLog(GatheringLogger):
    """Keeps all rows in memory: `log.data["Energy"]["Mean"]` is an array.

    Appending is O(1) however long the log is. `serialize` saves it in the JSON layout of NetKet
    and `deserialize` loads such a file.
    """

    @suggests_names
    def __init__(self) -> None:
        super().__init__()
        self._data = HistoryDict()
        self._old_step = 0

    @property
    def data(self) -> HistoryDict:
        """The logged quantities as histories, by name."""
        self._take_in()
        return self._data

    @override
    def _take_in(self) -> None:
        for gathered in self._gathered():
            self._append(gathered)

    def write_all(self, gathered: Gathered) -> None:
        """Append gathered rows with the names of the last one."""
        self._take_in()
        self._append(gathered)

    def _append(self, gathered: Gathered) -> None:
        for path, fields in gathered.columns.items():
            history: Histories = self._data
            for name in path:
                history = history[name]
            history.extend(gathered.steps, fields)
        self._old_step = int(gathered.steps[-1])

    def __getitem__(self, key: str) -> Histories:
        return self.data[key]

    def state_dict(self) -> State:
        """All rows, which a resumed run keeps."""
        return {"data": to_layout(self.data)}

    @override
    def load_state_dict(self, state: State) -> None:
        self._gathered()
        self._plain.forget()
        self._data = HistoryDict(from_layout(state["data"]))
        self._note_last_step()

    @contextlib.contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Drop the rows at or beyond `initial_step`."""
        self.truncate(initial_step)
        try:
            yield
        finally:
            self._take_in()

    def truncate(self, step: int) -> None:
        """Drop the rows at or beyond `step`, and quantities that have no other rows."""
        self._take_in()
        for history in histories(self._data):
            history.truncate(step)
        for key in [k for k, v in self._data.items() if not any(map(len, histories(v)))]:
            del self._data[key]
        self._note_last_step()
        self._plain.forget()

    def _note_last_step(self) -> None:
        last = [int(h.iters[-1]) for h in histories(self._data) if len(h)]
        self._old_step = max(last, default=0)

    @override
    def write(self, step: int, stats: Row) -> None:
        # In calls by hand, a step may be a time.
        if type(step) is int and self._in_order and self._plain.add(step, stats):
            if self._plain.is_full:
                self._take_in()
        else:
            self._take_in()
            append_row(self._data, step, stats)
            self._plain.expect(stats)
        self._old_step = step

    @property
    def _gathers(self) -> bool:
        return type(self).write is RuntimeLog.write

    def serialize(self, path: str | Path | IO[bytes]) -> None:
        """Save to a file, through a temporary one; `.json` is added unless it has `.log`."""
        if jax.process_index() != 0:
            return
        content = orjson.dumps(to_layout(self.data), option=orjson.OPT_SERIALIZE_NUMPY)
        if isinstance(path, str | Path):
            atomic_write(_log_path(path), content)
        else:
            path.write(content)

    @classmethod
    def deserialize(cls, path: str | Path) -> "RuntimeLog":
        """Load what `serialize`, or NetKet, saved.

        Raises:
            ValueError: If the file is not such a log.
        """
        path = _log_path(path)
        try:
            return cls.of(HistoryDict(from_layout(orjson.loads(path.read_bytes()))))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no log in JSON layout: {error}") from error

    @classmethod
    def of(cls, data: HistoryDict) -> "RuntimeLog":
        """Make a log that holds the given histories."""
        log = cls()
        log._data = data
        log._note_last_step()
        return log

    @never_fails
    def _repr_html_(self) -> str:
        return titled("RuntimeLog", Markup(self.data._repr_html_()))

    def __repr__(self) -> str:
        return f"RuntimeLog():\n keys = {list(self.data)}"

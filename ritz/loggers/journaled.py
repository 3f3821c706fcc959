"""Logs kept as one document, with a journal of the rows that it still lacks."""

import abc
import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
from typing_extensions import override

from ritz.checks import check_count
from ritz.loggers.checksums import RowsLostError, RowSums, check_rows
from ritz.loggers.files import set_aside
from ritz.loggers.gathering import GatheringLogger
from ritz.loggers.history import Histories, HistoryDict
from ritz.loggers.journal import Journal, read_journal, row_line
from ritz.loggers.runtime_log import RuntimeLog
from ritz.loggers.series import Series, flat_series, layout_of, tree_from
from ritz.types import Row, State

MODES = {
    "w": "write",
    "a": "append",
    "x": "fail",
    "write": "write",
    "append": "append",
    "fail": "fail",
}

LONGEST_WAIT = 2.0
"""Seconds after which a document is rewritten although few rows were added, if that is cheap."""


class JournaledLogger(GatheringLogger, abc.ABC):
    """Writes a whole document now and then, and each row at once into a journal beside it.

    Rewriting a document costs more the longer it is. So it is rewritten (to a temporary name, then
    renamed) only when that takes less than the fraction `max_cost` of the time since it was last
    rewritten, and when the run ends. In between, each row is appended to the journal (the rows of
    a block together), and opening the log again takes it from there: a run may be killed at any
    moment and no row is lost.

    Args:
        path: The document, relative to the run's working folder.
        mode: "write" (or "w") starts empty; "append" ("a") keeps the rows before the run's first
            step; "fail" ("x") refuses a path that exists. A second run goes on in each mode.
        write_every: Rows between two rewrites of the document, if that is cheap enough.
        max_cost: The fraction of the time that rewriting may take.
    """

    def __init__(self, path: Path, mode: str, write_every: int, max_cost: float):
        if mode not in MODES:
            raise ValueError(
                f"mode must be one of 'write', 'append', 'fail' (w, a, x), but {mode!r} was given."
            )
        super().__init__()
        self.mode = MODES[mode]
        self.path = path
        self.write_every = check_count("write_every", write_every, 1)
        self.max_cost = max_cost
        self._memory = RuntimeLog()
        self._rows_since = 0
        self._first_open = True
        self._recovered = False
        self._sums = RowSums()
        self._journal: Journal | None = None
        self._document = path
        self._refuse_existing(path)

    @property
    def data(self) -> HistoryDict:
        """All rows in memory, as histories by name."""
        self._take_in()
        return self._memory.data

    def __getitem__(self, key: str) -> Histories:
        return self.data[key]

    @override
    def _take_in(self) -> None:
        for gathered in self._gathered():
            self._rows_since += len(gathered.steps)
            self._memory.write_all(gathered)
            if self._journal is not None:
                self._journal.write_all(gathered)

    @abc.abstractmethod
    def _read_document(self, path: Path) -> RuntimeLog: ...

    @abc.abstractmethod
    def _write_document(self, path: Path) -> None: ...

    def _files(self, document: Path) -> list[Path]:
        return [document]

    def _refuse_existing(self, document: Path) -> None:
        if self.resuming:
            return
        found = [str(p) for p in self._files(document) if p.exists()]
        if self.mode == "fail" and self._first_open and found:
            raise ValueError(
                f"{' and '.join(found)} exist already and mode is 'fail'; remove them, choose "
                "another path, or give mode='append' or mode='write'."
            )

    @contextlib.contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Load the rows before `initial_step`, and open the journal.

        With several processes all keep the rows in memory, and the first one writes.
        """
        if jax.process_index() != 0:
            self._memory.truncate(initial_step)
            try:
                yield
            finally:
                self._take_in()
            return
        document = working_dir / self.path
        self._refuse_existing(document)
        document.parent.mkdir(parents=True, exist_ok=True)
        journal_path = _journal_of(document)
        wanted = self._first_open and (self.mode == "append" or self.resuming)
        if wanted and not self._recovered:
            self._memory = self._read(document)
        self._memory.truncate(initial_step)
        self._recovered, self._sums = False, RowSums()
        self._document, self._first_open = document, False
        self._journal = Journal(journal_path)
        try:
            self._rewrite()
            yield
        finally:
            try:
                self._rewrite()
                journal_path.unlink()
            finally:
                self._journal.close()
                self._journal = None

    def _read(self, document: Path) -> RuntimeLog:
        log = self._read_document(document) if document.exists() else RuntimeLog()
        return with_journal(log, _journal_of(document))

    @override
    def file(self, working_dir: Path, stage_name: str) -> Path:
        return working_dir / self.path

    @override
    def account(self, step: int) -> State | None:
        if jax.process_index() != 0 or self._journal is None:
            return None
        rows = self._sums.account(self.data, step)
        return {"file": self.path.name, **rows, "layout": layout_of(self._memory.data)}

    @override
    def recover(self, working_dir: Path, stage_name: str, step: int, account: State) -> None:
        if not self._first_open:
            return  # the rows are in memory
        document = working_dir / self.path
        try:
            log = self._read(document)
            found = RowSums().account(log.data, step)
        except Exception as error:  # damaged files can raise anything in the readers
            raise RowsLostError(f"{document} cannot be read ({error})") from error
        check_rows(document, found, account)
        log.truncate(step)
        self._memory, self._recovered = log, True

    @override
    def series(self, working_dir: Path, stage_name: str, step: int) -> Mapping[str, Series]:
        return flat_series(self._memory.data)

    def rebuild(
        self,
        working_dir: Path,
        stage_name: str,
        account: State,
        series: Mapping[str, Series],
    ) -> None:
        """Bring the rows into memory; `open` writes them."""
        document = working_dir / self.path
        try:
            tree = tree_from(account["layout"], series)
        except KeyError as error:
            raise RowsLostError(f"{document} cannot be rebuilt without {error}") from error
        check_rows(document, RowSums().account(tree, sys.maxsize), account)
        self.set_aside(working_dir, stage_name)
        self._memory, self._recovered = RuntimeLog.of(tree), True

    @override
    def set_aside(self, working_dir: Path, stage_name: str) -> None:
        document = working_dir / self.path
        set_aside(document)
        set_aside(_journal_of(document))

    @override
    def write(self, step: int, stats: Row) -> None:
        if self._gather(step, stats):
            return
        self._take_in()
        line = b"" if self._journal is None else row_line(step, stats)
        self._rows_since += 1
        self._memory.write(step, stats)
        self._plain.expect(stats)
        if self._journal is None:
            return
        self._journal.write(line, self.hold)
        if self.hold:
            return
        elapsed = time.monotonic() - self._rewritten
        if (self._rows_since >= self.write_every or elapsed > LONGEST_WAIT) and (
            elapsed * self.max_cost >= self._cost
        ):
            self._rewrite()

    def _rewrite(self) -> None:
        start = time.monotonic()
        self._take_in()
        self._write_document(self._document)
        if self._journal is not None:
            self._journal.empty()
        self._rewritten = time.monotonic()
        self._cost = self._rewritten - start
        self._rows_since = 0

    @property
    def _gathers(self) -> bool:
        return type(self).write is JournaledLogger.write

    @override
    def sync(self) -> None:
        if self._journal is not None:
            self._journal.sync()

    @override
    def flush(self, state: object = None) -> None:
        if self._journal is not None and not self._by_hand:
            self._rewrite()
        super().flush(state)


def _journal_of(document: Path) -> Path:
    return document.with_name(document.name + ".journal")


def with_journal(log: RuntimeLog, journal: Path) -> RuntimeLog:
    """`log`, with the rows of the journal added that it lacks."""
    last = log._old_step if log.data else -1
    for step, row in read_journal(journal):
        if step > last:
            log.write(step, row)
    return log

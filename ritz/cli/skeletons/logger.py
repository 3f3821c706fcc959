"""A logger."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ritz.loggers import AbstractLogger
from ritz.types import Row


class StepsLog(AbstractLogger):
    """Writes the step numbers."""

    @contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Write into a file while the context lasts; rows from `initial_step` on are dropped."""
        path = working_dir / f"{stage_name}.steps"
        old = path.read_text().split() if path.exists() else []
        with path.open("w") as self._file:
            self._file.writelines(f"{step}\n" for step in old if int(step) < initial_step)
            yield

    def write(self, step: int, stats: Row) -> None:
        """Write the number of a step; `stats` has its quantities by name."""
        self._file.write(f"{step}\n")

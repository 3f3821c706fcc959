"""A log for TensorBoard."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from ritz.driver.rows import scalars
from ritz.extras import needs
from ritz.loggers.base import AbstractLogger
from ritz.types import Row


class TensorBoardLog(AbstractLogger):
    """Writes scalars for TensorBoard: `Energy/Mean`, and `NAME/re`, `NAME/im` for complex ones.

    After a resume, TensorBoard is told to forget what an interrupted run logged at or beyond the
    first step. Events are written out every ten seconds and when the run ends.

    Args:
        path: The folder, relative to the run's working folder; the stage's name by default.
        metadata: Shown by TensorBoard as text.
        **options: Further arguments of `tensorboardX.SummaryWriter`.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        metadata: Mapping[str, object] | None = None,
        **options: Any,
    ):
        self.path = path
        self.metadata = dict(metadata or {})
        self.options = {"flush_secs": 10, **options}
        self._writer: Any = None

    @contextlib.contextmanager
    @override
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        with needs("TensorBoardLog", "tensorboard"):
            import tensorboardX

        folder = working_dir / (self.path or stage_name)
        purge = {"purge_step": initial_step} if folder.exists() else {}
        self._writer = tensorboardX.SummaryWriter(str(folder), **purge, **self.options)
        if self.metadata:
            text = json.dumps(self.metadata, indent=2, default=str)
            self._writer.add_text("metadata", f"```json\n{text}\n```", global_step=initial_step)
        try:
            yield
        finally:
            self._writer.close()
            self._writer = None

    @override
    def write(self, step: int, stats: Row) -> None:
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore

        values = [Summary.Value(tag=k, simple_value=v) for k, v in scalars(stats, "/")]
        self._writer.file_writer.add_summary(Summary(value=values), step)

    @override
    def flush(self, state: object = None) -> None:
        if self._writer is not None:
            self._writer.flush()
        super().flush(state)

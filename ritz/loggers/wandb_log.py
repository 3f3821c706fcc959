"""A log on Weights & Biases."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from ritz.driver.rows import scalars
from ritz.extras import needs
from ritz.loggers.base import AbstractLogger
from ritz.types import Row


class WandbLog(AbstractLogger):
    """Sends scalars to Weights & Biases: `Energy/Mean`, with `step` as the horizontal axis.

    A second run of the driver, or one resumed with the same `id`, goes on in the same W&B run.
    Rows that were sent cannot be taken back; after a resume the later of two rows with one `step`
    is the right one.

    Args:
        project: The project.
        metadata: The configuration that W&B shows.
        **options: Further arguments of `wandb.init`, such as `mode="offline"` or `id`.
    """

    state_fields = ("run_id",)

    def __init__(
        self, project: str = "ritz", metadata: Mapping[str, object] | None = None, **options: Any
    ):
        self.project = project
        self.metadata = dict(metadata or {})
        self.options = options
        self.run_id: str | None = options.get("id")

    @contextlib.contextmanager
    @override
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        with needs("WandbLog", "wandb"):
            import wandb

        working_dir.mkdir(parents=True, exist_ok=True)
        options = {"dir": str(working_dir), "name": stage_name, **self.options}
        if self.run_id is not None:
            options |= {"id": self.run_id, "resume": options.get("resume", "allow")}
        self._run = wandb.init(project=self.project, config=self.metadata, **options)
        self.run_id = self._run.id
        self._run.define_metric("*", step_metric="step")
        try:
            yield
        finally:
            self._run.finish()

    @override
    def write(self, step: int, stats: Row) -> None:
        self._run.log({"step": step, **dict(scalars(stats, "/"))})

"""A log on an MLflow tracking server or in its files."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import AbstractDriver
from ritz.driver.rows import scalars
from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.loggers.base import AbstractLogger
from ritz.loggers.json_log import packed
from ritz.types import Row

if TYPE_CHECKING:
    from mlflow.entities import Metric


class MLflowLog(AbstractLogger):
    """Sends scalars to MLflow as metrics: `Energy.Mean`, and `NAME.re`, `NAME.im`.

    Metrics are sent in batches. A second run of the driver, or a new logger with the same
    `run_id`, goes on in the same MLflow run. Metrics cannot be taken back; after a resume the
    later of two values with one step is the right one.

    Args:
        experiment: The experiment's name; made if there is none.
        tracking_uri: Where MLflow keeps its data; MLflow's own setting by default.
        run_id: The MLflow run to continue; a new one by default.
        metadata: Tags of a new run.
        save_params_every: Steps between two saves of the state's variables as the artifact
            `parameters/STEP.mpack`; None saves none.
        batch: Number of rows sent together.

    Raises:
        ValueError: If `save_params_every` or `batch` is below 1.
    """

    state_fields = ("run_id",)

    @suggests_names
    def __init__(
        self,
        experiment: str = "ritz",
        tracking_uri: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        save_params_every: int | None = None,
        batch: int = 50,
    ):
        if save_params_every is not None:
            check_count("save_params_every", save_params_every, 1)
        self.experiment = experiment
        self.tracking_uri = tracking_uri
        self.run_id = run_id
        self.metadata = dict(metadata or {})
        self.save_params_every = save_params_every
        self.batch = check_count("batch", batch, 1)
        self._pending: list[Metric] = []
        self._rows = 0

    @contextlib.contextmanager
    @override
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        with needs("MLflowLog", "mlflow"):
            from mlflow import MlflowClient

        self._client = MlflowClient(self.tracking_uri)
        if self.run_id is None:
            found = self._client.get_experiment_by_name(self.experiment)
            experiment = (
                found.experiment_id if found else self._client.create_experiment(self.experiment)
            )
            tags = {str(k): str(v) for k, v in self.metadata.items()}
            run = self._client.create_run(experiment, tags=tags, run_name=stage_name)
            self.run_id = run.info.run_id
        else:
            self._client.update_run(self.run_id, status="RUNNING")
        try:
            yield
        finally:
            self._send()
            self._client.set_terminated(self.run_id)

    @override
    def write(self, step: int, stats: Row) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(k, v, now, step) for k, v in scalars(stats, ".")]
        self._rows += 1
        if self._rows >= self.batch:
            self._send()

    @override
    def sync(self) -> None:
        self._send()

    @override
    def flush(self, state: object = None) -> None:
        self._send()
        super().flush(state)

    def _send(self) -> None:
        """Send what is pending; MLflow takes at most 1000 metrics at once."""
        pending, self._pending, self._rows = self._pending, [], 0
        for start in range(0, len(pending), 1000):
            self._client.log_batch(str(self.run_id), metrics=pending[start : start + 1000])

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        super().before_parameter_update(step, log_data, driver)
        if self._opened is not None and self.is_live(step):
            variables = getattr(driver.state, "variables", None) or driver.parameters
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{step}.mpack"
                file.write_bytes(packed(variables))
                self._client.log_artifact(self.run_id, str(file), "parameters")

    @override
    def is_live(self, step: int) -> bool:
        return self.save_params_every is not None and step % self.save_params_every == 0

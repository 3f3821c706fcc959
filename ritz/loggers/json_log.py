"""A log in NetKet's JSON layout, with the parameters beside it."""

import logging
import time
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import AbstractDriver
from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.loggers.journaled import JournaledLogger
from ritz.loggers.runtime_log import RuntimeLog
from ritz.types import Row

_logger = logging.getLogger(__name__)


class JsonLog(JournaledLogger):
    """Writes `PREFIX.log`, a JSON document as NetKet writes it, and `PREFIX.mpack`.

    The document maps each name to `{"iters": [...], "Mean": [...], ...}` for statistics and to
    `{"iters": [...], "value": [...]}` for other values; complex arrays are `{"real", "imag"}`,
    and NaN and infinities are null. `PREFIX.mpack` holds the variables of the driver's state in
    the format of `flax.serialization`: during the run those after a step that has ended, afterwards
    the last ones.

    Rows are safe at once: those that the document lacks yet are in `PREFIX.log.journal`.

    Args:
        output_prefix: The path without its extension.
        mode: "write" (or "w") starts empty; "append" ("a") keeps the rows before the run's first
            step; "fail" ("x") refuses a prefix that exists. A second run goes on in each mode.
        save_params_every: Steps between two saves of the variables, or more: within a compiled
            block of steps, the variables can be saved after its last one only.
        write_every: Rows between two rewrites of the document, if that is cheap enough.
        save_params: Whether to write the variables.
        autoflush_cost: The fraction of the time that rewriting the document may take.

    Raises:
        ValueError: For an unknown mode, or an existing file in mode "fail".
    """

    idle_in_blocks = ("on_step_end",)

    @suggests_names
    def __init__(
        self,
        output_prefix: str | Path,
        mode: str = "write",
        save_params_every: int = 50,
        write_every: int = 50,
        save_params: bool = True,
        autoflush_cost: float = 0.02,
    ):
        prefix = Path(output_prefix)
        super().__init__(prefix.with_name(prefix.name + ".log"), mode, write_every, autoflush_cost)
        self._prefix = str(output_prefix)
        self.save_params_every = check_count("save_params_every", save_params_every, 1)
        self.save_params = save_params
        self._saved_step: int | None = None
        self._saved_at = self._save_cost = 0.0

    def _files(self, document: Path) -> list[Path]:
        return [document, document.with_suffix(".mpack")]

    def _read_document(self, path: Path) -> RuntimeLog:
        return RuntimeLog.deserialize(path)

    def _write_document(self, path: Path) -> None:
        self._memory.serialize(path)

    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Save the variables if that is due; within a block at its last step."""
        state = driver.settled_state
        if state is not None:
            self._save_if_due(step, state)

    def _save_if_due(self, step: int, state: Any) -> None:
        due = self._saved_step is None or step >= self._saved_step + self.save_params_every
        cheap = (time.monotonic() - self._saved_at) * self.max_cost >= self._save_cost
        if due and cheap:
            self._save(state)
            self._saved_step = step

    def _save(self, state: Any) -> None:
        if not self.save_params or self._journal is None or state is None:
            return
        start = time.monotonic()
        variables = getattr(state, "variables", None) or {"params": state.parameters}
        try:
            content = packed(variables)
        except ModuleNotFoundError as error:
            self.save_params = False
            _logger.warning(
                "%s saves no parameters: %s. Install flax (it comes with the extra `lattice`), or "
                "give save_params=False.",
                self,
                error,
            )
            return
        atomic_write(self._document.with_suffix(".mpack"), content)
        self._saved_at = time.monotonic()
        self._save_cost = self._saved_at - start

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self._saved_step = None
        super().on_run_start(step, driver)

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        try:
            self._save(driver.state)
        finally:
            super().on_run_end(step, driver)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        try:
            self._save(driver.state)
        finally:
            super().on_run_error(step, error, driver)

    def __call__(self, step: int, item: Row, state: object = None) -> None:
        """Write a row, and the variables of `state` if that is due, by hand."""
        super().__call__(step, item, state)
        self._save_if_due(step, state)

    def flush(self, state: object = None) -> None:
        """Rewrite the document, and the variables if `state` is given."""
        self._save(state)
        super().flush(state)

    def __repr__(self) -> str:
        return f"JsonLog({self._prefix!r}, mode={self.mode!r})"


def packed(variables: PyTree) -> bytes:
    """Variables as bytes that `flax.serialization.from_bytes` reads."""
    with needs("Saving parameters", "lattice"):
        from flax import serialization

    return serialization.to_bytes(jax.device_get(variables))

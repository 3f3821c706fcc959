"""A progress bar that counts structures."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from ritz.callbacks.progress_bar import AbstractBar
from ritz.relax.convergence.outcomes import counts_by_outcome
from ritz.relax.driver import Relaxation
from ritz.types import Row


class StructureProgress(AbstractBar):
    """A bar on stderr that shows how many structures have converged, run and have failed.

    In dynamics, which ends after a number of steps, structures are "done" instead.

    Args:
        min_interval: Seconds between two drawings.
    """

    _exit_name = "converged"

    @override
    def open_bar(self, step: int, driver: Relaxation) -> dict[str, Any]:
        self._exit_name = driver.stages.exit_name
        return {"total": len(driver.settled_state), "unit": "structure"}

    @override
    def show(self, done: int, row: Row, driver: Relaxation) -> tuple[float, Sequence[str]]:
        if not row:
            return 0, ()
        counts = counts_by_outcome(row, self._exit_name)
        told = [f"{n} {name}" for name, n in counts.items() if n or name == self._exit_name]
        told += [f"{row['running']} running", f"{row['waiting']} waiting" * bool(row["waiting"])]
        told.append(f"step {done}")
        if "temperature" in row:
            told.append(f"{float(row['temperature']):.0f} K")
        return sum(counts.values()), told

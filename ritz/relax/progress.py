"""A progress bar that counts structures."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from ritz.callbacks.progress_bar import AbstractBar


class StructureProgress(AbstractBar):
    """Shows on stderr how many structures have converged, are running, wait or have failed.

    Args:
        min_interval: Seconds between two drawings.
    """

    @override
    def open_bar(self, step: int, driver: Any) -> dict[str, Any]:
        return {"total": len(driver.settled_state), "unit": "structure"}

    @override
    def show(self, done: int, row: Mapping[str, Any], driver: Any) -> tuple[int, str]:
        if not row:
            return 0, ""
        counts = {name: row[name] for name in ("converged", "unconverged", "failed")}
        told = [f"{n} {name}" for name, n in counts.items() if n or name == "converged"]
        told += [f"{row['running']} running", f"step {done}"]
        return sum(counts.values()), ", ".join(told)

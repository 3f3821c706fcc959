"""Callbacks that belong to every relaxation."""

import logging
from typing import Any

from typing_extensions import override

from ritz.driver.callback import AbstractCallback, CallbackOrder, StopReason, StopRun, never_live
from ritz.relax.convergence.convergence_hook import ConvergenceHook
from ritz.relax.convergence.outcomes import counts_by_outcome
from ritz.types import Row
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_TOLD = 10
"""Number of failed structures that are named at the end of a run."""


class AllFinished(AbstractCallback):
    """Ends the run when no structure runs or waits any more."""

    callback_order = CallbackOrder.STOP
    _left = 0
    _told = ""
    _exit_name = "converged"

    def __init__(self) -> None:
        self._warned: set[int] = set()

    is_live = never_live  # only the row is read
    decides = False  # a block ends where it stops, so that nothing has to be taken back

    @property
    @override
    def label(self) -> str:
        return "Relaxation"

    @override
    def on_run_start(self, step: int, driver: Any) -> None:
        if not driver.n_unfinished:
            raise _finished("all structures have finished")
        self._exit_name = driver.stages.exit_name

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: Any) -> None:
        self._left = log_data["running"] + log_data["waiting"]
        counts = counts_by_outcome(log_data, self._exit_name)
        self._told = ", ".join(f"{n} {name}" for name, n in counts.items() if n)

    def on_step_end(self, step: int, log_data: Row, driver: Any) -> None:
        """Stop after a step in which nothing has moved, so that no block must be undone."""
        if not self._left:
            raise _finished(f"all structures have finished ({self._told})")

    def on_run_end(self, step: int, driver: Any) -> None:
        """Warn once about each structure that has failed, with the reason."""
        state = driver.structures
        reasons = state.reasons
        new = [n for n, why in enumerate(reasons) if why and n not in self._warned]
        self._warned.update(new)
        for place in new[:_TOLD]:
            _logger.warning(
                "Structure %d (%s) has failed: %s.",
                place,
                state.given[place].get_chemical_formula(),
                reasons[place],
            )
        if len(new) > _TOLD:
            _logger.warning("%s failed.", counted(len(new) - _TOLD, "more structure", "has"))


class RegisteredHook(AbstractCallback):
    """Stands for a convergence hook that acts within the compiled step."""

    def __init__(self, hook: ConvergenceHook):
        self.hook = hook

    @property
    @override
    def label(self) -> str:
        return repr(self.hook)


def _finished(message: str) -> StopRun:
    stop = StopRun(message)
    stop.reason = StopReason.FINISHED
    return stop

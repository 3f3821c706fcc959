"""Goes on in a new job when the time of a Slurm job is nearly over."""

import logging
import math
import os
import subprocess
import time
from collections.abc import Sequence

import jax
from typing_extensions import override

from ritz.checkpoint.checkpoint import Checkpoint
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, StopReason, StopRun, never_live
from ritz.driver.processes.consensus import agree
from ritz.driver.signatures import suggests_names
from ritz.types import Row

_logger = logging.getLogger(__name__)

_PATIENCE = 30
"""Time limit of calls of Slurm's programs, in seconds."""
_GRANULARITY = 1
"""Seconds by which the remaining time that Slurm reports may be too long."""
_EXTENDED = 10
"""Smallest shift of a job's end, in seconds, that counts as an extension."""


class SlurmRequeue(AbstractCallback):
    """Stops the run before the time of its Slurm job is over, and puts the job in the queue again.

    The run stops while there is time for another step like the longest so far and for `before`
    seconds more; its `Checkpoint` saves it, and `scontrol requeue` starts the job anew, whose
    script should give `resume=True`. A run that ends by SIGUSR1, as `sbatch --signal=USR1@300`
    sends it, is put in the queue too. Outside of a Slurm job nothing happens. A program of Slurm
    that is missing or fails is a warning.

    The job must allow it: `sbatch --requeue`.

    Args:
        before: Seconds before the end of the job, enough to save and to queue.

    Raises:
        ValueError: If `before` is not positive.
    """

    callback_order = CallbackOrder.STOP
    is_live = never_live  # only the clock is read

    @suggests_names
    def __init__(self, before: float = 300.0):
        self.before = check_number("before", before, 0, strict=True)
        self._job: str | None = None
        self._deadline = math.inf
        self._longest = 0.0
        self._last: float | None = None
        self._due = False

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self._job = os.environ.get("SLURM_JOB_ID")
        self._longest, self._last, self._due = 0.0, None, False
        self._deadline = math.inf
        if self._job is None:
            _logger.info("SlurmRequeue: this is no Slurm job.")
            return
        if not any(isinstance(c, Checkpoint) for c in driver.hooks.callbacks):
            _logger.warning(
                "SlurmRequeue without a Checkpoint: a requeued job would start from the beginning."
            )
        self._deadline = time.monotonic() + self._time_left()

    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Stop if the next step might come too late."""
        now = time.monotonic()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        needed = self.before + self._longest
        if self._deadline - now > needed:
            return
        deadline = time.monotonic() + self._time_left()
        if deadline > self._deadline + _EXTENDED:
            self._deadline = deadline
            return
        self._due = True
        left = self._deadline - time.monotonic()
        stop = StopRun(f"{left:.0f} s are left of the Slurm job {self._job}")
        stop.reason = StopReason.TIMED_OUT
        raise stop

    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        """Requeue the job if the run was stopped for lack of time."""
        announced = driver.stop_reason is StopReason.INTERRUPTED and (
            "SIGUSR1" in driver.stop_message
        )
        due = agree(self._job is not None and (self._due or announced))
        if not due or jax.process_index() != 0:
            return
        if _ask(["scontrol", "requeue", str(self._job)]) is not None:
            _logger.info("SlurmRequeue: job %s is in the queue again.", self._job)

    def _time_left(self) -> float:
        """Seconds until the job ends; infinity if there is no limit, or if it is not known."""
        text = _ask(["squeue", "--noheader", "--jobs", str(self._job), "--format", "%L"])
        left = None if text is None else _seconds(text.strip())
        if left is not None:
            return left - _GRANULARITY
        end = os.environ.get("SLURM_JOB_END_TIME", "")
        if end.isdigit():
            return int(end) - time.time()
        _logger.warning(
            "SlurmRequeue: the time limit of job %s is not known (squeue said %r), so the run will "
            "not stop in time; SIGUSR1 from `sbatch --signal=USR1@%d` would do.",
            self._job,
            text,
            math.ceil(self.before),
        )
        return math.inf


def _ask(command: Sequence[str]) -> str | None:
    """Output of a Slurm program; None, with a warning, if it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        _logger.warning("SlurmRequeue: `%s` failed: %s", " ".join(command), said)
        return None
    return done.stdout


def _seconds(text: str) -> float | None:
    """Seconds in `D-HH:MM:SS`, whose leading parts may be missing."""
    if text == "UNLIMITED":
        return math.inf
    days, dash, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        total = int(days) * 86400 if dash else 0
    except ValueError:
        return None
    for place, part in enumerate(reversed(parts)):
        total += part * 60**place
    return total

"""Ends of a run: the exception that stops it, the reasons, and errors."""

import enum
from collections.abc import Iterable


class StopReason(enum.Enum):
    """Why a run ended; the values are sentences for people. See `AbstractDriver.stop_reason`."""

    FINISHED = "finished all steps"
    STOPPED = "stopped by a callback"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted by a signal"
    CLOSED = "left by the caller before its last step"
    FAILED = "failed with an error"
    DIVERGED = "diverged"


class StopRun(Exception):
    """Raised in any hook to end the run well.

    Every callback still gets the hook in which it was raised, then `on_run_end`, and `run`
    returns normally. The message is kept in `AbstractDriver.stop_message`.
    """

    reason: StopReason = StopReason.STOPPED
    """Value of `AbstractDriver.stop_reason` afterwards; a subclass may set another."""


class StopRequests(StopRun):
    """The stop requests of all callbacks in one hook, joined."""

    def __init__(self, requests: Iterable[tuple[str, StopRun]]):
        """Join `requests`, pairs of a callback's label and what it raised."""
        requests = list(requests)
        reasons = [request.reason for _, request in requests]
        self.reason = reasons[0] if reasons else StopReason.STOPPED
        said = [
            f"stopped by {who}" + f": {stop}" * bool(str(stop)) if who else str(stop)
            for who, stop in requests
        ]
        super().__init__("; ".join(said) or "stopped by another process")


class StepRejectedError(RuntimeError):
    """One step was rejected `max_attempts` times in a row."""


class DeferredAccessError(RuntimeError):
    """A deferred callback asked for the driver's state, which only live callbacks may use."""

    def __init__(self, what: str, step: int, block: range):
        super().__init__(what, step, block)
        self.what, self.step, self.block = what, step, block
        self.who = "a callback"

    def __str__(self) -> str:
        first, last = self.block[0], self.block[-1]
        steps = f"step {first}" if first == last else f"the steps {first}-{last}"
        return (
            f"{self.who} {self.what} at step {self.step} while {steps} ran as one block; return "
            "True from is_live at the steps where it needs the driver's state."
        )

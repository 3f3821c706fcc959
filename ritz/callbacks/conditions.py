"""Stop conditions, and their combination by `&` and `|`."""

import abc

from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, StopReason, StopRun, never_live
from ritz.types import Row, State


class StopCondition(AbstractCallback, abc.ABC):
    """A callback that ends the run when `should_stop` gives a reason.

    It decides in `before_parameter_update`, after all other callbacks: the row is logged, and the
    parameters it leaves are those whose loss met the criterion. If only `on_step_end` is called,
    as when somebody calls it by hand, it decides there. When time is up, which says nothing about
    the loss, the step is finished first: a run that is resumed goes on right after it.

    `A & B` stops when both would at the same step, `A | B` when either would.
    """

    callback_order = CallbackOrder.STOP
    reason: StopReason = StopReason.STOPPED

    _decided: int | None = None
    _stopped = False
    _postponed: StopRun | None = None

    @abc.abstractmethod
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        """Take note of this step; return why the run should stop, or None.

        Called once for each accepted step, in order.
        """

    def rearm(self) -> None:
        """Reset the counters; called when a run starts after this condition ended the last one."""

    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        """Reset the counters if this condition ended the last run, otherwise go on counting."""
        self._decided = self._postponed = None
        if self._stopped:
            self._stopped = False
            self.rearm()

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        self._decided = step
        stop = self._decide(step, log_data, driver)
        if stop is None:
            return
        if stop.reason is not StopReason.TIMED_OUT:
            raise stop
        self._postponed = stop
        driver.hooks.stop_late(stop)

    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Raise a stop that waited for the end of the step, or decide if nobody did before."""
        decided, self._decided = self._decided, None
        if decided is not None and decided == step:
            if self._postponed is None:
                return
            stop, self._postponed = self._postponed, None
        else:
            stop, self._postponed = self._decide(step, log_data, driver), None
        if stop is not None:
            raise stop

    def _decide(self, step: int, log_data: Row, driver: AbstractDriver) -> StopRun | None:
        try:
            message = self.should_stop(step, log_data, driver)
        except StopRun:  # the monitored quantity is not finite
            self._stopped = True
            raise
        if message is None:
            return None
        self._stopped = True
        stop = StopRun(message)
        stop.reason = self.reason
        return stop

    is_live = never_live

    @property
    def deciding_hooks(self) -> tuple[str, ...]:
        """`before_parameter_update`, where a stop at the end of the step is known already."""
        return ("before_parameter_update",)

    def __and__(self, other: "StopCondition") -> "AllOf":
        return AllOf(self, other) if isinstance(other, StopCondition) else NotImplemented

    def __or__(self, other: "StopCondition") -> "AnyOf":
        return AnyOf(self, other) if isinstance(other, StopCondition) else NotImplemented


class _Combination(StopCondition):
    """Several conditions, each of which is asked at every step."""

    symbol: str

    def __init__(self, *conditions: StopCondition):
        for condition in conditions:
            if not isinstance(condition, StopCondition):
                raise TypeError(
                    f"only stop conditions can be combined, but {condition!r} was given."
                )
        self.conditions = conditions

    @property
    @override
    def state_key(self) -> str:
        return "(" + f" {self.symbol} ".join(c.state_key for c in self.conditions) + ")"

    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        """Start every condition; reset all if the combination ended the last run."""
        for condition in self.conditions:
            condition._stopped = self._stopped
            condition.on_run_start(step, driver)
        super().on_run_start(step, driver)

    @override
    def on_compute_update_end(self, step: int, log_data: Row, driver: AbstractDriver) -> bool:
        answers = [c.on_compute_update_end(step, log_data, driver) for c in self.conditions]
        return any(bool(answer) for answer in answers)

    @override
    def is_live(self, step: int) -> bool:
        return any(c.is_live(step) for c in self.conditions)

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        for condition in self.conditions:
            condition.on_run_end(step, driver)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        for condition in self.conditions:
            condition.on_run_error(step, error, driver)

    def _messages(self, step: int, log_data: Row, driver: AbstractDriver) -> list[str]:
        said = [(c, c.should_stop(step, log_data, driver)) for c in self.conditions]
        met = [(c, why) for c, why in said if why is not None]
        self.reason = met[0][0].reason if met else StopReason.STOPPED
        return [f"{c.state_key}: {why}" for c, why in met]

    @override
    def state_dict(self) -> State:
        return {"conditions": [c.state_dict() for c in self.conditions]}

    @override
    def load_state_dict(self, state: State) -> None:
        for condition, saved in zip(self.conditions, state["conditions"], strict=True):
            condition.load_state_dict(saved)


class AllOf(_Combination):
    """Stops at the first step at which all conditions would."""

    symbol = "&"

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        messages = self._messages(step, log_data, driver)
        return " and ".join(messages) if len(messages) == len(self.conditions) else None


class AnyOf(_Combination):
    """Stops at the first step at which any of the conditions would."""

    symbol = "|"

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        return " and ".join(self._messages(step, log_data, driver)) or None

"""Decisions that the processes of a run take together, with one gather per block or live step.

In a block each process calls its hooks until one of them decides something, or to the block's end,
and then gathers. The earliest decision of any process counts. A process that went on beyond it goes
back: its callbacks get the states that they had there. What loggers would have written is held
until then, so that what is logged stays true.

In a live step all processes call the same hooks, since some of them compute together. What is
decided is noted, and gathered where it must act at the latest.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ritz.driver.callback import STEP_HOOKS, AbstractCallback, Calls
from ritz.driver.processes.consensus import (
    NEVER,
    Failure,
    agree_on_least,
    blame,
    gather,
    is_shared,
    poll,
)
from ritz.driver.processes.waiting_loggers import HookPoint, WaitingLoggers
from ritz.driver.processes.watchdog import publish
from ritz.driver.stop import StopReason, StopRequests, StopRun
from ritz.types import Row

if TYPE_CHECKING:
    from ritz.driver.processes.signals import SignalGuard

_logger = logging.getLogger(__name__)

_NONE, _CUT, _REJECT, _STOP, _FAIL = range(5)
"""Decision of a process; of several at one point the highest counts."""

_REJECTING, _LOGGING, _ENDING = (STEP_HOOKS.index(hook) for hook in STEP_HOOKS[2:])
_CUTTING, _LAST = _ENDING + 1, _ENDING + 2
_MOST_WISHES = 31
_REASONS = list(StopReason)


class Voter(Protocol):
    """Interface of a driver that `Votes` uses; see `ritz.driver.stepping.Stepping`."""

    @property
    def block(self) -> range | None: ...  # noqa: D102
    @property
    def step_count(self) -> int: ...  # noqa: D102
    @property
    def may_reject(self) -> bool: ...  # noqa: D102
    @property
    def waits_for_step(self) -> bool: ...  # noqa: D102
    def plan_block(self, first: int) -> int: ...  # noqa: D102
    def take_back(self, step: int, filled: bool, counted: bool) -> bool: ...  # noqa: D102
    def settle(self) -> None: ...  # noqa: D102


class StepsTakenBack(Exception):
    """Steps of a block were taken back, since another process rejected one or cut the block.

    Args:
        rejections: How often the next step was rejected before.
    """

    def __init__(self, rejections: int):
        super().__init__()
        self.rejections = rejections


class Votes:
    """The decisions of one run in several processes.

    Args:
        callbacks: All callbacks of the run.
    """

    def __init__(self, callbacks: Sequence[AbstractCallback]):
        self.signals: SignalGuard | None = None
        self.failure: Failure | None = None
        """The error of this process, until the other processes know it."""
        self._callbacks = callbacks
        self._loggers = WaitingLoggers(callbacks)
        self._at: frozenset[int] = frozenset()
        self._stops: list[tuple[str, StopRun]] = []
        self._late: StopRun | None = None
        self._late_reasons: list[int] = []
        self._wishes = self._granted = 0
        self._plan: int | None = None

    # Before the steps.

    def begin(self, driver: Voter, stops: Sequence[object]) -> bool:
        """Gather what happened in `on_run_start`, and learn where live steps need a vote.

        Returns:
            Whether any process is to stop.
        """
        hooks = {STEP_HOOKS.index(h) for c in self._callbacks for h in c.deciding_hooks}
        if driver.may_reject:
            hooks.add(_REJECTING)
        places = {max(hook, _REJECTING) for hook in hooks}  # until then nothing has moved
        mask = sum(1 << place for place in places)
        table = gather((int(bool(stops)), mask, self._signal), self.failure)
        union = int(np.bitwise_or.reduce(table[:, 1]))
        self._at = frozenset(i for i in range(len(STEP_HOOKS)) if union >> i & 1)
        self._at = self._at or frozenset({_LOGGING})
        self._take_signal(table[:, 2])
        return bool(np.any(table[:, 0]))

    def plan(self, propose: Callable[[], int]) -> int:
        """Length of the next block, 0 for a live step; `propose` returns that of this process.

        It is known from the last vote, unless that has ended a block early.
        """
        plan, self._plan = self._plan, None
        return agree_on_least(propose()) if plan is None else plan

    # In a step.

    def call(
        self,
        hook: str,
        calls: Calls,
        ask: Callable[..., tuple[Sequence[tuple[str, StopRun]], Sequence[AbstractCallback]]],
        args: tuple[int, Row, Voter],
    ) -> Sequence[AbstractCallback]:
        """Call a hook and note what it decides; vote if this is the place.

        Args:
            hook: Its name.
            calls: Callbacks and their methods.
            ask: Makes the calls: `(hook, calls, args) -> (stop requests, callbacks that said yes)`.
            args: Arguments of the hook.

        Returns:
            The callbacks that answered with a true value.
        """
        step, _, driver = args
        point = HookPoint(step, STEP_HOOKS.index(hook))
        block = driver.block
        said_yes: Sequence[AbstractCallback] = ()
        if self.failure is None:
            if block is not None:
                self._loggers.note_states(point, block, calls)
                calls = self._loggers.hold(point, calls)
            try:
                stops, said_yes = ask(hook, calls, args)
                self._stops += stops
            except Exception as error:
                if is_shared(error):
                    raise
                self._fail(error, step, error.__dict__.get("_callback", hook))
            if block is not None:
                self._loggers.note_states(point, None, calls)
        if point.hook != _REJECTING and self._must_vote(point, driver):
            self._vote(point, driver, _NONE)
        return said_yes

    def rejected(self, step: int, by: Sequence[str], driver: Voter) -> bool:
        """Whether any process rejects the attempt; called after `on_compute_update_end`."""
        point = HookPoint(step, _REJECTING)
        if by or self._must_vote(point, driver):
            return self._vote(point, driver, _REJECT if by else _NONE)
        return False

    def _must_vote(self, point: HookPoint, driver: Voter) -> bool:
        decided = bool(self._stops) or self.failure is not None
        block = driver.block
        if block is not None:
            ends = point.step == block[-1] or driver.waits_for_step
            return decided or (point.hook == _ENDING and ends)
        if point.hook == _ENDING and self._late_reasons:
            self._stop(self._late_reasons)
        return point.hook in self._at

    def _fail(self, error: BaseException, step: int, where: str) -> None:
        self.failure = Failure(error, f"at step {step} in {where}")
        publish(str(self.failure))

    def act(self, action: Callable[[], None], step: int) -> None:
        """Do something at the end of a step; an error is told at the next vote."""
        try:
            action()
        except Exception as error:
            if is_shared(error):
                raise
            self._fail(error, step, "an action of `driver.after_step`")

    # Wishes.

    def stop_late(self, stop: StopRun) -> None:
        """Note in `before_parameter_update` what this process will raise in `on_step_end`."""
        self._late = stop

    def wish(self, callback: AbstractCallback) -> None:
        """Request an action that `callback` takes on all processes together."""
        self._wishes |= self._bit(callback)

    def granted(self, callback: AbstractCallback) -> bool:
        """Whether any process had requested it at the last vote."""
        bit = self._bit(callback)
        granted = bool(self._granted & bit)
        if granted:
            self._granted &= ~bit
            self._wishes &= ~bit
        return granted

    def _bit(self, callback: AbstractCallback) -> int:
        index = next(i for i, c in enumerate(self._callbacks) if c is callback)
        return 1 << index % (_MOST_WISHES - 1)

    @property
    def _signal(self) -> int:
        received = None if self.signals is None else self.signals.received
        return 0 if received is None else int(received)

    def _take_signal(self, numbers: np.ndarray) -> None:
        if self.signals is not None and np.any(numbers):
            self.signals.agree_on(int(np.max(numbers)))

    # The vote.

    def _vote(self, point: HookPoint, driver: Voter, kind: int) -> bool:
        """Gather the decisions of all processes, and act on the earliest.

        Returns:
            Whether the step at `point` is rejected.

        Raises:
            StopRun: If the run is stopped.
            StepsTakenBack: If this process went back to an earlier step.
            BaseException: See `blame`.
        """
        in_block = driver.block is not None
        kind, point = self._decision(point, driver, kind)
        stop = self._stops[0][1] if self._stops else self._late
        reason = 0 if stop is None else _REASONS.index(stop.reason)
        plan = -1
        if in_block or point.hook == max(self._at):
            plan = driver.plan_block(point.step + 1)
        wishes, self._wishes = self._wishes, 0
        more = (self._signal << 8 | reason << 1 | (self._late is not None), wishes, plan)
        table, failed = poll((*point, kind, *more), self.failure, meet=not in_block)
        first = HookPoint(*min((int(step), int(hook)) for step, hook in table[:, :2]))
        kinds = np.where((table[:, :2] == first).all(axis=1), table[:, 2], _NONE)
        decision = int(np.max(kinds))
        reasons, late = table[:, 3] >> 1 & 0x7F, table[:, 3] & 1 == 1
        self._late, self._late_reasons = None, [] if in_block else reasons[late].tolist()
        self._take_signal(table[:, 3] >> 8)
        self._granted = int(np.bitwise_or.reduce(table[:, 4]))
        self._plan = int(np.min(table[:, 5])) if decision == _NONE and plan >= 0 else None
        ended = first.step == point.step and first.hook >= _ENDING  # nothing was done since
        back = first < point and not ended and self._go_back(first, driver)
        failure, self.failure = self.failure, None
        self._commit(first if back else point)
        if len(failed):
            self._stops = []
            blame(failed, failure)
        if decision == _STOP:
            self._stop(reasons[kinds == _STOP].tolist(), own=not back)
        if back:
            self._stops = []
            if decision == _CUT:
                driver.settle()
            raise StepsTakenBack(int(decision == _REJECT))
        return decision == _REJECT

    def _decision(self, point: HookPoint, driver: Voter, kind: int) -> tuple[int, HookPoint]:
        if self.failure is not None:
            return _FAIL, point
        if self._stops:
            return _STOP, point
        block = driver.block
        if kind == _NONE and block is not None:
            last = point.step == block[-1]
            return (
                (_NONE, HookPoint(point.step, _LAST))
                if last
                else (_CUT, HookPoint(point.step, _CUTTING))
            )
        return kind, point

    def _stop(self, reasons: Sequence[int], own: bool = True) -> None:
        stops, self._stops = self._stops, []
        request = StopRequests(stops if own else [])
        if not (stops and own) and len(reasons):
            request.reason = _REASONS[reasons[0]]
        raise request

    def _commit(self, until: HookPoint) -> None:
        """Let the loggers write what was agreed on; an error is told at the next gather."""
        failed = self._loggers.commit(until, self.failure is None)
        if failed is not None:
            error, step, where = failed
            self._fail(error, step, where)

    def _go_back(self, first: HookPoint, driver: Voter) -> bool:
        """Go back to `first`; return whether that was possible."""
        filled, counted = first.hook >= _LOGGING, first.hook >= _ENDING
        if not driver.take_back(first.step, filled, counted):
            return False
        self._loggers.go_back(first)
        _logger.debug("Went back to step %d, where another process decided.", driver.step_count)
        return True

    # After the steps.

    def settle(self) -> None:
        """Write the held rows when the steps are left without a vote."""
        if self._loggers:
            self._commit(HookPoint(NEVER, _LAST))

    def check(self) -> None:
        """Make sure that no process has failed since the last vote."""
        failure, self.failure = self.failure, None
        gather((), failure)

    def end(self, failure: Failure | None) -> None:
        """Tell the others how `on_run_end` went, and learn of signals since the last vote."""
        self._take_signal(gather((self._signal,), failure))

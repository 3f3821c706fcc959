"""Calls one hook on all callbacks, in order, and collects what they decide."""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ritz.driver.callback import HOOKS, AbstractCallback, Call, Calls, Hook, has_state, overrides
from ritz.driver.divergence import DivergedError
from ritz.driver.processes.consensus import Failure, announce, is_shared, is_single_process
from ritz.driver.processes.signals import SignalGuard
from ritz.driver.processes.votes import Votes
from ritz.driver.stop import DeferredAccessError, StopRequests, StopRun
from ritz.html import never_fails, table
from ritz.types import State

if TYPE_CHECKING:
    from ritz.driver.stepping import Stepping

_logger = logging.getLogger(__name__)

CHECKED = "before_parameter_update"
"""The hook after which the driver checks that loss and update are finite."""

_WRITTEN = "on_step_end"
"""The hook in which the row of the step has been written."""

Wrapper = Callable[[AbstractCallback, str, Hook], Hook]


class CallbackTable(tuple[AbstractCallback, ...]):
    """Callbacks in calling order; prints as a table."""

    def __repr__(self) -> str:
        rows = [f"{c.callback_order:>6}  {c.label}" for c in self]
        return "\n".join([" order  callback", *rows])

    @never_fails
    def _repr_html_(self) -> str:
        return table(((c.callback_order, c.label) for c in self), ("order", "callback"))


class HookList:
    """The callbacks of one run, sorted by order; ties keep the order in which they were given."""

    def __init__(self, callbacks: Iterable[AbstractCallback]):
        self.callbacks = tuple(sorted(callbacks, key=lambda c: c.callback_order))
        self._begun: list[AbstractCallback] = []
        self.votes = None if is_single_process() else Votes(self.callbacks)
        """Joint decisions of several processes; None if there is one process."""
        self._saved: Mapping[str, State] = {}
        self._ended: StopRun | None = None
        self._calls = {hook: self._overriding(hook) for hook in HOOKS}
        self._has_told = False

    def _overriding(self, hook: str) -> list[Call]:
        return [(c, getattr(c, hook)) for c in self.callbacks if overrides(c, hook)]

    def instrument(self, wrap: Wrapper) -> None:
        """Replace each call by `wrap(callback, hook, call)`, for example to time it."""
        for hook, calls in self._calls.items():
            self._calls[hook] = [(c, wrap(c, hook, call)) for c, call in calls]

    @property
    def stateful(self) -> dict[str, AbstractCallback]:
        """The callbacks with a state, by their keys."""
        return {c.state_key: c for c in self.callbacks if has_state(c)}

    def load(self, states: Mapping[str, State], ended: StopRun | None = None) -> None:
        """Give the callbacks the states of a saved run, now and again when they were started.

        Args:
            states: State key -> state.
            ended: The message with which a callback ended the saved run, if one did.
        """
        self._saved, self._ended = states, ended
        self._load()

    def _load(self) -> None:
        stateful = self.stateful
        for key, state in self._saved.items():
            stateful[key].load_state_dict(state)

    def calls(self, hook: str) -> Calls:
        """The callbacks that have this hook, with their methods."""
        return self._calls[hook]

    def call(self, hook: str, *args: Any) -> Sequence[AbstractCallback]:
        """Call `hook` on all callbacks.

        Returns:
            The callbacks that answered with a true value.

        Raises:
            StopRequests: When all were called and at least one raised `StopRun`.
            BaseException: The first other exception, at once.
        """
        calls = self._calls[hook]
        if self.votes is not None:
            return self.votes.call(hook, calls, self.ask, args)  # type: ignore[arg-type]
        if not calls:
            if hook == CHECKED:
                args[-1].check_finite()
            return ()
        size = len(args[1]) if hook == _WRITTEN else 0
        stops, said_yes = self.ask(hook, calls, args)
        if hook == _WRITTEN and len(args[1]) > size:
            self._tell_late(list(args[1])[size:])
        if stops:
            raise StopRequests(stops)
        return said_yes

    def _tell_late(self, names: Sequence[str]) -> None:
        """Warn, once, of what was added to a row that has been written."""
        if not self._has_told:
            _logger.warning(
                "%s: added to a row in on_step_end or on_epoch_end, when it was written, so in "
                "no log; add it in before_parameter_update instead.",
                ", ".join(names),
            )
        self._has_told = True

    def ask(
        self, hook: str, calls: Iterable[Call], args: tuple[Any, ...]
    ) -> tuple[Sequence[tuple[str, StopRun]], Sequence[AbstractCallback]]:
        """Make some calls of `hook`; return stop requests and the callbacks that answered true."""
        stops: Sequence[tuple[str, StopRun]] = ()
        said_yes: Sequence[AbstractCallback] = ()
        callback = None
        try:
            for callback, call in calls:
                try:
                    answer = call(*args)
                except StopRun as stop:
                    stops = [*stops, (callback.label, stop)]
                    continue
                if answer is not None and self._is_true(answer, callback, hook):
                    said_yes = [*said_yes, callback]
            if hook == CHECKED:
                callback = None
                args[-1].check_finite()
        except DivergedError as stop:
            stops = [("", stop), *stops]
        except BaseException as error:
            if isinstance(error, DeferredAccessError) and callback is not None:
                error.who = callback.label
            if self.votes is not None and callback is not None:
                error.__dict__["_callback"] = f"{callback.label}.{hook}"
            raise
        return stops, said_yes

    def rejected(self, step: int, by: Sequence[str], driver: "Stepping") -> bool:
        """Whether a callback of this process, or another process, rejects the attempt."""
        return bool(by) if self.votes is None else self.votes.rejected(step, by, driver)

    @staticmethod
    def _is_true(answer: object, callback: AbstractCallback, hook: str) -> bool:
        if hook != "on_compute_update_end":
            return False
        try:
            return bool(answer)
        except ValueError as error:
            raise TypeError(
                f"{callback.label}.on_compute_update_end returned {answer!r}, which is neither "
                "true nor false; return True to reject the step and False or None to accept it."
            ) from error

    def start(self, step: int, driver: "Stepping", signals: SignalGuard) -> None:
        """Call `on_run_start`, and note the callbacks on which it was called."""
        self._begun = []
        stops: list[tuple[str, StopRun]] = []
        for callback in self.callbacks:
            self._begun.append(callback)
            try:
                # Looked up now: the first callback may have instrumented the others.
                for owner, call in self._calls["on_run_start"]:
                    if owner is callback:
                        call(step, driver)
            except StopRun as stop:
                stops.append((callback.label, stop))
            except BaseException as error:
                error.__dict__["_callback"] = f"{callback.label}.on_run_start"
                raise
        self._load()
        ended, self._saved, self._ended = self._ended, {}, None
        if self.votes is not None:
            self.votes.signals = signals
        if stops if self.votes is None else self.votes.begin(driver, stops):
            raise StopRequests(stops)
        if ended is not None:
            raise ended

    def plan(self, propose: Callable[[], int]) -> int:
        """Length of the next block, agreed among all processes; 0 for a live step."""
        return propose() if self.votes is None else self.votes.plan(propose)

    def act(self, action: Callable[[], None], step: int) -> None:
        """Run an action that a callback left for the end of a step."""
        if self.votes is None:
            action()
        else:
            self.votes.act(action, step)

    def stop_late(self, stop: StopRun) -> None:
        """Announce in `before_parameter_update` a stop that `on_step_end` will raise."""
        if self.votes is not None:
            self.votes.stop_late(stop)

    def wish(self, callback: AbstractCallback, wanted: bool) -> Callable[[], bool]:
        """Request an action that all processes take together if any of them wants it.

        Args:
            callback: The callback that asks, in `on_step_end`.
            wanted: Whether this process wants it.

        Returns:
            A function that says, in an action of `driver.after_step`, whether to do it now.
        """
        votes = self.votes
        if votes is None:
            return lambda: wanted
        if wanted:
            votes.wish(callback)
        return lambda: votes.granted(callback)

    def announce_error(self, step: int) -> None:
        """Tell the other processes of the error, if any, by which the steps are being left."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, GeneratorExit | StopRun):
            announce(self._failure(f"at step {step}", error), step)

    def settle(self) -> None:
        """Called when the steps have ended: loggers get the rows that were held back."""
        if self.votes is not None:
            self.votes.settle()

    def check(self) -> None:
        """Called when the steps have ended well here: raises if a process has failed since."""
        if self.votes is not None:
            self.votes.check()

    def end(self, step: int, driver: "Stepping") -> None:
        """Call `on_run_end` of all started callbacks, then raise the first error, if any."""
        errors: list[BaseException] = []
        try:
            driver.run_state.leave_steps()
        except BaseException as error:
            errors.append(error)
        errors += self._finish("on_run_end", step, driver)
        for later in errors[1:]:
            errors[0].add_note(f"Another callback failed in on_run_end: {later!r}")
        if self.votes is not None and not any(map(is_shared, errors)):
            self.votes.end(self._failure("at the end of the run", errors[0]) if errors else None)
        if errors:
            raise errors[0]

    def fail(self, step: int, error: BaseException, driver: "Stepping") -> None:
        """Call `on_run_error` of all started callbacks; errors there become notes on `error`."""
        announce(self._failure(f"at step {step}", error), step)
        for later in self._finish("on_run_error", step, error, driver):
            error.add_note(f"A callback failed in on_run_error: {later!r}")

    def leave(self, step: int, error: BaseException, driver: "Stepping") -> None:
        """Call `on_run_error` from another thread, for a run that hangs; see `watchdog`."""
        for later in self._finish("on_run_error", step, error, driver):
            _logger.error("A callback failed in on_run_error: %r", later)

    @staticmethod
    def _failure(when: str, error: BaseException) -> Failure:
        where = error.__dict__.get("_callback")
        return Failure(error, when if where is None else f"{when} in {where}")

    def _finish(self, hook: str, *args: object) -> list[BaseException]:
        errors: list[BaseException] = []
        all_begun, self._begun = self._begun, []
        for callback, call in self._calls[hook]:
            if not any(callback is begun for begun in all_begun):
                continue
            try:
                call(*args)
            except StopRun:
                _logger.debug("%s raised StopRun in %s, where it has no effect", callback, hook)
            except BaseException as error:
                error.__dict__.setdefault("_callback", f"{callback.label}.{hook}")
                errors.append(error)
        return errors

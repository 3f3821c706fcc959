"""Calls one hook on all callbacks, in order, and collects what they decide."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ritz.driver.callback import HOOKS, AbstractCallback, has_state, has_step_hooks, overrides
from ritz.driver.consensus import agree, alone
from ritz.driver.stop import DeferredAccessError, StopReason, StopRun

_logger = logging.getLogger(__name__)

Wrapper = Callable[[AbstractCallback, str, Callable[..., Any]], Callable[..., Any]]


class CallbackTable(tuple[AbstractCallback, ...]):
    """Callbacks in calling order; prints as a table."""

    def __repr__(self) -> str:
        rows = [f"{c.callback_order:>6}  {c.label}" for c in self]
        return "\n".join([" order  callback", *rows])


class StopRequests(StopRun):
    """The stop requests of all callbacks in one hook, joined."""

    def __init__(self, requests: Iterable[tuple[str, StopRun]]):
        """Join `requests`, pairs of a callback's label and what it raised."""
        requests = list(requests)
        reasons = [request.reason for _, request in requests]
        self.reason = reasons[0] if reasons else StopReason.STOPPED
        said = [f"stopped by {who}" + f": {stop}" * bool(str(stop)) for who, stop in requests]
        super().__init__("; ".join(said) or "stopped by another process")


class HookList:
    """The callbacks of one run, sorted by order; ties keep the order in which they were given."""

    def __init__(self, callbacks: Iterable[AbstractCallback]):
        self.callbacks = tuple(sorted(callbacks, key=lambda c: c.callback_order))
        self._begun: list[AbstractCallback] = []
        self._alone = alone()
        self._traced = [c for c in self.callbacks if c.has_traced]
        self._deciding = any(c.decides and has_step_hooks(c) for c in self.callbacks)
        by_default = [c for c in self.callbacks if not overrides(c, "is_live")]
        self._always_live = any(c.is_live(0) for c in by_default)
        self._asked = [c for c in self.callbacks if overrides(c, "is_live")]
        self._ending = [c for c in self.callbacks if overrides(c, "ends_block")]
        self._saved: Mapping[str, Mapping[str, Any]] = {}
        self._ended: StopRun | None = None
        self._calls = {hook: self._overriding(hook) for hook in HOOKS}

    def _overriding(self, hook: str) -> list[tuple[AbstractCallback, Callable[..., Any]]]:
        return [(c, getattr(c, hook)) for c in self.callbacks if overrides(c, hook)]

    def instrument(self, wrap: Wrapper) -> None:
        """Replace each call by `wrap(callback, hook, call)`, for example to time it."""
        for hook, calls in self._calls.items():
            self._calls[hook] = [(c, wrap(c, hook, call)) for c, call in calls]

    def deferred_steps(
        self,
        first: int,
        most: int,
        traces: Callable[[AbstractCallback], bool],
        speculate: bool,
    ) -> int:
        """How many steps from `first` on, at most `most`, can run as one block.

        Args:
            first: The first step.
            most: The largest answer.
            traces: Whether the driver compiles the traced part of a callback.
            speculate: Whether steps may be taken that a callback then takes back.
        """
        if self._always_live or (self._deciding and not speculate):
            return 0
        if not all(traces(callback) for callback in self._traced):
            return 0
        for callback in self._asked:
            for step in range(first, first + most):
                if callback.is_live(step):
                    most = step - first
                    break
        for callback in self._ending:
            for step in range(first, first + most):
                if callback.ends_block(step):
                    most = step - first + 1
                    break
        return most

    @property
    def stateful(self) -> dict[str, AbstractCallback]:
        """The callbacks with a state, by their keys."""
        return {c.state_key: c for c in self.callbacks if has_state(c)}

    def load(self, states: Mapping[str, Mapping[str, Any]], ended: StopRun | None = None) -> None:
        """Give the callbacks the states of a saved run, now and again when they were started.

        Args:
            states: State key -> state.
            ended: By what a callback had ended the run; it has ended then.
        """
        self._saved, self._ended = states, ended
        self._load()

    def _load(self) -> None:
        stateful = self.stateful
        for key, state in self._saved.items():
            stateful[key].load_state_dict(state)

    def call(self, hook: str, *args: Any) -> Sequence[AbstractCallback]:
        """Call `hook` on all callbacks.

        Returns:
            The callbacks that answered with a true value.

        Raises:
            StopRequests: When all were called and at least one raised `StopRun`.
            BaseException: The first other exception, at once.
        """
        calls = self._calls[hook]
        if not calls and self._alone:
            return ()
        stops: list[tuple[str, StopRun]] = []
        agreed: list[AbstractCallback] = []
        for callback, call in calls:
            try:
                answer = call(*args)
                if answer is not None and self._is_true(answer, callback, hook):
                    agreed.append(callback)
            except StopRun as stop:
                stops.append((callback.label, stop))
            except DeferredAccessError as error:
                error.who = callback.label
                raise
        if stops if self._alone else agree(bool(stops)):
            raise StopRequests(stops)
        return agreed

    @staticmethod
    def _is_true(answer: Any, callback: AbstractCallback, hook: str) -> bool:
        if hook != "on_compute_update_end":
            return False
        try:
            return bool(answer)
        except ValueError as error:
            raise TypeError(
                f"{callback.label}.on_compute_update_end returned {answer!r}, which is neither "
                "true nor false; return True to reject the step and False or None to accept it."
            ) from error

    def start(self, step: int, driver: Any) -> None:
        """Call `on_run_start`, and remember for whom it was begun."""
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
        self._load()
        ended, self._saved, self._ended = self._ended, {}, None
        if agree(bool(stops)):
            raise StopRequests(stops)
        if ended is not None:
            raise ended

    def end(self, step: int, driver: Any) -> None:
        """Call `on_run_end` for all that were begun, then raise the first error, if any."""
        errors: list[BaseException] = []
        try:
            driver.leave_steps()
        except BaseException as error:
            errors.append(error)
        errors += self._finish("on_run_end", step, driver)
        if errors:
            for later in errors[1:]:
                errors[0].add_note(f"Another callback failed in on_run_end: {later!r}")
            raise errors[0]

    def fail(self, step: int, error: BaseException, driver: Any) -> None:
        """Call `on_run_error` for all that were begun; errors there become notes on `error`."""
        for later in self._finish("on_run_error", step, error, driver):
            error.add_note(f"A callback failed in on_run_error: {later!r}")

    def _finish(self, hook: str, *args: Any) -> list[BaseException]:
        errors: list[BaseException] = []
        for callback, call in self._calls[hook]:
            if not any(callback is begun for begun in self._begun):
                continue
            try:
                call(*args)
            except StopRun:
                _logger.debug("%s raised StopRun in %s, where it has no effect", callback, hook)
            except BaseException as error:
                errors.append(error)
        self._begun = []
        return errors

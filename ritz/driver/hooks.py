"""Calls one hook on all callbacks, in order, and collects what they decide."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ritz.driver.callback import HOOKS, AbstractCallback, overrides
from ritz.driver.consensus import agree
from ritz.driver.stop import StopReason, StopRun

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
        self._calls = {hook: self._overriding(hook) for hook in HOOKS}

    def _overriding(self, hook: str) -> list[tuple[AbstractCallback, Callable[..., Any]]]:
        return [(c, getattr(c, hook)) for c in self.callbacks if overrides(c, hook)]

    def instrument(self, wrap: Wrapper) -> None:
        """Replace each call by `wrap(callback, hook, call)`, for example to time it."""
        for hook, calls in self._calls.items():
            self._calls[hook] = [(c, wrap(c, hook, call)) for c, call in calls]

    def call(self, hook: str, *args: Any) -> list[AbstractCallback]:
        """Call `hook` on all callbacks.

        Returns:
            The callbacks that answered with a true value.

        Raises:
            StopRequests: When all were called and at least one raised `StopRun`.
            BaseException: The first other exception, at once.
        """
        stops: list[tuple[str, StopRun]] = []
        agreed: list[AbstractCallback] = []
        for callback, call in self._calls[hook]:
            try:
                if self._is_true(call(*args), callback, hook):
                    agreed.append(callback)
            except StopRun as stop:
                stops.append((callback.label, stop))
        if agree(bool(stops)):
            raise StopRequests(stops)
        return agreed

    @staticmethod
    def _is_true(answer: Any, callback: AbstractCallback, hook: str) -> bool:
        if answer is None or hook != "on_compute_update_end":
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
        if agree(bool(stops)):
            raise StopRequests(stops)

    def end(self, step: int, driver: Any) -> None:
        """Call `on_run_end` for all that were begun, then raise the first error, if any."""
        errors = self._finish("on_run_end", step, driver)
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

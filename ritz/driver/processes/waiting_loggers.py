"""Logger calls that wait until the processes of a run agree on a block."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ritz.driver.callback import STEP_HOOKS, AbstractCallback, Calls, Hook, has_state
from ritz.types import Row, State


class HookPoint(NamedTuple):
    """A hook of a step; they sort by time."""

    step: int
    hook: int
    """The index among `STEP_HOOKS`; greater for the end of the step."""


class LoggerCall(NamedTuple):
    """A call of a logger that waits for the others to agree."""

    point: HookPoint
    callback: AbstractCallback
    call: Callable[[], object]


class WaitingLoggers:
    """Calls of loggers that wait, and the states that callbacks had at the steps of a block.

    Args:
        callbacks: All callbacks of the run.
    """

    def __init__(self, callbacks: Sequence[AbstractCallback]):
        self._stateful = {
            c.state_key: c
            for c in callbacks
            if has_state(c) and c.run_argument != "out" and not c.has_traced
        }
        self._held: list[LoggerCall] = []
        self._states: list[tuple[HookPoint, dict[str, State]]] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, point: HookPoint, calls: Calls) -> Calls:
        """The calls, with those of loggers postponed."""

        def put_off(
            callback: AbstractCallback, call: Hook, step: int, log_data: Row, driver: object
        ) -> None:
            later = functools.partial(call, step, dict(log_data), driver)
            self._held.append(LoggerCall(point, callback, later))

        return [
            (c, functools.partial(put_off, c, call) if c.run_argument == "out" else call)
            for c, call in calls
        ]

    def commit(self, until: HookPoint, well: bool) -> tuple[Exception, int, str] | None:
        """Make the waiting calls up to a point, and drop the later ones.

        Args:
            until: The point.
            well: Whether nothing has failed yet; after a failure nothing more is written.

        Returns:
            The first error, its step, and the hook in which it happened.
        """
        held, self._held, self._states = self._held, [], []
        for point, callback, call in held if well else ():
            if point > until:
                continue
            try:
                call()
            except Exception as error:
                return error, point.step, f"{callback.label}.{STEP_HOOKS[point.hook]}"
        return None

    def note_states(self, point: HookPoint, block: range | None, calls: Calls) -> None:
        """Remember the states of callbacks at the begin of a block and after a hook."""
        if block is not None and (point.hook or point.step != block[0]):
            return
        if block is not None:
            point = HookPoint(point.step, -1)
        elif not any(c is s for c, _ in calls for s in self._stateful.values()):
            return
        states = {key: _copy(c.state_dict()) for key, c in self._stateful.items()}
        self._states.append((point, states))

    def go_back(self, first: HookPoint) -> None:
        """Restore the callbacks' states at a point."""
        states = [states for point, states in self._states if point <= first]
        for key, state in states[-1].items() if states else ():
            self._stateful[key].load_state_dict(state)


def _copy(state: Any) -> Any:
    """A copy of a state that later changes of the callback leave alone."""
    if isinstance(state, Mapping):
        return {key: _copy(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_copy(value) for value in state]
    return state.copy() if isinstance(state, np.ndarray) else state

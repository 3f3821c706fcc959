"""The hooks of the steps of a block before its last, where only rows can be seen."""

import itertools
from typing import Any

from ritz.driver.callback import STEP_HOOKS, AbstractCallback
from ritz.driver.hooks import Call, Calls, HookList, StopRequests
from ritz.driver.stop import DeferredAccessError, StopRun

_UPDATE, _END = STEP_HOOKS[3:]


class BlockHooks:
    """Calls the last two hooks of a step, without those calls that do nothing within a block.

    Args:
        hooks: All hooks of the run.
    """

    def __init__(self, hooks: HookList):
        self._hooks = hooks
        own = [_without_idle(hook, hooks.calls(hook)) for hook in (_UPDATE, _END)]
        self._updating, self._ending = _joined(own[0]), own[1]
        self.suffice = not any(hooks.calls(hook) for hook in STEP_HOOKS[:3])
        """Whether a step has no other hooks."""
        self.has_any = bool(self._updating or self._ending)
        self.has_ending = bool(self._ending)

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Call the hook of this name.

        Raises:
            StopRequests: When all were called and at least one raised `StopRun`.
            BaseException: The first other exception, at once.
        """
        self._call(_UPDATE, self._updating, step, log_data, driver=driver)

    def on_step_end(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """The same."""
        self._call(_END, self._ending, step, log_data, driver=driver)

    def _call(
        self, hook: str, calls: Calls, step: int, log_data: dict[str, Any], *, driver: Any
    ) -> None:
        stops, left = [], iter(calls)
        callback: Any = None
        try:
            for callback, call in left:  # noqa: B007
                call(step, log_data, driver)
        except StopRun as stop:
            stops = [(callback.label, stop)]
        except DeferredAccessError as error:
            error.who = callback.label
            raise
        if stops:
            more, _ = self._hooks.ask(hook, left, (step, log_data, driver))
            raise StopRequests([*stops, *more])


def _without_idle(hook: str, calls: Calls) -> Calls:
    return [(callback, call) for callback, call in calls if hook not in callback.idle_in_blocks]


def _joined(calls: Calls) -> Calls:
    """The same calls, with those of callbacks that follow each other and can be joined as one."""
    found: list[Call] = []
    for join, group in itertools.groupby(calls, key=lambda pair: pair[0].joint(pair[1])):
        pairs = list(group)
        if join is None:
            found += pairs
        else:
            callbacks: list[AbstractCallback] = [callback for callback, _ in pairs]
            found.append((callbacks[0], join(callbacks)))
    return found

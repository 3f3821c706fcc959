"""The hooks of all steps of a block but its last, in which only rows are available."""

import itertools
from collections.abc import Iterator
from typing import Any, NoReturn

from ritz.driver.callback import STEP_HOOKS, AbstractCallback, Call, Calls, is_idle
from ritz.driver.hooks import HookList
from ritz.driver.stop import DeferredAccessError, StopRequests, StopRun

_UPDATE, _END = STEP_HOOKS[3:]


class BlockHooks:
    """Calls the last two hooks of a step, leaving out calls that do nothing within a block.

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

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Call the hook of this name.

        Raises:
            StopRequests: When all were called and at least one raised `StopRun`.
            BaseException: The first other exception, at once.
        """
        callback: Any = None
        left = iter(self._updating)
        try:
            for callback, call in left:  # noqa: B007
                call(step, log_data, driver)
        except (StopRun, DeferredAccessError) as error:
            self._ask_rest(_UPDATE, callback, error, left, (step, log_data, driver))

    def on_step_end(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Call the hook of this name; raises as `before_parameter_update` does."""
        callback: Any = None
        left = iter(self._ending)
        try:
            for callback, call in left:  # noqa: B007
                call(step, log_data, driver)
        except (StopRun, DeferredAccessError) as error:
            self._ask_rest(_END, callback, error, left, (step, log_data, driver))

    def _ask_rest(
        self, hook: str, who: Any, error: Exception, left: Iterator[Call], args: tuple[Any, ...]
    ) -> NoReturn:
        """If `error` is a stop request, make the remaining calls of the hook."""
        if isinstance(error, DeferredAccessError):
            error.who = who.label
            raise error
        assert isinstance(error, StopRun)
        more, _ = self._hooks.ask(hook, left, args)
        raise StopRequests([(who.label, error), *more])


def _without_idle(hook: str, calls: Calls) -> Calls:
    return [(callback, call) for callback, call in calls if not is_idle(callback, hook)]


def _joined(calls: Calls) -> Calls:
    """The calls, with joinable ones of adjacent callbacks merged into one."""
    found: list[Call] = []
    for join, group in itertools.groupby(calls, key=lambda pair: pair[0].joint(pair[1])):
        pairs = list(group)
        if join is None:
            found += pairs
        else:
            callbacks: list[AbstractCallback] = [callback for callback, _ in pairs]
            found.append((callbacks[0], join(callbacks)))
    return found

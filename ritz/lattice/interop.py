"""NetKet's callbacks and loggers in Ritz drivers, and Ritz callbacks in NetKet drivers."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import netket as nk
from jaxtyping import PyTree
from netket.driver import AbstractVariationalDriver
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import HOOKS, AbstractCallback, CallbackOrder, StopRun
from ritz.types import Row


def adapt_netket(plugin: object, argument: str) -> AbstractCallback | None:
    """Wrap a callback or logger of NetKet for Ritz; None for other objects."""
    if inspect.isclass(plugin):
        return None
    if isinstance(plugin, nk.callbacks.AbstractCallback):
        return NetKetCallback(plugin)
    logs = isinstance(plugin, nk.logging.AbstractLog) or hasattr(plugin, "flush")
    if argument == "out" and callable(plugin) and logs and not isinstance(plugin, AbstractCallback):
        return NetKetLogger(plugin)
    return None


class NetKetCallback(AbstractCallback):
    """Calls a NetKet callback in a run of Ritz."""

    def __init__(self, callback: Any):
        self.callback = callback

    @property
    @override
    def label(self) -> str:
        return type(self.callback).__name__

    @property
    @override
    def callback_order(self) -> int:  # type: ignore[override]
        return self.callback.callback_order

    def _forward(self, hook: str, *args: object) -> Any:
        try:
            return getattr(self.callback, hook)(*args)
        except nk.callbacks.StopRun as stop:
            raise StopRun(str(stop)) from stop


def _forwarding(hook: str) -> Callable[..., object]:
    def method(self: NetKetCallback, *args: object) -> object:
        return self._forward(hook, *args)

    method.__name__ = hook
    method.__doc__ = f"Call `{hook}` of NetKet's callback."
    return method


for _hook in HOOKS:
    setattr(NetKetCallback, _hook, _forwarding(_hook))


class NetKetLogger(AbstractCallback):
    """Calls a NetKet logger before the parameters move, and flushes it when the run ends."""

    callback_order = CallbackOrder.LOG

    def __init__(self, logger: Any):
        self.logger = logger

    @property
    @override
    def label(self) -> str:
        return type(self.logger).__name__

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        self.logger(step, log_data, driver.state)

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self.logger.flush(driver.state)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self.logger.flush(driver.state)


class NetKetDriverView(AbstractDriver):
    """Shows a driver of NetKet to callbacks of Ritz."""

    def __init__(self, driver: AbstractVariationalDriver):
        self.driver = driver
        self.working_dir, self.stage_name = Path(), "run"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["driver"], name)

    @property
    @override
    def state(self) -> nk.vqs.VariationalState:
        return self.driver.state

    @property
    @override
    def step_count(self) -> int:
        return self.driver.step_count

    @property
    @override
    def step_attempt(self) -> int:
        return self.driver._step_attempt

    @property
    @override
    def loss(self) -> nk.stats.Stats:
        return self.driver._loss_stats

    @property
    @override
    def loss_name(self) -> str:
        return self.driver._loss_name

    @property
    @override
    def update(self) -> PyTree:
        return self.driver._dp

    @update.setter
    def update(self, update: PyTree) -> None:
        self.driver._dp = update

    def after_step(self, action: Callable[[], None]) -> None:
        """Call `action` at once, since NetKet does not announce the end of a step."""
        action()

    @property
    @override
    def target_step(self) -> int:
        target: Any = self.driver._target_step
        return target

    @property
    def hooks(self) -> NoReturn:
        """Raise TypeError, since the hooks of NetKet cannot be wrapped."""
        raise TypeError("this callback needs a driver of Ritz: NetKet's hooks cannot be wrapped.")

    @property
    def callbacks(self) -> tuple[()]:
        """Empty, since the other callbacks are not known."""
        return ()

    def _estimate_one(self, observable: object, fullsum: bool) -> nk.stats.Stats:
        return self.driver.estimate(observable, fullsum)


class RitzCallback(nk.callbacks.AbstractCallback, mutable=True):
    """Calls a Ritz callback in a driver of NetKet; see `as_netket`."""

    _inner: Any = nk.utils.struct.field(pytree_node=False, serialize=False)
    _held: Any = nk.utils.struct.field(pytree_node=False, serialize=False, default=None)

    def __init__(self, callback: AbstractCallback):
        self._inner = callback
        self._held = None

    @property
    @override
    def callback_order(self) -> int:
        return int(self._inner.callback_order)

    def _call(self, hook: str, *args: object, driver: AbstractVariationalDriver) -> Any:
        try:
            return getattr(self._inner, hook)(*args, NetKetDriverView(driver))
        except StopRun as stop:
            raise nk.callbacks.StopRun(str(stop)) from stop

    @override
    def on_run_start(self, step: int, driver: AbstractVariationalDriver) -> None:
        self._held = None
        self._call("on_run_start", step, driver=driver)

    @override
    def on_step_start(self, step: int, log_data: Row, driver: AbstractVariationalDriver) -> None:
        self._call("on_step_start", step, log_data, driver=driver)

    @override
    def on_compute_update_start(
        self, step: int, log_data: Row, driver: AbstractVariationalDriver
    ) -> None:
        self._call("on_compute_update_start", step, log_data, driver=driver)

    def on_compute_update_end(
        self, step: int, log_data: Row, driver: AbstractVariationalDriver
    ) -> bool:
        """Call the hook; return a bool, since NetKet accepts only True as a rejection."""
        return bool(self._call("on_compute_update_end", step, log_data, driver=driver))

    def before_parameter_update(
        self, step: int, log_data: Row, driver: AbstractVariationalDriver
    ) -> None:
        """Call the hook, and postpone a stop until the row was written."""
        try:
            self._call("before_parameter_update", step, log_data, driver=driver)
        except nk.callbacks.StopRun as stop:
            # NetKet's loggers write in on_step_end: stopping here would lose the row.
            self._held = stop

    def on_step_end(self, step: int, log_data: Row, driver: AbstractVariationalDriver) -> None:
        """Call the hook, and stop if that was requested before."""
        self._call("on_step_end", step, log_data, driver=driver)
        if self._held is not None:
            raise self._held

    @override
    def on_run_end(self, step: int, driver: AbstractVariationalDriver) -> None:
        self._call("on_run_end", step, driver=driver)

    @override
    def on_run_error(
        self, step: int, error: BaseException, driver: AbstractVariationalDriver
    ) -> None:
        self._call("on_run_error", step, error, driver=driver)


def as_netket(callback: AbstractCallback) -> RitzCallback:
    """Wrap a callback or logger of Ritz for the `callback` argument of a NetKet driver's `run`.

    NetKet's own rules still hold: a stop requested before the update takes effect after it, and
    the step is not counted.

    Raises:
        TypeError: If `callback` is not a callback of Ritz.
    """
    if not isinstance(callback, AbstractCallback):
        raise TypeError(f"as_netket takes a callback of Ritz, but {callback!r} was given.")
    return RitzCallback(callback)

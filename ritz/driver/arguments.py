"""Checks the arguments of `run` and turns them into callbacks."""

import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from ritz.checks import check_count
from ritz.driver.callback import AbstractCallback, check_hooks, has_state
from ritz.driver.hooks import HookList
from ritz.driver.signatures import check_arguments
from ritz.driver.stop import StopRun
from ritz.types import Row

if TYPE_CHECKING:
    from ritz.driver.abstract import AbstractDriver

PlainFunction = Callable[[int, Row, "AbstractDriver"], object]
"""`(step, log_data, driver) -> bool`; a false value other than None stops the run."""

Plugin = AbstractCallback | PlainFunction | str | os.PathLike[str]
"""What `run` takes as a callback or logger: one of them, a plain function, or a path prefix."""

Plugins = Plugin | Iterable[Plugin] | None
"""None, one of them, or several."""


class RunDefaults(NamedTuple):
    """Makes the callbacks behind the short arguments of `run`; set by the package `ritz`."""

    log: Callable[[str | os.PathLike[str], int, int], AbstractCallback]
    """`out="prefix"`: (prefix, save_params_every, write_every) -> logger."""
    observe: Callable[[Mapping[str, object], int], AbstractCallback]
    """`obs={...}`: (observables, step_size) -> callback."""
    progress: Callable[[], AbstractCallback]
    """`show_progress=True`: () -> progress bar."""
    timing: Callable[[], AbstractCallback]
    """`timeit=True`: () -> callback that times the hooks."""
    resume: Callable[["AbstractDriver", HookList, bool | str | os.PathLike[str], int], int]
    """`resume=...`: (driver, hooks, resume, n_iter) -> the step at which the saved run began."""


_registered: list[RunDefaults] = []


def set_run_defaults(defaults: RunDefaults) -> None:
    """Set the classes behind `out`, `obs`, `show_progress` and `timeit`."""
    _registered[:] = [defaults]


class PlainCallback(AbstractCallback):
    """A plain function `(step, log_data, driver) -> bool` as a callback.

    It is called in `before_parameter_update`. The run stops when it returns a false value other
    than None, which a function without `return` gives.
    """

    def __init__(self, function: PlainFunction):
        self.function = function

    @property
    @override
    def label(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: "AbstractDriver") -> None:
        answer = self.function(step, log_data, driver)
        if answer is not None and not answer:
            raise StopRun(f"returned {answer!r}")


def as_callback(plugin: Plugin, argument: str) -> AbstractCallback:
    """Take an `AbstractCallback` as it is, and wrap a plain function.

    Raises:
        TypeError: For anything else, with what to write instead.
    """
    if inspect.isclass(plugin):
        raise TypeError(
            f"{argument} was given the class {plugin.__name__}, not an instance; write "
            f"{argument}={plugin.__name__}(...)."
        )
    if isinstance(plugin, AbstractCallback):
        belongs = plugin.run_argument
        if belongs != argument:
            kind = "a logger" if belongs == "out" else "no logger"
            raise TypeError(
                f"{type(plugin).__name__} is {kind}; write {belongs}={type(plugin).__name__}(...) "
                f"instead of {argument}=..."
            )
        check_hooks(plugin)
        return plugin
    if argument == "callback" and callable(plugin):
        plain = PlainCallback(plugin)
        check_arguments(plain.label, plugin, ("step", "log_data", "driver"), False)
        return plain
    wanted = {
        "callback": "callbacks, or functions (step, log_data, driver) -> bool",
        "out": "path prefixes or loggers, such as 'run' or RuntimeLog()",
    }[argument]
    raise TypeError(f"{argument} takes {wanted}, but {plugin!r} was given.")


def listed(given: Plugins) -> list[Any]:
    """`None`, one object or several, as a list."""
    if given is None:
        return []
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return list(given)
    return [given]


def assemble(
    adapt: Callable[[Plugin, str], AbstractCallback],
    *,
    out: Plugins,
    obs: Mapping[str, object] | None,
    step_size: int,
    show_progress: bool | None,
    save_params_every: int,
    write_every: int,
    callback: Plugins,
    timeit: bool,
) -> tuple[list[AbstractCallback], tuple[AbstractCallback, ...]]:
    """All callbacks of a run, and the loggers given in `out`."""
    step_size = check_count("step_size", step_size, 1)
    save_params_every = check_count("save_params_every", save_params_every, 1)
    write_every = check_count("write_every", write_every, 1)
    if obs is not None and not isinstance(obs, Mapping):
        raise TypeError(f"obs takes a dict of name -> observable, but {obs!r} was given.")

    loggers = tuple(
        _defaults().log(item, save_params_every, write_every)
        if isinstance(item, str | os.PathLike)
        else item
        for item in listed(out)
    )
    callbacks = [_defaults().observe(obs, step_size)] if obs else []
    callbacks += [adapt(item, "callback") for item in listed(callback)]
    callbacks += [adapt(item, "out") for item in loggers]
    if show_progress:
        callbacks.append(_defaults().progress())
    if timeit:
        callbacks.append(_defaults().timing())
    _check_distinct(callbacks)
    return callbacks, loggers


def resume_run(
    driver: "AbstractDriver", hooks: HookList, resume: bool | str | os.PathLike[str], n_iter: int
) -> int:
    """Restore driver and callbacks from a saved run that is to take `n_iter` steps in all.

    Returns:
        The step at which the saved run began, from which its steps are counted.
    """
    if not isinstance(resume, bool | str | os.PathLike):
        raise TypeError(f"resume takes True, False or a path, but {resume!r} was given.")
    return _defaults().resume(driver, hooks, resume, n_iter)


def _defaults() -> RunDefaults:
    if not _registered:  # by name, as the driver knows nothing of what is above it
        importlib.import_module("ritz.run_defaults")
    return _registered[0]


def _check_distinct(callbacks: list[AbstractCallback]) -> None:
    for place, callback in enumerate(callbacks):
        if any(callback is earlier for earlier in callbacks[:place]):
            raise ValueError(f"{callback!r} was given twice; its hooks would run twice a step.")
    keys = [c.state_key for c in callbacks if has_state(c)]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(
                f"two callbacks have the state key {key!r}, so a checkpoint could not tell them "
                "apart; set a different `name` on each, for example callback.name = 'second'."
            )

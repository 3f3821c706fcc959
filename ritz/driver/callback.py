"""The callback contract: eight hooks, the exception that stops a run, and named orders."""

import enum
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import PyTree

from ritz.driver.signatures import check_arguments, nearest_method, parameters_of
from ritz.driver.stop import StopReason as StopReason
from ritz.driver.stop import StopRun as StopRun
from ritz.types import Row, State

if TYPE_CHECKING:
    from ritz.driver.abstract import AbstractDriver
    from ritz.driver.kernel import Proposal

Hook = Callable[..., object]
"""A hook, bound to its callback."""

STEP_HOOKS = (
    "on_step_start",
    "on_compute_update_start",
    "on_compute_update_end",
    "before_parameter_update",
    "on_step_end",
)
"""The hooks of one step, in calling order."""

HOOKS = ("on_run_start", *STEP_HOOKS, "on_run_end", "on_run_error")
"""All hooks, in calling order."""


class CallbackOrder(enum.IntEnum):
    """Named levels of `AbstractCallback.callback_order`, lowest first.

    Any integer is allowed; callbacks with the same order keep the order in which they were given.
    """

    OBSERVE = -10
    """Observables: later callbacks find their values in `log_data`."""
    USER = 0
    """The default: between observables and loggers."""
    LOG = 10
    """Loggers: they write the row here."""
    CHECKPOINT = 20
    """Checkpoints: they run after the row was written."""
    STOP = 100
    """Stop conditions: they run last, so that a stop skips no other callback."""


def _meant_hook(kind: type, name: str, method: Callable[..., object]) -> str | None:
    """The hook that a method of a callback seems to be meant for, or None."""
    is_call = name == "__call__" and not any(overrides(kind, hook) for hook in HOOKS)
    if is_call or name in ("on_legacy_run", "on_parameter_update"):  # of NetKet
        return "before_parameter_update"
    has_prefix = name not in HOOKS and name.startswith(("on_", "before_", "after_"))
    return nearest_method(name, method, HOOKS, ("log_data", "driver")) if has_prefix else None


class AbstractCallback:
    """Acts on a run at eight points; override only the hooks you need.

    `step` is `driver.step_count`: it grows by one with every update and is not reset between
    calls of `run`. `log_data` is the dictionary that becomes the step's row in every log; a
    callback may add keys to it until loggers write it, in `before_parameter_update` at order
    `CallbackOrder.LOG`.

    Raise `StopRun` in any hook to end the run well: every other callback still gets that hook,
    then `on_run_end`. Any other exception goes to `on_run_error` and on to the caller of `run`.

    A subclass with a method that seems to be meant for a hook (`on_stepend`), or only `__call__`,
    raises TypeError when the class is made; so does a hook that takes other arguments.
    """

    callback_order: int = CallbackOrder.USER
    """Lower runs earlier, in every hook. A class attribute or a property."""

    tolerates_divergence: bool = False
    """Whether the run goes on when its loss is not finite, because this callback decides about it;
    an `on_divergence` given to `run` takes precedence."""

    name: str | None = None
    """Tells two callbacks of one class apart; see `state_key`."""

    run_argument: ClassVar[str] = "callback"
    """The argument of `run` that takes this callback: "callback", or "out" for loggers."""

    state_fields: ClassVar[tuple[str, ...]] = ()
    """The attributes that a checkpoint keeps; see `state_dict`."""

    decides: ClassVar[bool] = True
    """Whether its hooks of a step may stop the run, reject the step or use `driver.after_step`;
    matters only in runs with `speculate=False`, where steps cannot be taken back."""

    more_hooks: ClassVar[tuple[str, ...]] = ()
    """Names of hooks that a base class adds, and calls from those of every callback."""

    logs: tuple[str, ...] = ()
    """Keys that this callback adds to `log_data`, maybe not at every step."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse misspelt hooks, and hooks with wrong arguments."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name in (*HOOKS, "is_live") and inspect.isfunction(value):
                names = parameters_of(getattr(AbstractCallback, name))
                check_arguments(f"{cls.__name__}.{name}", value, names, True)
            if not callable(value) or name in cls.more_hooks:
                continue
            meant = _meant_hook(cls, name, value)
            if meant is not None:
                raise TypeError(
                    f"{cls.__name__}.{name} is no hook and would never be called; did you mean "
                    f"{meant}? The hooks are: {', '.join((*HOOKS, *cls.more_hooks))}."
                )

    def check_run(self, driver: "AbstractDriver", resume: bool) -> None:
        """Called before any hook, to refuse a run while nothing has been opened or written.

        Args:
            driver: The driver, before a saved state is loaded.
            resume: Whether a saved run is to go on.
        """

    def on_run_start(self, step: int, driver: "AbstractDriver") -> None:
        """Called once, before the first step. `step` is the first step of this run."""

    def on_step_start(self, step: int, log_data: Row, driver: "AbstractDriver") -> None:
        """Called at the start of each step and of each retry. `log_data` is empty."""

    def on_compute_update_start(self, step: int, log_data: Row, driver: "AbstractDriver") -> None:
        """Called after `driver.reset_step()` and before anything was sampled or computed.

        Samples put into the driver's state here are used instead of fresh ones.
        """

    def on_compute_update_end(self, step: int, log_data: Row, driver: "AbstractDriver") -> object:
        """Called when `driver.loss` and `driver.update` are there; may replace `driver.update`.

        Returns:
            A true value to reject the attempt: the step begins again at `on_step_start`, with
            the same `step` and an emptied `log_data`. None and false values accept.
        """

    def before_parameter_update(self, step: int, log_data: Row, driver: "AbstractDriver") -> None:
        """Called when the step was accepted: `log_data` holds the loss.

        Parameters and `driver.step_count` are still those that the loss was computed with.
        """

    def on_step_end(self, step: int, log_data: Row, driver: "AbstractDriver") -> None:
        """Called when the parameters have moved. `step` is the step that is ending."""

    def on_run_end(self, step: int, driver: "AbstractDriver") -> None:
        """Called once when the run has ended, also after `StopRun` and after a signal."""

    def on_run_error(self, step: int, error: BaseException, driver: "AbstractDriver") -> None:
        """Called once instead of `on_run_end` when `error` ends the run. It is raised after."""

    def is_live(self, step: int) -> bool:
        """Whether the hooks must run while `step` is in progress.

        A live callback may read and change the driver's state. One that only needs `step` and
        `log_data` is deferred, and its hooks may run after a compiled block of steps. By default
        a callback is live at all steps if it overrides any of the hooks of a step and has no
        traced part.

        Steps are asked about in advance, so the answer must depend on `step` alone.
        """
        return has_step_hooks(self) and not self.has_traced

    def ends_block(self, step: int) -> bool:
        """Whether the driver's state must be there right after `step`.

        A block that holds the step then ends with it, and `driver.settled_state` in `on_step_end`
        is the state. That costs less than a live step, and the results are those of a run without
        this callback. Like `is_live`, the answer must depend on `step` alone.
        """
        return False

    @property
    def deciding_hooks(self) -> tuple[str, ...]:
        """The hooks of a step that may stop the run or reject the step.

        By default those that are overridden, if it `decides`. Several processes agree after them.
        """
        if not self.decides:
            return ()
        return tuple(hook for hook in STEP_HOOKS if overrides(self, hook))

    idle_in_blocks: Sequence[str] = ()
    """Hooks that have nothing to do at the steps of a block before its last: not called there.

    Those of them that a subclass overrides are called all the same, unless it names them itself.
    """

    def joint(self, call: Hook) -> Callable[[Sequence[Any]], Hook] | None:
        """A function that joins this hook with those of the callbacks that follow; None for none.

        Used for `before_parameter_update` at all steps of a block but its last. Adjacent callbacks
        that return the same function are called through it.

        Args:
            call: The hook, maybe wrapped by another callback.
        """
        return None

    # The traced part: an optional pair of pure functions that is compiled into blocks.

    traced_at: ClassVar[str] = "on_step_end"
    """The hook at which `traced` acts: "before_parameter_update" or "on_step_end"."""

    @property
    def has_traced(self) -> bool:
        """Whether there is a traced part: by default, if `traced` is overridden."""
        return overrides(self, "traced")

    @property
    def has_traced_metrics(self) -> bool:
        """Whether there are traced metrics: by default, if `traced_metrics` is overridden."""
        return overrides(self, "traced_metrics")

    @property
    def traced_settings(self) -> Hashable:
        """All that `traced` and `traced_metrics` depend on besides their arguments.

        Callbacks of one class with equal settings share compiled programs. None, the default,
        stands for this very object.
        """
        return None

    def init_traced(self, carry: PyTree) -> PyTree:
        """Carry of the traced part at the start of a run: a pytree of arrays.

        Args:
            carry: The kernel's carry; `carry.params` are the parameters.
        """
        return ()

    def traced(self, callback_carry: PyTree, carry: PyTree, metrics: Row) -> PyTree:
        """A pure function of JAX that sees each step of a driver with a kernel, live or not.

        If `metrics` lacks what it needs it raises `LookupError` (as a dict does); then the
        callback is live at every step, and only its hooks are called.

        Args:
            callback_carry: What it returned at the last step.
            carry: The kernel's carry, at the point of the step that `traced_at` names.
            metrics: The row as the kernel computed it: the loss by its name, and "step".

        Returns:
            The new `callback_carry`, with the same structure, shapes and types.
        """
        return callback_carry

    def load_traced(self, callback_carry: PyTree) -> None:
        """Store what `traced` returned last; called after a block, or in a live step."""

    def traced_metrics(self, carry: PyTree, proposal: "Proposal") -> Row:
        """Further numbers for the row, as a pure function of JAX, for drivers with a kernel.

        Args:
            carry: The kernel's carry before the update.
            proposal: The `Proposal` of the step.
        """
        return {}

    @property
    def state_key(self) -> str:
        """The key of this callback's state in a checkpoint: the class name, and `name` if set."""
        return type(self).__name__ + ("" if self.name is None else f":{self.name}")

    @property
    def label(self) -> str:
        """Name of this callback in messages and tables: by default that of its class."""
        return self.state_key

    def state_dict(self) -> State:
        """State that a resumed run needs; by default the attributes named in `state_fields`.

        Returns:
            Numbers, strings, None, arrays, and lists and dicts of them.
        """
        return {field: getattr(self, field) for field in self.state_fields}

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned, in this process or in an earlier one.

        A resumed run calls it before `on_run_start` and, since that hook may reset the callback,
        again after the hook was called on all callbacks.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        if set(state) != set(self.state_fields):
            raise ValueError(
                f"the saved state of {self.state_key} has the fields {sorted(state)}, but "
                f"{sorted(self.state_fields)} are needed; it was saved by another version or class."
            )
        for field, value in state.items():
            setattr(self, field, value)


Call = tuple[AbstractCallback, Hook]
"""A callback and its bound hook."""
Calls = Sequence[Call]


def never_live(self: AbstractCallback, step: int) -> bool:
    """Never live: the hooks do not use the state. Write `is_live = never_live` in a class."""
    return False


def overrides(callback: AbstractCallback | type, method: str) -> bool:
    """Whether `callback` overrides the base class's empty method."""
    call = getattr(callback, method)
    return getattr(call, "__func__", call) is not getattr(AbstractCallback, method)


def is_idle(callback: AbstractCallback, hook: str) -> bool:
    """Whether `callback` leaves out `hook` in blocks, see `AbstractCallback.idle_in_blocks`."""
    if hook not in callback.idle_in_blocks or hook in vars(callback):
        return False
    first = next(c for c in type(callback).__mro__ if {hook, "idle_in_blocks"} & set(vars(c)))
    return "idle_in_blocks" in vars(first)


def check_hooks(callback: AbstractCallback) -> None:
    """Refuse hooks of `callback` that do not take the arguments of hooks.

    Raises:
        TypeError: Naming the hook and its arguments.
    """
    for hook in HOOKS:
        if overrides(callback, hook):
            names = parameters_of(getattr(AbstractCallback, hook))
            check_arguments(f"{callback.label}.{hook}", getattr(callback, hook), names, False)


def has_step_hooks(callback: AbstractCallback) -> bool:
    """Whether `callback` has any hook of a step."""
    return any(overrides(callback, hook) for hook in STEP_HOOKS)


def has_state(callback: AbstractCallback) -> bool:
    """Whether `callback` has a state that checkpoints keep."""
    return bool(callback.state_fields) or overrides(callback, "state_dict")

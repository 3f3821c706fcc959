"""A driver made from a kernel."""

import abc
import logging
import operator
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ritz.driver import live
from ritz.driver.abstract import AbstractDriver
from ritz.driver.blocks import SECONDS, Block, row_shapes, run_block, run_block_in_place
from ritz.driver.callback import STEP_HOOKS, AbstractCallback
from ritz.driver.guarded_blocks import GuardedBlocks, holding
from ritz.driver.hooks import HookList
from ritz.driver.kernel import Kernel
from ritz.driver.loop import StepInfo
from ritz.driver.replay import BlockLength, Replay
from ritz.driver.stop import StopRun
from ritz.driver.traced import Held, Observers, gather
from ritz.driver.transfers import to_host

_logger = logging.getLogger(__name__)

_OF_STEPS = (
    "begin_attempt", "reset_step", "compute_loss_and_update", "objections", "fill_row",
    "check_finite", "move", "update_parameters", "count_step",
)  # fmt: skip
"""The methods by which a subclass could do something of its own in a step of a block."""


class CompiledDriver(GuardedBlocks, AbstractDriver):
    """Implements the three methods of a step from a `Kernel`.

    Steps at which no callback is live run as blocks: one compiled program takes many of them, and
    their hooks are called afterwards, in order, as if each step were just in progress. In a live
    step each phase is a compiled program, and between the phases everything is in the driver's
    state, where callbacks may read it and put something else.

    A subclass says where kernel, carry and batch live.
    """

    def __init__(self, state: Any, minimized_quantity_name: str = "loss"):
        super().__init__(state, minimized_quantity_name)
        self._metrics: dict[str, Any] = {}
        self._replay: Replay | None = None
        self._length = BlockLength()
        self._observers: Observers | None = None
        self._held: Held = ()
        self._row_shapes: Any = None
        self._owns_carry = False
        self._compiled_in_run = False
        self._attempt: live.Attempt | None = None

    @property
    @abc.abstractmethod
    def kernel(self) -> Kernel:
        """The kernel, with the present settings of the driver's state."""

    @property
    @abc.abstractmethod
    def carry(self) -> Any:
        """What the next step needs, read from the driver and its state; may be set."""

    @carry.setter
    @abc.abstractmethod
    def carry(self, carry: Any) -> None: ...

    @property
    @abc.abstractmethod
    def batch(self) -> Any:
        """The samples of this step, or None if none were drawn since `reset_step`."""

    @batch.setter
    @abc.abstractmethod
    def batch(self, batch: Any) -> None: ...

    @property
    def runs_blocks(self) -> bool:
        """Whether all phases of a step can be compiled; otherwise every step is live."""
        return True

    # Planning.

    def begin_run(self) -> None:
        """Nothing is known of the callbacks yet, and the carry's arrays may be in use elsewhere."""
        self._owns_carry = self._compiled_in_run = self._ran_blocks = False
        self._attempt = self._accepted = None

    def end_run(self) -> None:
        """Let go of the traced parts of the callbacks, and of the last good state."""
        self._observers, self._held = None, ()
        self._good = self._attempt = None

    def begin_step(self, hooks: HookList) -> None:
        """Compute a block from this step on, unless one is being replayed or the step is live."""
        if self._replay is not None:
            return
        if self._observers is None:
            self._gather_traced(hooks)
        self.attend()
        length = hooks.plan(lambda: self._plan(hooks, self.step_count))
        if length:
            self._start_block(length)

    def _gather_traced(self, hooks: HookList) -> None:
        self._observers = Observers(self.loss_name)
        traced = [c for c in hooks.callbacks if c.has_traced or c.has_traced_metrics]
        if traced and self.runs_blocks:
            carry = self.carry
            if self._row_shapes is None:
                self._row_shapes = row_shapes(self.kernel, self._observers, carry)
            self._observers, self._held = gather(traced, carry, self._row_shapes, self.loss_name)

    def plan_block(self, first: int) -> int:
        """How many steps from `first` on this process would take as a block; 0 if it is live."""
        if self._replay is not None:
            self._length.done(self._replay)
        guarded, self._block = self._block, None
        try:
            return self._plan(self._hooks, first)
        finally:
            self._block = guarded

    def _plan(self, hooks: HookList, first: int) -> int:
        if not self.runs_blocks:
            return 0
        most = self.target_step - first
        if self._max_block is not None:
            most = min(most, self._max_block)
        return hooks.deferred_steps(first, self._length.next(most), self.traces, self._speculate)

    def attend(self) -> None:
        """Called before a live step or block; what a kernel paused for is done here."""

    def traces(self, callback: AbstractCallback) -> bool:
        """Whether the traced part of `callback` sees the steps of this run."""
        return self._observers is not None and self._observers.has(callback)

    # Blocks.

    def _start_block(self, length: int) -> None:
        assert self._observers is not None
        kernel, carry = self.kernel, self.carry
        program: Any = run_block
        options = {}
        if not self._speculate:
            program, options = run_block_in_place, {"careful": self._guard.watches}
            if not self._owns_carry:  # others may hold these arrays
                carry = jax.tree.map(jnp.copy, carry)
        arguments = (kernel, self._observers, carry, self._held, np.int32(self.step_count))
        known, began = program._cache_size(), time.perf_counter()
        block = program(*arguments, np.int32(length), **options)
        replay = Replay(self.step_count, arguments, block, began)
        replay.compiled = program._cache_size() > known
        if replay.compiled:
            self._log_compilation(replay)
        if not self._speculate:
            replay.arguments = self._good = None
            self._push(block)
        self._look_at(replay)
        self._ran_blocks = True
        self._replay, self._block = replay, replay.steps

    def _log_compilation(self, replay: Replay) -> None:
        again = self._compiled_in_run
        self._compiled_in_run = True
        level = logging.INFO
        if again:  # calls with arrays that lie elsewhere look like it, but take no time
            level = logging.WARNING if replay.seconds > SECONDS else logging.DEBUG
        _logger.log(
            level,
            "Step %d: the block program was compiled%s (%.1f s)%s",
            self.step_count,
            " again" * again,
            replay.seconds,
            ": a shape, type or setting of the driver has changed." if again else ".",
        )

    def _push(self, block: Block) -> None:
        """Put the results of a block into the driver's state."""
        guarded, self._block = self._block, None
        self.carry, self.batch = block.carry, None
        self._dp, self._held, self._owns_carry = block.update, block.held, True
        self._block = guarded

    def _finish(self, replay: Replay) -> None:
        self._replay = self._block = None
        self._length.done(replay)
        self._note_good(replay, replay.length)
        self._load_traced()

    def take_back(self, step: int, filled: bool, counted: bool) -> bool:
        """Go back to an earlier step of the block; `settle` makes the state follow."""
        replay = self._replay
        if replay is None or replay.arguments is None:
            return False
        replay.count = step - replay.steps[0]
        self._step_count, self._went_back = step + counted, True
        self.loss, self._metrics = to_host(replay.device_row)
        self.doubts = holding(self._metrics)
        self._divergence = self._retrying = None  # that was later
        if filled and self._clock_start is not None:
            self._elapsed = self._clock() - self._clock_start
        replay.count += counted
        replay.row_filled = filled and not counted
        if replay.pushed:
            replay.pushed = False
            guarded, self._block = self._block, None
            self.carry, self._held = replay.arguments[2:4]
            self._block = guarded
        return True

    def settle(self) -> None:
        """Go back to the steps that were counted; the others never happened.

        If it is interrupted, it can be called again.
        """
        replay = self._replay
        if replay is None:
            self._undo_attempt()
        elif replay.arguments is None:
            self._count_the_rest(replay)
        else:
            self._take_back(replay)
        self.leave_diverged()

    def _take_back(self, replay: Replay) -> None:
        """Go back to the steps of a block that were counted."""
        assert replay.arguments is not None
        if replay.count:
            self._push(run_block(*replay.arguments, np.int32(replay.count)))
            self._note_good(replay, replay.count)
        self._replay = self._block = None
        self._length.cut(replay.count)
        self.batch = None
        if replay.row_filled:
            self._observe_row(*replay.device_row)
        self._load_traced()

    def _undo_attempt(self) -> None:
        """Take back the random numbers of a live step that was not counted.

        Not if a callback has put other parameters into the state since.
        """
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        now, then = jax.tree.leaves(self.carry.params), jax.tree.leaves(attempt.carry.params)
        if len(now) == len(then) and all(map(operator.is_, now, then)):
            self.carry = attempt.before

    def _count_the_rest(self, replay: Replay) -> None:
        """Without a carry to go back to, the steps of the block stay as they were taken."""
        missed = replay.length - replay.count - (replay.lost is not None)
        self._replay = self._block = None
        self._length.cut(replay.count)
        self._step_count += missed
        self._load_traced()
        if not missed:
            return
        _logger.warning(
            "The run ended within a block that cannot be taken back (speculate=False): %d more "
            "steps were applied and counted; their rows are not in the logs.",
            missed,
        )

    def _observe_row(self, loss: Any, metrics: dict[str, Any]) -> None:
        """Let the traced parts see the row of a step in a block that ends before its update."""
        observers, hook = self._observers, "before_parameter_update"
        assert observers is not None
        if observers.sees(hook):
            row = observers.row(np.int32(self.step_count), loss, metrics)
            self._held = live.observe(observers, hook, self._held, self.carry, row)

    def _hold_as(self, held: Held | None) -> None:
        """Take over what the traced parts carry after a hook of a live step."""
        if held:
            self._held = held
            self._load_traced()

    def _load_traced(self) -> None:
        if self._observers is not None:
            self._observers.load(self._held)

    def snapshot(self) -> Any:
        """The whole carry; its arrays are never changed in place."""
        self._owns_carry = False
        return self.carry

    def restore(self, snapshot: Any, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; with `fresh_samples` the random keys stay those of now."""
        if fresh_samples:
            now = self.carry
            snapshot = jax.tree.map(
                lambda then, now: now if live.is_key(now) else then, snapshot, now
            )
        self.carry = snapshot

    # The steps.

    @property
    def settled_state(self) -> Any:
        """The state, or None while it is not that of the present step."""
        replay = self._replay
        return self._variational_state if replay is None or replay.pushed else None

    def replay_block(self, hooks: HookList, each: bool) -> Iterator[StepInfo]:
        """See `AbstractDriver.replay_block`; what subclasses do in a step is left to the loop."""
        replay = self._replay
        if replay is None or replay.count or not self._is_plain(replay, hooks):
            return
        own_row = type(self)._log_additional_data is not CompiledDriver._log_additional_data
        update, end = "before_parameter_update", "on_step_end"
        updating, ending = hooks.in_block(update), hooks.in_block(end)
        first, inner = replay.steps[0], replay.length - 1
        self._step_attempt, self._went_back = 0, False
        self._guard.passed()
        if self._clock_start is None:
            self._clock_start = replay.clock
        if not (each or updating or ending or own_row):
            replay.skip_to(inner)
            self._step_count = first + inner
            return
        began, seconds, length = replay.began, replay.seconds, replay.length
        for step, (loss, metrics) in zip(range(first, first + inner), replay.rows):  # noqa: B905
            self._loss_stats, self._metrics = loss, metrics
            log_data = {self._loss_name: loss}
            if own_row or "doubts" in metrics:
                self._log_additional_data(log_data)
            else:
                log_data.update(metrics)
            now = began + seconds * (step - first + 1) / length
            log_data["wallclock"] = self._elapsed = now - self._clock_start
            if step == first:
                log_data["block"] = length
            replay.row_filled = True
            if updating:
                hooks.call_in_block(update, updating, step, log_data, self)
            if ending:
                try:
                    hooks.call_in_block(end, ending, step, log_data, self)
                except BaseException as error:
                    self.count_step(True, isinstance(error, StopRun))
                    raise
            if self._after_step:
                self.count_step(True)
            else:
                self._step_count, replay.count, replay.row_filled = step + 1, step + 1 - first, False
            if each:
                yield StepInfo(step, self._loss_stats, log_data)
            if self._replay is None:
                return

    def _is_plain(self, replay: Replay, hooks: HookList) -> bool:
        """Whether nothing can happen within a block but what its rows and two hooks bring."""
        own = all(getattr(type(self), name) is getattr(CompiledDriver, name) for name in _OF_STEPS)
        decided = hooks.votes is not None or hooks.has(*STEP_HOOKS[:3]) or self.may_reject
        return own and not decided and replay.lost is None and not replay.doubted

    def begin_attempt(self, attempt: int) -> None:
        """Leave the block if its step was rejected: further attempts are live."""
        if attempt and self._replay is not None:
            self.settle()
            self.reset_step()
            self._compute_live()  # draws the numbers of the rejected attempt
        super().begin_attempt(attempt)

    def reset_step(self) -> None:
        """Forget the samples, so that the next access draws fresh ones."""
        if self._replay is None:
            self.batch = None

    def compute_loss_and_update(self) -> tuple[Any, Any]:
        """Draw samples unless there are some, and compute loss and update from them.

        Loss and metrics come to the host in one transfer; the update stays on the device.
        """
        if self._replay is None:
            return self._compute_live()
        loss, self._metrics = next(self._replay.rows)
        return loss, None

    def _compute_live(self) -> tuple[Any, Any]:
        observers = self._observers or Observers(self.loss_name)
        attempt = live.Attempt(
            self.kernel, observers, self.carry, self._held, step=self.step_count, batch=self.batch
        )
        self.carry, self.batch = attempt.carry, attempt.batch
        self._attempt, self._metrics = attempt, attempt.metrics
        return attempt.loss, attempt.update

    def fill_row(self, log_data: dict[str, Any]) -> None:
        """Add loss and metrics; the first row of a block has its length as `block`."""
        super().fill_row(log_data)
        replay = self._replay
        if replay is None:
            self._hold_as(None if self._attempt is None else self._attempt.held)
            return
        replay.row_filled = True
        if replay.count == 0 and replay.length > 1:
            log_data["block"] = replay.length

    def _clock(self) -> float:
        replay = self._replay
        if replay is None:
            return super()._clock()
        return replay.clock

    def update_parameters(self, update: Any) -> None:
        """Apply `update` through the kernel."""
        replay = self._replay
        if replay is None:
            before, outcome = self.carry, self._outcome_of(update)
            if not self._is_implausible(self.doubts):
                good = before, self._held
                self._good = lambda: good
            self.carry = outcome.carry
            self._owns_carry, self._attempt = False, None
            self._hold_as(outcome.held)
        else:
            if self._speculate:
                self._push(replay.block)
            replay.pushed = True

    def count_step(self, counted: bool, whole: bool = True) -> None:
        """Count the step; after the last one of a block the state can be read again."""
        replay = self._replay
        counted = counted and not self._went_back
        if replay is not None and counted:
            replay.count += 1
            replay.row_filled = False
            if replay.count == replay.length:
                self._finish(replay)
            elif self._after_step:
                self.settle()
        super().count_step(counted, whole)

    def trial_loss(self, update: Any) -> Any:
        """The loss after `update`, on this step's samples, reweighted where they depend on it."""
        self._refuse_deferred("asked for a trial loss")
        if self.batch is None:
            raise RuntimeError(
                "trial_loss needs the samples of a step; call it in on_compute_update_end or "
                "before_parameter_update."
            )
        return to_host(live.trial(self.kernel, self.carry, self.batch, update))

    def _log_additional_data(self, log_data: dict[str, Any]) -> None:
        log_data.update(self._metrics)
        if "doubts" in self._metrics:
            self._mark(log_data, log_data.pop("doubts"))

"""A driver made from a kernel."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver.blocks.block import Block, run_block, run_block_in_place
from ritz.driver.blocks.block_hooks import BlockHooks
from ritz.driver.blocks.compilations import n_compilations
from ritz.driver.blocks.plan import BlockLength, Deferral
from ritz.driver.blocks.replay import Replay
from ritz.driver.blocks.transfers import to_host
from ritz.driver.guarded_blocks import GuardedBlocks, holding
from ritz.driver.hooks import HookList
from ritz.driver.run_state import StepInfo
from ritz.driver.stop import StopRun
from ritz.types import Loss, Row

_logger = logging.getLogger(__name__)

_OF_STEPS = (
    "begin_attempt",
    "reset_step",
    "compute_loss_and_update",
    "objections",
    "fill_row",
    "check_finite",
    "move",
    "update_parameters",
    "count_step",
    "_count",
)
"""Methods that a subclass may override to act in each step of a block."""


class CompiledDriver(GuardedBlocks):
    """Implements the three methods of a step from a `Kernel`.

    Steps at which no callback is live run as blocks: one compiled program takes many of them, and
    their hooks are called afterwards, in order, as if each step were just in progress. In a live
    step each phase is a compiled program, and between the phases everything is in the driver's
    state, where callbacks may read it and put something else.

    A subclass says where kernel, carry and batch live.
    """

    def __init__(self, state: object, minimized_quantity_name: str = "loss"):
        super().__init__(state, minimized_quantity_name)
        self._length = BlockLength()
        self._deferral = Deferral(())
        self._block_hooks = BlockHooks(self.hooks)

    # Planning.

    def begin_run(self) -> None:
        """Forget the callbacks of the last run; the carry's arrays may be in use elsewhere."""
        self._owns_carry = self._compiled_in_run = self._ran_blocks = False
        self._attempt = self._accepted = None
        self._deferral = Deferral(self.hooks.callbacks)

    def end_run(self) -> None:
        """Drop the traced parts of the callbacks and the last good state."""
        self._observers, self._held = None, ()
        self._good = self._attempt = None

    def begin_step(self, hooks: HookList) -> None:
        """Compute a block from this step on, unless one is being replayed or the step is live."""
        if self._replay is not None:
            return
        self._spread()
        if self._observers is None:
            self._gather_traced(hooks)
            self._block_hooks = BlockHooks(hooks)  # not before `on_run_start` has wrapped hooks
        self.attend()
        if self._deferral.always_live and hooks.votes is None:
            return
        length = hooks.plan(lambda: self._plan(self.step_count))
        if length:
            self._start_block(length)

    def plan_block(self, first: int) -> int:
        """Length of the block from `first` on that suits this process; 0 for a live step."""
        if self._replay is not None:
            self._length.done(self._replay)
        with self._outside_of_block():
            return self._plan(first)

    def _plan(self, first: int) -> int:
        if not self.runs_blocks:
            return 0
        options = self.run_state.options
        most = self.target_step - first
        if options.max_block is not None:
            most = min(most, options.max_block)
        most = self._length.next(most)
        return self._deferral.steps(first, most, self.traces, options.speculate)

    # Blocks.

    def _start_block(self, length: int) -> None:
        assert self._observers is not None
        kernel, carry = self.step_kernel, self.carry
        program: Any = run_block
        options = {}
        if not self.run_state.options.speculate:
            program, options = run_block_in_place, {"careful": self._guard.watches}
            if not self._owns_carry:  # other objects may hold these arrays
                carry = jax.tree.map(jnp.copy, carry)
        arguments = (kernel, self._observers, carry, self._held, np.int32(self.step_count))
        known, began = n_compilations(), time.perf_counter()
        block = program(*arguments, np.int32(length), **options)
        replay = Replay(self.step_count, arguments, block, began)
        replay.compiled = n_compilations() > known
        if replay.compiled:
            self._log_compilation(replay)
        if not self.run_state.options.speculate:
            replay.arguments = self._good = None
            self._push(block)
        self._look_at(replay)
        self._ran_blocks = True
        self._replay, self.run_state.block = replay, replay.steps

    def _log_compilation(self, replay: Replay) -> None:
        again = self._compiled_in_run
        self._compiled_in_run = True
        _logger.log(
            logging.WARNING if again else logging.INFO,
            "Step %d: the block program was compiled%s (%.1f s)%s",
            self.step_count,
            " again" * again,
            replay.seconds,
            ": a shape, type or setting of the driver has changed." if again else ".",
        )

    def _push(self, block: Block) -> None:
        """Put the results of a block into the driver's state."""
        with self._outside_of_block():
            self.carry, self.batch = block.carry, None
        self._dp, self._held, self._owns_carry = block.update, block.held, True

    def _finish(self, replay: Replay) -> None:
        self._replay = self.run_state.block = None
        self._length.done(replay)
        self._note_good(replay, replay.length)
        self._load_traced()

    def take_back(self, step: int, filled: bool, counted: bool) -> bool:
        """Go back to an earlier step of the block; `settle` restores its state."""
        replay = self._replay
        if replay is None or replay.arguments is None:
            return False
        replay.count = step - replay.steps[0]
        state = self.run_state
        state.step_count, state.went_back = step + counted, True
        self._loss_stats, self._metrics = to_host(replay.device_row)
        self.doubts = holding(self._metrics)
        self._divergence = self._retrying = None  # that was later
        if filled:
            state.tick(replay.clock)
        replay.count += counted
        replay.row_filled = filled and not counted
        if replay.pushed:
            replay.pushed = False
            with self._outside_of_block():
                self.carry, self._held = replay.arguments[2:4]
        return True

    def settle(self) -> None:
        """Restore the state after the counted steps of a block; later ones are discarded.

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
        self._replay = self.run_state.block = None
        self._length.cut(replay.count)
        self.batch = None
        if replay.row_filled:
            self._observe_row(*replay.device_row)
        self._load_traced()

    def _count_the_rest(self, replay: Replay) -> None:
        """Count all steps of a block whose earlier carry was given up, since none can be undone."""
        missed = replay.length - replay.count - (replay.lost is not None)
        self._replay = self.run_state.block = None
        self._length.cut(replay.count)
        self.run_state.step_count += missed
        self._load_traced()
        if not missed:
            return
        _logger.warning(
            "The run ended within a block that cannot be taken back (speculate=False): %d more "
            "steps were applied and counted; their rows are not in the logs.",
            missed,
        )

    # The steps.

    @property
    def settled_state(self) -> Any:
        """The state, or None while it is not that of the present step."""
        replay = self._replay
        return self._variational_state if replay is None or replay.pushed else None

    @override
    def replay_block(self, hooks: HookList) -> Iterator[StepInfo]:
        replay, state = self._replay, self.run_state
        if replay is None or replay.count or not self._is_plain(replay, hooks):
            return
        state.attempt, state.went_back = 0, False
        self._guard.passed()
        if state.began is None:
            state.began = replay.clock
        own_row = type(self)._log_additional_data is not CompiledDriver._log_additional_data
        if state.options.each or self._block_hooks.has_any or own_row:
            yield from self._inner_steps(replay, not own_row and not replay.doubts)
        else:
            replay.skip_to(replay.length - 1)
            state.step_count = replay.steps[-1]

    def _is_plain(self, replay: Replay, hooks: HookList) -> bool:
        """Whether only rows and the last two hooks matter within a block."""
        own = all(getattr(type(self), name) is getattr(CompiledDriver, name) for name in _OF_STEPS)
        decided = hooks.votes is not None or not self._block_hooks.suffice or self.may_reject
        return own and not decided and replay.lost is None and not replay.doubted

    def _inner_steps(self, replay: Replay, rows_are_metrics: bool) -> Iterator[StepInfo]:
        """Replay the steps of a block but its last; ends early if a callback ends the block."""
        state, hooks, each = self.run_state, self._block_hooks, self.run_state.options.each
        first, length, began = replay.steps[0], replay.length, replay.began - (state.began or 0.0)
        for step, (loss, metrics) in zip(replay.steps[:-1], replay.rows):  # noqa: B905
            self._loss_stats, self._metrics = loss, metrics
            log_data = {self._loss_name: loss}
            if rows_are_metrics:
                log_data.update(metrics)
            else:
                self._log_additional_data(log_data)
            done = step + 1 - first
            log_data["wallclock"] = state.elapsed = began + replay.seconds * done / length
            if step == first:
                log_data["block"] = length
            replay.row_filled = True
            hooks.before_parameter_update(step, log_data, self)
            try:
                hooks.on_step_end(step, log_data, self)
            except BaseException as error:
                self.count_step(True, isinstance(error, StopRun))
                raise
            if state.after_step:
                self.count_step(True)
            else:
                state.step_count, replay.count, replay.row_filled = step + 1, done, False
            if each:
                yield StepInfo(step, self._loss_stats, log_data)
            if self._replay is None:
                return

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

    def compute_loss_and_update(self) -> tuple[Loss, PyTree]:
        """Draw samples unless there are some, and compute loss and update from them.

        Loss and metrics come to the host in one transfer; the update stays on the device.
        """
        if self._replay is None:
            return self._compute_live()
        loss, self._metrics = next(self._replay.rows)
        return loss, None

    def fill_row(self, log_data: Row) -> None:
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
        return super()._clock() if replay is None else replay.clock

    @override
    def update_parameters(self, update: PyTree) -> None:
        replay = self._replay
        if replay is None:
            before, outcome = self._outcome_of(update)
            if not self._is_implausible(self.doubts):
                good = before, self._held
                self._good = lambda: good
            self.carry = outcome.carry
            self._owns_carry, self._attempt = False, None
            self._hold_as(outcome.held)
        else:
            if self.run_state.options.speculate:
                self._push(replay.block)
            replay.pushed = True

    def _count(self) -> None:
        """Count the step; after the last one of a block the state can be read again."""
        super()._count()
        replay = self._replay
        if replay is None:
            return
        replay.count += 1
        replay.row_filled = False
        if replay.count == replay.length:
            self._finish(replay)
        elif self.run_state.after_step:
            self.settle()

    def _log_additional_data(self, log_data: Row) -> None:
        log_data.update(self._metrics)
        if "doubts" in self._metrics:
            self._mark(log_data, log_data.pop("doubts"))

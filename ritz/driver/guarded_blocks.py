"""Divergence of drivers with a kernel: finding the step, and going back.

Nothing is checked within a block: NaN stays NaN, so that its rows and last parameters show whether
all is finite. If not, the program runs again for fewer steps.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver.blocks import live
from ritz.driver.blocks.block import Block, run_block
from ritz.driver.blocks.replay import Replay
from ritz.driver.blocks.traced import Held, Observers
from ritz.driver.blocks.transfers import to_host
from ritz.driver.divergence import Divergence
from ritz.driver.finite import is_finite, loss_parts
from ritz.driver.guarded import FailedState
from ritz.driver.kernel_driver import KernelDriver
from ritz.types import Loss, Row


class GuardedBlocks(KernelDriver):
    """`Guarded` for drivers whose state is a carry."""

    _good: Callable[[], tuple[PyTree, Held]] | None = None
    """Gives the last carry from which parameters moved whose loss was finite and plausible, and
    what the traced parts of callbacks carried then."""
    _accepted: frozenset[str] | None = None
    """Doubts about the first step of the run."""
    _candidate: tuple[PyTree, PyTree, live.Outcome] | None = None
    """An update, the carry before it, and the state after it."""
    _failed_carry: PyTree = None
    _ran_blocks = False
    """Whether any step of this run was part of a block."""

    @override
    def check_finite(self) -> None:
        replay = self._replay
        if replay is None or replay.lost is not None:
            super().check_finite()

    def _examine(self) -> Divergence | None:
        """The first quantity that is not finite; the same on all processes."""
        replay = self._replay
        if replay is not None:
            if replay.lost is None or replay.lost[0] != replay.count:
                return None
            return replay.lost[1]._replace(loss=self._loss_stats)
        if self._accepted is None:
            self._accepted = holding(self._metrics)
        attempt, loss = self._attempt, self._loss_stats
        if attempt is not None and loss is attempt.loss:
            finite = attempt.loss_is_finite
        else:
            finite = is_finite(loss_parts(loss))
        if not finite:
            return Divergence("loss", loss)
        update = self._dp
        carry = self.carry
        outcome = self._apply(carry, update)
        if not outcome.finite:
            self._failed_carry = outcome.carry
            return Divergence(_culprit(update), self._loss_stats)
        self._candidate = update, carry, outcome
        return None

    def _apply(self, carry: PyTree, update: PyTree) -> live.Outcome:
        if self._attempt is not None:
            return self._attempt.outcome(self.step_kernel, carry, update)
        after, finite = live.apply(self.step_kernel, carry, update)
        return live.Outcome(after, (), finite)

    def _outcome_of(self, update: PyTree) -> tuple[PyTree, live.Outcome]:
        """The carry before `update` and the state after it, from `_examine` or computed now."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate[0] is update:
            return candidate[1:]
        carry = self.carry
        return carry, self._apply(carry, update)

    def move(self) -> None:
        """Apply the update, which is finite; within a block it has been applied already."""
        replay = self._replay
        if replay is None or replay.count == replay.length - 1:
            self.update_parameters(self._dp)

    def _is_implausible(self, doubts: frozenset[str]) -> bool:
        """Whether parameters have exploded, judged by doubts that the run did not begin with."""
        return bool(doubts) and bool(doubts & self.telling_doubts - (self._accepted or frozenset()))

    def _stays(self, found: Divergence) -> bool:
        """Whether the state is good and only its update is not."""
        return found.quantity != "loss" and not self._is_implausible(holding(self._metrics))

    def _retreat(self, found: Divergence) -> None:
        """Go back to the last good carry; random numbers are not repeated."""
        if self._replay is not None:
            self.settle()
            self.reset_step()
            self._compute_live()  # draws the numbers of the step in the block
        assert self._attempt is not None
        if self._good is None or self._stays(found):
            self._go_to(self._attempt.before, self._held)
        else:
            self._go_to(*self._good())

    def _go_to(self, carry: PyTree, held: Held) -> None:
        """Restore a carry except for its random numbers.

        Traced parts that look at the end of steps, such as averages of parameters, go back too;
        those that look before the update have seen the loss of the carry already.
        """
        observers = self._observers
        if observers is not None and held:
            ends = [part.callback.traced_at == "on_step_end" for part in observers.parts]
            old = zip(ends, held, self._held, strict=True)
            self._held = tuple(then if end else now for end, then, now in old)
            observers.load(self._held)
        snapshot = self._snapshot_of(carry)
        self.restore(snapshot, fresh_samples=True)
        self.batch = self._attempt = self._candidate = None

    def _snapshot_of(self, carry: PyTree) -> PyTree:
        """The snapshot of a driver with this `carry`."""
        now, self.carry = self.carry, carry
        try:
            return self.snapshot()
        finally:
            self.carry = now

    @override
    def leave_diverged(self) -> None:
        found, self._divergence = self._divergence, None
        if found is None:
            return
        failed, self._failed_carry = self._failed_carry, None
        stays = self._stays(found)
        is_other = failed is not None and found.quantity != "loss"
        snapshot = self._snapshot_of(failed) if is_other else self.snapshot()
        self.failed_state = FailedState(found, snapshot, stays or self._good is not None)
        if not stays and self._good is not None:
            self._go_to(*self._good())

    def probe(self) -> tuple[Loss, frozenset[str]] | None:
        """The loss and the doubts, by the program that has taken the steps of this run."""
        if not (self.runs_blocks and self.run_state.options.speculate):
            return None
        self.attend()
        if self._ran_blocks:
            step = np.int32(self.step_count)
            arguments = (self.step_kernel, self._observers, self.carry, self._held, step)
            loss, metrics = jax.tree.map(
                lambda leaf: leaf[0], run_block(*arguments, np.int32(1)).rows
            )
        else:
            observers = self._observers or Observers(self._loss_name)
            now = (self.step_kernel, observers, self.carry, self._held)
            attempt = live.Attempt(*now, step=self.step_count, batch=None)
            loss, metrics = attempt.loss, attempt.metrics
        loss, doubts = to_host((loss, dict(metrics.get("doubts", {}))))
        return loss, holding({"doubts": doubts})

    def _look_at(self, replay: Replay) -> None:
        """Find the step of a block at which the run diverges, if it does."""
        if self._accepted is None:
            first = {name: holds[0] for name, holds in replay.doubts.items()}
            self._accepted = holding({"doubts": first})
        if replay.finite or not self._guard.watches:
            return
        if replay.arguments is None:  # the program has stopped there
            step = replay.length - 1
            is_loss = replay.first_invalid == step
            replay.lost = step, Divergence("loss" if is_loss else _culprit(replay.block.update))
            return
        step = replay.first_invalid
        if step == 0 or (step < replay.length and _taken(replay, step).finite):
            replay.lost = step, Divergence("loss")
            return
        good, lost = 0, step  # after `good` steps the parameters are finite, after `lost` not
        while lost - good > 1:
            middle = (good + lost) // 2
            if _taken(replay, middle).finite:
                good = middle
            else:
                lost = middle
        block = _taken(replay, lost)
        self._failed_carry = block.carry
        replay.lost = good, Divergence(_culprit(block.update))

    def _note_good(self, replay: Replay, count: int) -> None:
        """Note the last good carry before one of the first `count` steps of a block."""
        if replay.arguments is None:
            self._good = None
            return
        telling = self.telling_doubts - (self._accepted or frozenset())
        good = np.ones(count, bool)
        for name in telling & replay.doubts.keys():
            good &= ~np.asarray(replay.doubts[name][:count], bool)
        if good.any():
            last = int(np.flatnonzero(good)[-1])
            arguments = replay.arguments
            first = arguments[2], arguments[3]
            # At the first step the carry alone is kept. For later ones the kernel is too, and with
            # it the data that it holds, until the next block has ended.
            self._good = (lambda: _state_after(arguments, last)) if last else (lambda: first)


def _taken(replay: Replay, count: int) -> Block:
    """The first `count` steps of a block once more, which gives the same bits."""
    assert replay.arguments is not None
    return run_block(*replay.arguments, np.int32(count))


def _state_after(arguments: tuple[PyTree, ...], count: int) -> tuple[PyTree, Held]:
    block = run_block(*arguments, np.int32(count))
    return block.carry, block.held


def _culprit(update: PyTree) -> str:
    return "parameters" if is_finite(update) else "update"


def holding(metrics: Row) -> frozenset[str]:
    """The doubts that hold in a row."""
    return frozenset(name for name, holds in metrics.get("doubts", {}).items() if holds)

"""Base class of drivers with a kernel: the carry, the batch, and live steps."""

import abc
import contextlib
import operator
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver.abstract import AbstractDriver
from ritz.driver.blocks import live
from ritz.driver.blocks.block import row_shapes
from ritz.driver.blocks.replay import Replay
from ritz.driver.blocks.traced import Held, Observers, gather
from ritz.driver.blocks.transfers import to_host
from ritz.driver.callback import AbstractCallback
from ritz.driver.hooks import HookList
from ritz.driver.kernel import Kernel
from ritz.driver.processes.layout import laid_out, mesh_of, on_all_devices
from ritz.driver.processes.priority import let_computation_go_first
from ritz.types import Loss, Row


class KernelDriver(AbstractDriver):
    """Takes live steps with a `Kernel`; a subclass says where kernel, carry and batch live."""

    def __init__(self, state: object, minimized_quantity_name: str = "loss"):
        super().__init__(state, minimized_quantity_name)
        self._metrics: Row = {}
        self._observers: Observers | None = None
        self._held: Held = ()
        self._owns_carry = self._compiled_in_run = False
        self._row_shapes: Row | None = None
        self._attempt: live.Attempt | None = None
        self._replay: Replay | None = None

    @property
    @abc.abstractmethod
    def kernel(self) -> Kernel:
        """The kernel, for the present settings of the driver's state."""

    @property
    @abc.abstractmethod
    def carry(self) -> PyTree:
        """All that the next step needs, read from the driver and its state; may be set."""

    @carry.setter
    @abc.abstractmethod
    def carry(self, carry: PyTree) -> None: ...

    @property
    @abc.abstractmethod
    def batch(self) -> PyTree:
        """The samples of this step, or None if none were drawn since `reset_step`."""

    @batch.setter
    @abc.abstractmethod
    def batch(self, batch: PyTree) -> None: ...

    @property
    def runs_blocks(self) -> bool:
        """Whether all phases of a step can be compiled; otherwise every step is live."""
        return True

    @contextlib.contextmanager
    def _outside_of_block(self) -> Iterator[None]:
        """Allow access to the state although the hooks of a block are being called."""
        block, self.run_state.block = self.run_state.block, None
        try:
            yield
        finally:
            self.run_state.block = block

    @property
    def _mesh(self) -> Mesh | None:
        """The devices that share the work of a step; None for one, or if each does all of it."""
        return mesh_of(self.carry)

    @property
    def step_kernel(self) -> Kernel:
        """The kernel as compiled programs take it: arrays of the carry stay where they lie."""
        mesh = self._mesh
        return self.kernel if mesh is None else laid_out(self.kernel, self.carry, mesh)

    def _spread(self) -> None:
        """Put arrays of the carry that lie on one device on all of those that share the work."""
        mesh = self._mesh
        if mesh is None:
            return
        let_computation_go_first()
        carry = self.carry
        placed = on_all_devices(carry, mesh)
        if any(map(operator.is_not, jax.tree.leaves(carry), jax.tree.leaves(placed))):
            self.carry = placed
        self._held = on_all_devices(self._held, mesh)

    def attend(self) -> None:
        """Called before a live step or block; what a kernel paused for is done here.

        Arrays that were too small get more room here; see `GrowingDriver`.
        """

    # Traced parts of callbacks.

    @override
    def traces(self, callback: AbstractCallback) -> bool:
        return self._observers is not None and self._observers.has(callback)

    def _gather_traced(self, hooks: HookList) -> None:
        self._observers = Observers(self.loss_name)
        traced = [c for c in hooks.callbacks if c.has_traced or c.has_traced_metrics]
        if traced and self.runs_blocks:
            carry = self.carry
            if self._row_shapes is None:
                self._row_shapes = row_shapes(self.step_kernel, self._observers, carry)
            self._observers, self._held = gather(traced, carry, self._row_shapes, self.loss_name)

    def _observe_row(self, loss: Loss, metrics: Row) -> None:
        """Pass a row to the traced parts when a run stops within a block, before an update."""
        observers, hook = self._observers, "before_parameter_update"
        assert observers is not None
        if observers.sees(hook):
            row = observers.row(np.int32(self.step_count), loss, metrics)
            self._held = live.observe(observers, hook, self._held, self.carry, row)

    def _hold_as(self, held: Held | None) -> None:
        """Store the carries of the traced parts after a hook of a live step."""
        if held:
            self._held = held
            self._load_traced()

    def _load_traced(self) -> None:
        if self._observers is not None:
            self._observers.load(self._held)

    def snapshot(self) -> PyTree:
        """The whole carry; its arrays are never changed in place."""
        self._owns_carry = self._compiled_in_run = False
        return self.carry

    def restore(self, snapshot: PyTree, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; with `fresh_samples` the present random keys are kept."""
        if fresh_samples:
            now = self.carry
            snapshot = jax.tree.map(
                lambda then, now: now if live.is_key(now) else then, snapshot, now
            )
        self.carry = snapshot

    # Live steps.

    def _compute_live(self) -> tuple[Loss, PyTree]:
        observers = self._observers or Observers(self.loss_name)
        now = (self.step_kernel, observers, self.carry, self._held)
        attempt = live.Attempt(*now, step=self.step_count, batch=self.batch)
        self.carry, self.batch = attempt.carry, attempt.batch
        self._attempt, self._metrics = attempt, attempt.metrics
        return attempt.loss, attempt.update

    def _undo_attempt(self) -> None:
        """Restore the random state from before a live step that was not counted.

        Not if a callback has put other parameters into the state since.
        """
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        now, then = jax.tree.leaves(self.carry.params), jax.tree.leaves(attempt.carry.params)
        if len(now) == len(then) and all(map(operator.is_, now, then)):
            self.carry = attempt.before

    def trial_loss(self, update: PyTree) -> Loss:
        """The loss after `update`, on this step's samples, reweighted where they depend on it."""
        self._refuse_deferred("asked for a trial loss")
        if self.batch is None:
            raise RuntimeError(
                "trial_loss needs the samples of a step; call it in on_compute_update_end or "
                "before_parameter_update."
            )
        return to_host(live.trial(self.step_kernel, self.carry, self.batch, update))

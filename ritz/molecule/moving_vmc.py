"""Base class of variational Monte Carlo at one geometry after another."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver.callback import AbstractCallback, CallbackOrder, StopReason, StopRun, never_live
from ritz.molecule.belonging import check_same
from ritz.molecule.estimators.forces import Forces
from ritz.molecule.molecule import Molecule
from ritz.molecule.moving import (
    FEWEST_BLOCKS,
    Measured,
    Mover,
    MovingCarry,
    MovingKernel,
    Status,
)
from ritz.molecule.state import ElectronState
from ritz.molecule.vmc import VMC
from ritz.molecule.wavefunction import Psi, takes_nuclei
from ritz.types import Row

NOT_TAKEN = {
    "n_states": "nuclei move in one state; leave it out.",
    "overlap_penalty": "nuclei move in one state; leave it out.",
}
"""Arguments of `VMC` that drivers with moving nuclei do not take -> what to do instead."""

MORE_TAKEN = ("geometry", "measures", "status", "fmax", "fmax_error")
"""Further names in rows, besides those of `VMC`, that no estimator can have."""


class MovingVMC(VMC):
    """VMC of nuclei that move = training + a measurement + a move, again and again.

    At each geometry the parameters are trained for some steps, and rest in further ones, in which
    energy and forces are measured; then the nuclei move, and electrons follow those near them. All
    geometries share the compiled programs.
    """

    nuclei_move = True
    changes_besides = "the nuclei"

    def __init__(
        self,
        molecule: Molecule,
        wavefunction: nn.Module | Psi,
        mover: Mover,
        n_first: int,
        n_updates: int,
        n_measured: int,
        forces: Forces | None,
        **settings: Any,
    ):
        for name, number in (("n_first", n_first), ("n_updates", n_updates)):
            check_count(name, number, 0)
        check_count("n_measured", n_measured, FEWEST_BLOCKS)
        _check_forces(forces, molecule)
        self._mover, self._forces = mover, forces
        self._numbers = n_first, n_updates, n_measured
        super().__init__(molecule, wavefunction, **settings)
        state: ElectronState = self.state
        if not takes_nuclei(state.wavefunction):
            raise ValueError(
                "the nuclei move, but the wave function has no argument for their positions; "
                "define it as (params, electrons, nuclei=None), or a flax module's __call__ as "
                "(electrons, nuclei=None)."
            )
        clash = [name for name in self.estimators if name in MORE_TAKEN]
        if clash:
            raise ValueError(
                f"an estimator cannot be called {clash[0]!r}; rows already have this name."
            )
        with self._precision():
            self._nuclei = self.kernel.first_nuclei(jnp.asarray(molecule.coordinates))
        state.nuclei = self._nuclei.positions
        self.register_hook(GeometriesDone())

    @property
    @override
    def kernel(self) -> MovingKernel:
        n_first, n_updates, n_measured = self._numbers
        return MovingKernel(
            sampling=self._single,
            loss_grads=self.loss_grads,
            rule=self.rule,
            optimizer=self.optimizer,
            mode=self.mode,
            chunk_size=self.chunk_size,
            mover=self._mover,
            forces=self._forces,
            n_first=n_first,
            n_updates=n_updates,
            n_measured=n_measured,
        )

    @property
    @override
    def carry(self) -> Any:
        return MovingCarry(*super().carry, self._nuclei)

    @carry.setter
    def carry(self, carry: Any) -> None:
        VMC.carry.fset(self, carry)  # type: ignore[attr-defined]
        self._nuclei = carry.nuclei
        self.state.nuclei = carry.nuclei.positions

    @property
    @override
    def molecule(self) -> Molecule:
        """The molecule with its nuclei where they are now."""
        nuclei = getattr(self, "_nuclei", None)  # not there yet while the driver is made
        first: Molecule = self._variational_state.molecule
        return first if nuclei is None else first.at(np.asarray(nuclei.positions))

    @property
    def measured(self) -> Measured:
        """Energy and forces of the last geometry that was measured; infinite before the first."""
        return jax.tree.map(np.asarray, self._nuclei.measured)

    @property
    def status(self) -> str:
        """Either "moving", "finished", "unfinished" or "failed"."""
        return Status(int(self._nuclei.status)).word

    @property
    def mover(self) -> Mover:
        """What decides where the nuclei go."""
        return self._mover

    @property
    @override
    def settings(self) -> dict[str, object]:
        n_first, n_updates, n_measured = self._numbers
        return {
            **super().settings,
            "molecule": self.state.molecule,
            "forces": self._forces,
            "n_first": n_first,
            "n_updates": n_updates,
            "n_measured": n_measured,
        }


def _check_forces(forces: object, molecule: Molecule) -> None:
    """Refuse what is no estimator of the forces, and one of another molecule."""
    if forces is None:
        return
    if not isinstance(forces, Forces):
        raise TypeError(
            f"forces takes an estimator, such as Forces(molecule), but {forces!r} was given."
        )
    remedy = "give Forces(molecule) of the same one"
    part = "the molecule of the estimator of forces"
    check_same(part, forces.molecule, molecule, remedy, moves=True)


class GeometriesDone(AbstractCallback):
    """Ends the run after the last geometry."""

    callback_order = CallbackOrder.STOP
    is_live = never_live  # only the row is read
    decides = False  # the last step moves nothing, and stays
    _status, _told = Status.MOVING, ""

    @property
    @override
    def label(self) -> str:
        return "Geometries"

    @override
    def on_run_start(self, step: int, driver: Any) -> None:
        self._status = Status.MOVING
        if driver.status != Status.MOVING.word:
            raise _stop("nothing is left to do", driver.status == Status.FINISHED.word)

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: Any) -> None:
        self._status = Status(int(log_data["status"]))
        if self._status != Status.MOVING:
            self._told = driver.mover.ending(self._status, log_data)

    @override
    def on_step_end(self, step: int, log_data: Row, driver: Any) -> None:
        if self._status != Status.MOVING:
            raise _stop(self._told, self._status == Status.FINISHED)


def _stop(message: str, finished: bool) -> StopRun:
    stop = StopRun(message)
    if finished:
        stop.reason = StopReason.FINISHED
    return stop

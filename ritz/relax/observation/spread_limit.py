"""Parks structures of which a committee is not sure enough."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms as AseAtoms
from jaxtyping import Array, Bool, Float
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, StopRun, never_live
from ritz.driver.signatures import suggests_names
from ritz.relax.batching.batch import UNCERTAIN
from ritz.relax.convergence.convergence_hook import ConvergenceHook
from ritz.relax.convergence.criteria import Criterion
from ritz.relax.observation.quantities import EXPECTED_ERRORS
from ritz.types import Row
from ritz.wording import counted

if TYPE_CHECKING:
    from ritz.relax.driver import Relaxation


@dataclasses.dataclass(frozen=True)
class ExceedsLimit:
    """Whether an expected error is above its limit.

    Args:
        limit: The limit, in the unit of the error.
    """

    limit: float

    def __call__(self, errors: Float[Array, " slots"]) -> Bool[Array, " slots"]:
        """Whether the error of each structure is above the limit, shape (n_structures,)."""
        return errors > self.limit


class SpreadLimit(AbstractCallback):
    """Parks the structures of a `Relaxation` whose expected errors pass a limit.

    The expected error is the spread of a committee's members (see `Spread`) times the factor of its
    calibration (see `CommitteePotential.calibrate`), 1 without one. It is computed and compared
    with the limits in the compiled step, with the forces themselves, so that a structure stops
    at the very first step at which it passes one, however long blocks are. It gets the status
    "uncertain" and leaves its slot to the next one. Rows show under `structures` the
    `expected_energy_error` and the `expected_force_error` of each slot, zero where no structure
    was evaluated, and count the `uncertain` structures.

    Args:
        force: Limit of the largest expected error of any force vector, in eV/Angstrom.
        energy: Limit of the expected error of the energy, in eV per atom.
        enough: Number of parked structures with which the run ends; by default it goes on with the
            rest. Several may pass in the same step, so that there may be more.

    Raises:
        ValueError: If there is no limit, or a number is not allowed.
    """

    callback_order = CallbackOrder.STOP
    state_fields = ("highest", "at_parking")
    is_live = never_live

    @suggests_names
    def __init__(
        self, force: float | None = None, energy: float | None = None, enough: int | None = None
    ):
        given = dict(zip(EXPECTED_ERRORS, (energy, force), strict=True))
        if force is None and energy is None:
            raise ValueError(
                "a SpreadLimit needs a limit: force=0.3 in eV/Angstrom, say, or energy=0.01 in eV "
                "per atom."
            )
        names = dict(zip(EXPECTED_ERRORS, ("energy", "force"), strict=True))
        self.limits = {
            key: check_positive(names[key], limit)
            for key, limit in given.items()
            if limit is not None
        }
        self.enough = None if enough is None else check_count("enough", enough, 1)
        criteria = [
            Criterion(key, limit, custom_op=ExceedsLimit(limit))
            for key, limit in self.limits.items()
        ]
        self.hook = ConvergenceHook(criteria, mode="any")
        self.hook.target_status = UNCERTAIN
        self.highest: np.ndarray | None = None
        """Largest expected errors so far, of energy and force, shape (2, n_structures)."""
        self.at_parking: np.ndarray | None = None
        """Expected errors of parked structures, shape (2, n_structures); NaN for others."""

    def __repr__(self) -> str:
        told = " or ".join(f"{key} > {limit:g}" for key, limit in self.limits.items())
        return f"SpreadLimit({told})"

    @property
    def n_parked(self) -> int:
        """Number of structures that have passed a limit."""
        return 0 if self.at_parking is None else int(np.isfinite(self.at_parking[0]).sum())

    def check_run(self, driver: AbstractDriver, resume: bool) -> None:
        """Refuse drivers other than `Relaxation`.

        Raises:
            TypeError: If the driver is no `Relaxation`.
        """
        if not hasattr(driver, "structures"):
            raise TypeError(
                f"SpreadLimit parks the structures of a Relaxation, not of a "
                f"{type(driver).__name__}."
            )

    @override
    def on_run_start(self, step: int, driver: Any) -> None:
        shape = len(EXPECTED_ERRORS), len(driver.structures)
        if self.highest is None or self.highest.shape != shape:
            self.highest, self.at_parking = np.zeros(shape), np.full(shape, np.nan)

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: Any) -> None:
        assert self.highest is not None and self.at_parking is not None
        slots = log_data["structures"]
        places = np.asarray(slots["place"])
        errors = np.array([slots[key] for key in EXPECTED_ERRORS])
        finite = np.where(np.isfinite(errors), errors, 0)
        for highest, now in zip(self.highest, finite, strict=True):
            np.maximum.at(highest, places, now)
        new = np.asarray(slots["status"]) == UNCERTAIN
        new &= ~np.isfinite(self.at_parking[0, places])
        self.at_parking[:, places[new]] = errors[:, new]

    @override
    def on_step_end(self, step: int, log_data: Row, driver: Any) -> None:
        if self.enough is not None and self.n_parked >= self.enough:
            told = counted(self.n_parked, "structure", "has")
            raise StopRun(f"{told} passed a limit of the expected error")

    def parked(self, driver: "Relaxation") -> list[AseAtoms]:
        """Copies of the structures that have passed a limit, as they were at that step.

        Energies and forces are those of the committee's mean. `info` has the `place` among the
        given structures, the `step` of the structure, and the expected errors by the names of
        `EXPECTED_ERRORS`, in eV per atom and eV/Angstrom.

        Args:
            driver: The driver of the run.
        """
        if self.at_parking is None:
            return []
        state, found = driver.state, []
        places = np.flatnonzero(np.isfinite(self.at_parking[0]))
        atoms, steps = (state.atoms, state.steps) if len(places) else ([], [])
        for place in map(int, places):
            errors = map(float, self.at_parking[:, place])
            atoms[place].info |= {"place": place, "step": int(steps[place])}
            atoms[place].info |= dict(zip(EXPECTED_ERRORS, errors, strict=True))
            found.append(atoms[place])
        return found

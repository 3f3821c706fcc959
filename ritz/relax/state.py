"""The state of a relaxation: all structures, finished, running or waiting."""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms as AseAtoms
from jaxtyping import Float, Int

from ritz.driver.processes.division import on_host
from ritz.relax.algorithms.stage import FusedStage
from ritz.relax.batching.batch import EMPTY, FAILED, Geometry, Outcome, is_running_on_host, outcome
from ritz.relax.batching.bucket import Bucket, unpack
from ritz.relax.kernel import RelaxCarry


class Structures:
    """All structures of a run, in the order in which they were given.

    Positions, velocities, energies and forces belong together. They are those after the last step,
    at which unfinished structures are evaluated on demand; finished ones stay as they were at
    their last evaluation.

    Args:
        given: The structures as they were given.
        buckets: The buckets that hold them.
        stages: The stages of the run.
        carry: The driver's present carry.
        present: Evaluates the structures of the carry, see `RelaxKernel.present`.
        reason: Explains why a structure has failed, from its bucket, the outcome on the host, the
            row there, and its index among the given structures.
    """

    def __init__(
        self,
        given: Sequence[AseAtoms],
        buckets: Sequence[Bucket],
        stages: FusedStage,
        carry: RelaxCarry,
        present: Callable[[RelaxCarry], tuple[Outcome, ...]],
        reason: Callable[[int, Outcome, int, int], str],
    ):
        self.given = given
        self.buckets = buckets
        self.stages = stages
        self.carry = carry
        self._present = present
        self._reason = reason
        self._known: tuple[RelaxCarry, list[Outcome]] | None = None

    def __len__(self) -> int:
        return len(self.given)

    @property
    def parameters(self) -> tuple[Geometry, ...]:
        """Positions and cells of the structures in the slots, by bucket."""
        return self.carry.params

    @parameters.setter
    def parameters(self, parameters: tuple[Geometry, ...]) -> None:
        self.carry = self.carry._replace(params=parameters)

    def _in_slots(self) -> list[Outcome]:
        """Results of the structures in the slots, on the host."""
        if self._known is None or self._known[0] is not self.carry:
            n_stages = len(self.stages)
            if any(np.any(is_running_on_host(s, n_stages)) for s in self.carry.slots):
                found = self._present(self.carry)
            else:
                found = tuple(map(outcome, self.carry.slots))
            self._known = self.carry, [on_host(one) for one in found]
        return self._known[1]

    def present(self) -> tuple[list[Outcome], list[np.ndarray]]:
        """Present results of unfinished structures, and their indices; -1 for others."""
        found, places = self._in_slots(), []
        for bucket, slots in zip(self.buckets, self.carry.slots, strict=True):
            runs = is_running_on_host(slots, len(self.stages))
            places.append(np.where(runs, bucket.given_places(on_host(slots.member)), -1))
        return found, places

    def _outcomes(self, evaluate: bool = True) -> tuple[list[Outcome], list[np.ndarray], list[int]]:
        """Results of structures, their indices (-1 for none), and their buckets."""
        outcomes, places, numbers = [], [], []
        here = self._in_slots() if evaluate else list(map(outcome, self.carry.slots))
        for number, (bucket, slots) in enumerate(zip(self.buckets, self.carry.slots, strict=True)):
            if isinstance(slots.finished, Outcome):
                left = on_host(slots.finished)  # by device, each with rows for all structures
                rows = bucket.given_places(np.arange(len(left.status)) % len(bucket.places))
                outcomes.append(left)
                places.append(np.where(left.status == EMPTY, -1, rows))
                numbers.append(number)
            outcomes.append(here[number])
            places.append(bucket.given_places(on_host(slots.member)))
            numbers.append(number)
        return outcomes, places, numbers

    def _gather(self, name: str, fill: float, evaluate: bool = True) -> np.ndarray:
        array = np.full(len(self), fill)
        for one, places, _ in zip(*self._outcomes(evaluate), strict=True):
            there = places >= 0
            array[places[there]] = on_host(getattr(one, name))[there]
        return array

    @property
    def energy(self) -> Float[np.ndarray, " structures"]:
        """Energy of each structure in eV; infinite for waiting ones."""
        return self._gather("energy", np.inf)

    @property
    def fmax(self) -> Float[np.ndarray, " structures"]:
        """Largest force in eV/Angstrom of each structure, including those on a moving cell."""
        return self._gather("fmax", np.inf)

    @property
    def status(self) -> Int[np.ndarray, " structures"]:
        """The stage of each, or the number of stages for those that have left the last one.

        -1 stands for failed, -2 for unconverged (all steps used up), -3 for waiting, -4 for
        uncertain (see `SpreadLimit`).
        """
        return self._gather("status", EMPTY, evaluate=False)

    @property
    def steps(self) -> Int[np.ndarray, " structures"]:
        """Number of steps of each structure."""
        return self._gather("steps", 0, evaluate=False)

    @property
    def reasons(self) -> list[str]:
        """Reason why each structure has failed; an empty string for others."""
        found = [""] * len(self)
        for one, places, bucket in zip(*self._outcomes(evaluate=False), strict=True):
            rows = np.flatnonzero((on_host(one.status) == FAILED) & (places >= 0))
            known = on_host(one) if rows.size else one
            for row in map(int, rows):
                place = int(places[row])
                found[place] = self._reason(bucket, known, row, place)
        return found

    @property
    def atoms(self) -> list[AseAtoms]:
        """The structures with energies and forces; waiting ones as they were given."""
        outcomes, places, _ = self._outcomes()
        found = unpack(self.given, outcomes, places, self.stages)
        return [new or old.copy() for new, old in zip(found, self.given, strict=True)]

"""The state of a relaxation: all structures, wherever they are."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ase import Atoms as AseAtoms
from jaxtyping import Float, Int

from ritz.relax.batch import EMPTY, Geometry, Outcome, outcome
from ritz.relax.bucket import Bucket, unpack
from ritz.relax.kernel import RelaxCarry
from ritz.relax.stage import FusedStage


class Structures:
    """All structures of a run, in the order in which they were given.

    Positions, velocities, energies and forces are those of each structure's last evaluation, and
    so belong together; `parameters` is where the next one will be.
    """

    def __init__(
        self,
        given: Sequence[AseAtoms],
        buckets: Sequence[Bucket],
        stages: FusedStage,
        carry: RelaxCarry,
    ):
        self.given = given
        self.buckets = buckets
        self.stages = stages
        self.carry = carry

    def __len__(self) -> int:
        return len(self.given)

    @property
    def parameters(self) -> tuple[Geometry, ...]:
        """Positions and cells of the structures in the slots, by bucket."""
        return self.carry.params

    @parameters.setter
    def parameters(self, parameters: tuple[Geometry, ...]) -> None:
        self.carry = self.carry._replace(params=parameters)

    def _outcomes(self) -> tuple[list[Outcome], list[np.ndarray]]:
        """What is in the slots and what has left them, and the places; -1 for nothing."""
        outcomes, places = [], []
        for bucket, slots in zip(self.buckets, self.carry.slots, strict=True):
            known = np.array(bucket.places)
            if isinstance(slots.finished, Outcome):
                left = jax.device_get(slots.finished)
                outcomes.append(left)
                places.append(np.where(left.status == EMPTY, -1, known))
            outcomes.append(jax.device_get(outcome(slots)))
            places.append(known[np.asarray(slots.member)])
        return outcomes, places

    def _gather(self, name: str, fill: Any) -> np.ndarray:
        array = np.full(len(self), fill)
        for one, places in zip(*self._outcomes(), strict=True):
            there = places >= 0
            array[places[there]] = getattr(one, name)[there]
        return array

    @property
    def energy(self) -> Float[np.ndarray, " structures"]:
        """The last energy of each, in eV; infinite where none was computed yet."""
        return self._gather("energy", np.inf)

    @property
    def fmax(self) -> Float[np.ndarray, " structures"]:
        """The largest force on an atom of each, in eV/Angstrom, those on the cell among them."""
        return self._gather("fmax", np.inf)

    @property
    def status(self) -> Int[np.ndarray, " structures"]:
        """The stage of each, or the number of stages for those that have left the last one.

        -1 stands for failed, -2 for those that used up their steps, -3 for those that wait.
        """
        return self._gather("status", EMPTY)

    @property
    def steps(self) -> Int[np.ndarray, " structures"]:
        """How many steps each has taken."""
        return self._gather("steps", 0)

    @property
    def atoms(self) -> list[AseAtoms]:
        """The structures with energies and forces; those not evaluated yet as they were given."""
        found = unpack(self.given, *self._outcomes(), self.stages)
        return [new or old.copy() for new, old in zip(found, self.given, strict=True)]

"""A step of batched relaxation and dynamics as pure functions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.driver.processes.division import EVERYWHERE, Specs, on_host
from ritz.full_precision import in_full_precision
from ritz.relax.batching.batch import (
    Outcome,
    is_running,
)
from ritz.relax.batching.division import BY_SLOT, SlotDivision
from ritz.relax.slot_steps import RelaxCarry, SlotSteps, Verdict


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RelaxKernel(SlotSteps, Kernel):
    """Batched relaxation = neighbour lists + a potential + optimisers or integrators.

    Devices share the slots of each bucket. They only tell one another which slots are free, what
    a row shows, and whether anything is left to do.
    """

    def sample(self, carry: RelaxCarry) -> tuple[RelaxCarry, tuple[()]]:
        """Let waiting structures in, and renew neighbour lists that are outdated."""
        layout = carry_layout(self.division, carry)
        return self._on_each(RelaxKernel.own_sample, (layout,), layout)(self, carry), ()

    def _on_each(self, method: Callable[..., Any], takes: Specs, gives: Specs) -> Any:
        """A method that every device calls for its slots."""
        return self.division.on_each(method, (EVERYWHERE, *takes), gives)

    @override
    def propose(self, carry: RelaxCarry, batch: tuple[()]) -> tuple[RelaxCarry, Proposal]:
        """Energies and forces, and what becomes of each structure."""
        layout = carry_layout(self.division, carry)
        gives = (EVERYWHERE, BY_SLOT, EVERYWHERE), EVERYWHERE
        propose = self._on_each(RelaxKernel.own_propose, (layout,), gives)
        proposal, pauses = propose(self, carry)
        return carry._replace(pauses=pauses), Proposal(*proposal)

    @override
    def apply(self, carry: RelaxCarry, update: tuple[Verdict, ...]) -> RelaxCarry:
        layout = carry_layout(self.division, carry)
        return self._on_each(RelaxKernel.own_apply, (layout, BY_SLOT), layout)(self, carry, update)

    def present(self, carry: RelaxCarry) -> tuple[RelaxCarry, tuple[Outcome, ...]]:
        """Evaluate structures where they are after the last step; nothing moves.

        Structures that have finished, or whose neighbour lists did not fit, stay as they were.
        The carry has new neighbour lists where the next step would make them too.
        """
        layout = carry_layout(self.division, carry)
        return self._on_each(RelaxKernel.own_present, (layout,), (layout, BY_SLOT))(self, carry)

    def pauses(self, carry: RelaxCarry) -> Any:
        """Whether a neighbour list did not fit, or nothing was left to do."""
        return carry.pauses


def carry_layout(division: SlotDivision, carry: RelaxCarry) -> Specs:
    """The layouts of a carry."""
    return RelaxCarry(BY_SLOT, tuple(map(division.slots, carry.slots)), EVERYWHERE)


def overflows(carry: RelaxCarry, n_stages: int) -> bool:
    """Whether the neighbour list of a running structure did not fit; on the host."""
    return any(np.any(on_host(is_running(s, n_stages) & s.lists.overflow)) for s in carry.slots)


present = jax.jit(in_full_precision(RelaxKernel.present))
"""`RelaxKernel.present`, compiled."""

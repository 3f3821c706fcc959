"""A step of training for all members of a committee at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ritz.driver import Kernel, Proposal
from ritz.mlip.kernel import Seen, TrainingCarry, TrainingKernel
from ritz.mlip.split import Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CommitteeKernel(Kernel):
    """Trains several networks on the same batches; of each, the first axis is the member.

    In the carry, `params`, `optimizer_state`, `sums` and the sums of `seen` are those of all
    members; what is drawn is common to them, so that data are gathered once.
    """

    member: TrainingKernel
    n_members: int = dataclasses.field(metadata={"static": True})
    at_once: int = dataclasses.field(metadata={"static": True})
    """How many members are computed side by side."""

    def _map(self, function: Any, members: Any) -> Any:
        if self.at_once == self.n_members:
            return jax.vmap(function)(members)
        size = None if self.at_once == 1 else self.at_once
        return jax.lax.map(function, members, batch_size=size)

    def sample(self, carry: TrainingCarry) -> tuple[TrainingCarry, tuple[Batch, ...]]:
        """The next batch of the epoch."""
        return self.member.sample(carry)

    def propose(
        self, carry: TrainingCarry, batch: tuple[Batch, ...]
    ) -> tuple[TrainingCarry, Proposal]:
        """Losses and gradients of all members; the loss is their mean.

        Errors are means over the members too, and those of each are in `members`.
        """

        def one(own: Any) -> Any:
            networks, sums, errors = own
            alone = carry._replace(params=networks, sums=sums)
            found, proposal = self.member.proposed(alone, batch, errors)
            assert isinstance(found.seen, Seen)
            return found.seen, proposal

        validation = self.member.validated(carry, self._map)
        seen, proposal = self._map(one, (carry.params, carry.sums, validation))
        shared = Seen(seen.sums, seen.ids[0], jnp.mean(seen.errors, axis=0))
        common = {name: proposal.metrics.pop(name)[0] for name in ("epoch", "epoch_ends")}
        each = {"loss": proposal.loss, **proposal.metrics}
        means = {name: jnp.mean(values) for name, values in proposal.metrics.items()}
        metrics = {**common, **means, "members": each}
        return carry._replace(seen=shared), Proposal(
            jnp.mean(proposal.loss), proposal.update, metrics
        )

    def apply(self, carry: TrainingCarry, update: Any) -> TrainingCarry:
        """The optimiser's step of all members."""
        params, state = jax.vmap(self.member.moved, in_axes=(0, 0, 0, None))(
            carry.params, carry.optimizer_state, update, carry.rate_scale
        )
        return self.member.counted(carry._replace(params=params, optimizer_state=state))

    def trial(self, carry: TrainingCarry, batch: tuple[Batch, ...], update: Any) -> Any:
        """The mean loss of the same batch after `update`."""
        params = self.apply(carry, update).params
        member, settings = self.member, self.member.settings

        def one(networks: Any) -> Any:
            found = member.residuals(networks, batch, settings.room)
            return settings.loss(found, *member.weights(carry))

        return jnp.mean(self._map(one, params))

    def pauses(self, carry: TrainingCarry) -> Any:
        """If a batch needs more room than there is, or data that are not on the device."""
        return self.member.pauses(carry)

"""A step of training: a batch, its gradient, and the optimiser's step."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from ritz.driver import Kernel, Proposal
from ritz.mlip.batching.pack import Split
from ritz.mlip.batching.plan import Plan, Room, choose, divide, draw, error_weights
from ritz.mlip.models.abstract_model import AbstractModel, Batch
from ritz.mlip.models.normalisation import Normalisation
from ritz.mlip.training.losses import (
    ErrorSums,
    Loss,
    OfEach,
    Residuals,
    added,
    alone,
    batch_residuals,
    error_sums,
    gather_groups,
    named_errors,
    sums_of,
    weight_at,
    zero_sums,
)


class Scores(NamedTuple):
    """The latest errors of structures, for `sampling_policy="error_weighted"`."""

    latest: Float[Array, " structures"]
    total: Float[Array, " structures"]
    """Sums of |energy error| per atom in this epoch."""
    count: Float[Array, " structures"]
    """How often each was in a batch of this epoch."""


class Seen(NamedTuple):
    """The errors of a batch."""

    sums: ErrorSums
    ids: Int[Array, " slots"]
    errors: Float[Array, " slots"]
    """|energy error| per atom."""


class TrainingCarry(NamedTuple):
    """All that the next step needs."""

    params: Any
    optimizer_state: Any
    key: Key[Array, ""]
    """From which the plan of this epoch was drawn."""
    rate_scale: Float[Array, ""]
    """Multiplies the optimiser's step."""
    epoch: Int[Array, ""]
    position: Int[Array, ""]
    """Which batch of the epoch is next."""
    plan: Plan
    supervised: Bool[Array, " structures"]
    """Which structures add to the force loss."""
    sums: ErrorSums
    """Of the batches of this epoch that were applied."""
    seen: Seen | tuple[()]
    """Of the last batch that was proposed."""
    scores: Scores
    validation: ErrorSums | tuple[()]
    """Of the validation split, where it is streamed; set by the driver before an epoch ends."""
    crowded: Bool[Array, ""]
    """Whether a batch of the plan needs more room than there is."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is fixed in a compiled step; hashable."""

    model: AbstractModel
    optimizer: optax.GradientTransformation
    loss: Loss
    policy: str
    n_batches: int
    n_supervised: int
    """How many structures add to the force loss."""
    resample_every: int
    """After how many epochs others do; 0 for never."""
    room: Room
    validation_room: Room
    weight_schedule: str | None = None
    """How the weights of the loss change; None if they do not."""
    window: int = 0
    """Of how many batches data are on the device at a time; 0 for all of them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainingKernel(Kernel):
    """Training = batches of structures + the gradient of a loss + an optimiser."""

    split: Split
    validation: Split | None
    validation_plan: Plan
    normalisation: Normalisation
    energy_weights: Float[Array, " structures"]
    """The weights of `sampling_policy="energy_weighted"`."""
    loss_weights: Float[Array, "2 2"]
    """Those of forces and stress, first and last."""
    n_epochs: Float[Array, ""]
    """In how many epochs these change."""
    settings: Settings = dataclasses.field(metadata={"static": True})

    # The three parts of a step.

    def sample(self, carry: TrainingCarry) -> tuple[TrainingCarry, tuple[Batch, ...]]:
        """The next batch of the epoch."""
        ids = [group[carry.position] for group in carry.plan]
        s = self.settings
        return carry, gather_groups(s.model, self.split, ids, s.room)

    def propose(
        self, carry: TrainingCarry, batch: tuple[Batch, ...]
    ) -> tuple[TrainingCarry, Proposal]:
        """The loss of the batch and its gradient; the errors of both splits in the last one."""
        return self.proposed(carry, batch, self.validated(carry, alone))

    def proposed(
        self, carry: TrainingCarry, batch: tuple[Batch, ...], validation: Any
    ) -> tuple[TrainingCarry, Proposal]:
        """`propose`, given what `validated` has found."""
        s = self.settings

        def loss(networks: Any) -> tuple[Any, Residuals]:
            found = self.residuals(networks, batch, s.room)
            return s.loss(found, *self.weights(carry)), found

        (value, found), gradient = jax.value_and_grad(loss, has_aux=True)(carry.params)
        ids = jnp.concatenate([group.ids for group in batch])
        seen = Seen(error_sums(found), ids, jnp.abs(found.energy))
        ends = self.ends_epoch(carry)
        metrics = {"epoch": carry.epoch, "epoch_ends": ends}
        metrics |= named_errors(added(carry.sums, seen.sums), "train", ends)
        if s.validation_room:
            metrics |= named_errors(validation, "test", ends)
            metrics["validation_loss"] = self._validation_loss(validation, ends)
        return carry._replace(seen=seen), Proposal(value, gradient, metrics)

    def ends_epoch(self, carry: TrainingCarry) -> Any:
        """Whether the step is the last one of an epoch."""
        return carry.position == self.settings.n_batches - 1

    def validated(self, carry: TrainingCarry, of_each: OfEach) -> Any:
        """The errors of the validation split in the last step of an epoch.

        Args:
            carry: With one network, or those of all members.
            of_each: Applies a function to it, or to each of them.
        """
        s = self.settings
        if s.window or self.validation is None:
            return carry.validation
        return jax.lax.cond(
            self.ends_epoch(carry),
            lambda networks: self.validation_sums(networks, of_each),
            lambda networks: of_each(lambda _: zero_sums(self.dtype, s.validation_room), networks),
            carry.params,
        )

    def weights(self, carry: TrainingCarry) -> tuple[Any, Any]:
        """Those of forces and stress in the loss."""
        (force, stress), last = self.loss_weights
        schedule = self.settings.weight_schedule
        if schedule is None:
            return force, stress
        progress = carry.epoch.astype(self.dtype) / jnp.maximum(self.n_epochs - 1, 1)
        return (
            weight_at(schedule, force, last[0], progress),
            weight_at(schedule, stress, last[1], progress),
        )

    def residuals(self, networks: Any, batch: tuple[Batch, ...], room: Room) -> Residuals:
        """The errors of the networks on a batch."""
        return batch_residuals(self.settings.model, room, self.normalisation, networks, batch)

    def apply(self, carry: TrainingCarry, update: Any) -> TrainingCarry:
        """The optimiser's step; after the last batch the next epoch is planned."""
        params, optimizer_state = self.moved(
            carry.params, carry.optimizer_state, update, carry.rate_scale
        )
        return self.counted(carry._replace(params=params, optimizer_state=optimizer_state))

    def moved(
        self, networks: Any, optimizer_state: Any, update: Any, scale: Any
    ) -> tuple[Any, Any]:
        """The networks and the state of the optimiser after its step."""
        steps, optimizer_state = self.settings.optimizer.update(update, optimizer_state, networks)
        moved = jax.tree.map(lambda p, s: (p + scale * s).astype(p.dtype), networks, steps)
        return moved, optimizer_state

    def counted(self, carry: TrainingCarry) -> TrainingCarry:
        """Count the batch; after the last one the next epoch is planned."""
        s, seen, scores = self.settings, carry.seen, carry.scores
        assert isinstance(seen, Seen)
        if s.policy == "error_weighted":
            there = (seen.ids >= 0).astype(scores.total.dtype)
            at = jnp.maximum(seen.ids, 0)
            scores = scores._replace(
                total=scores.total.at[at].add(there * seen.errors),
                count=scores.count.at[at].add(there),
            )
        carry = carry._replace(
            position=carry.position + 1, sums=added(carry.sums, seen.sums), scores=scores
        )
        return jax.lax.cond(
            carry.position == s.n_batches, self.next_epoch, lambda carry: carry, carry
        )

    def pauses(self, carry: TrainingCarry) -> Any:
        """If a batch needs more room than there is, or data that are not on the device."""
        s = self.settings
        if not s.window:
            return carry.crowded
        done = carry.position % s.window == 0
        if s.validation_room:
            done |= carry.position == s.n_batches - 1
        return carry.crowded | done

    def trial(self, carry: TrainingCarry, batch: tuple[Batch, ...], update: Any) -> Any:
        """The loss of the same batch after `update`."""
        params = self.apply(carry, update).params
        found = self.residuals(params, batch, self.settings.room)
        return self.settings.loss(found, *self.weights(carry))

    # Epochs.

    def next_epoch(self, carry: TrainingCarry) -> TrainingCarry:
        """Take the errors of the epoch into the scores, and plan the next one."""
        scores = carry.scores
        mean = scores.total / jnp.maximum(scores.count, 1)
        latest = jnp.where(scores.count > 0, mean, scores.latest)
        none = jnp.zeros_like(latest)
        carry = carry._replace(
            key=jax.random.fold_in(carry.key, 0), epoch=carry.epoch + 1,
            position=jnp.zeros_like(carry.position),
            sums=jax.tree.map(jnp.zeros_like, carry.sums), scores=Scores(latest, none, none),
        )  # fmt: skip
        return self.planned(carry)

    def planned(self, carry: TrainingCarry) -> TrainingCarry:
        """Choose whose forces count, draw structures, and divide them among batches.

        Called again in the same epoch, it gives the same, unless there is more room.
        """
        s = self.settings
        choosing, drawing, *dividing = jax.random.split(
            jax.random.fold_in(carry.key, 1), 2 + len(s.room)
        )
        if s.resample_every:
            again = (carry.epoch > 0) & (carry.epoch % s.resample_every == 0)
            other = choose(choosing, self.split.labels.has_tables, s.n_supervised)
            carry = carry._replace(supervised=jnp.where(again, other, carry.supervised))
        sizes = jnp.sum(self.split.counts, axis=1)
        drawn = jnp.arange(len(sizes))
        if s.policy != "uniform":
            weights = self.energy_weights
            if s.policy == "error_weighted":
                weights = error_weights(carry.scores.latest)
            drawn = draw(drawing, weights).astype(drawn.dtype)
        plan, crowded = [], jnp.zeros((), bool)
        for own, group in zip(dividing, s.room, strict=True):
            chosen = carry.supervised[drawn] == group.supervised
            ids = divide(own, drawn, chosen, sizes, s.n_batches, group.slots)
            plan.append(ids.astype(jnp.int32))
            taken = jnp.where(ids[..., None] >= 0, self.split.counts[ids], 0)
            crowded |= jnp.any(jnp.sum(taken, axis=1) > jnp.array(group.atoms))
            crowded |= jnp.sum(chosen) > ids.size
        return carry._replace(plan=tuple(plan), crowded=crowded)

    # Errors.

    @property
    def dtype(self) -> Any:
        """The precision."""
        return self.split.labels.energy.dtype

    def validation_sums(self, networks: Any, of_each: OfEach) -> ErrorSums:
        """The errors of the validation split, all of it."""
        assert self.validation is not None
        s = self.settings
        return sums_of(
            s.model, s.validation_room, of_each, self.normalisation, networks, self.validation,
            self.validation_plan,
        )  # fmt: skip

    def _validation_loss(self, sums: ErrorSums, ends: Any) -> Any:
        alpha = self.loss_weights[1, 0]
        found = (1 - alpha) * sums.energy.rmse
        if sums.forces is not None:
            there = sums.forces.count > 0
            found += alpha * jnp.where(there, sums.forces.rmse, 0)
        return jnp.where(ends, found, jnp.nan)

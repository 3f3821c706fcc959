"""A step of training: a batch, its gradient, and the optimiser's step."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PyTree

from ritz.driver import Kernel, Proposal
from ritz.mlip.batching.pack import Split, gather
from ritz.mlip.batching.plan import (
    Plan,
    dealt,
    divide_into_batches,
    draw_with_replacement,
    error_weights,
    in_parts,
    random_subset,
)
from ritz.mlip.models.abstract_model import Batch, Normalisation
from ritz.mlip.training.carry import BatchErrors, Scores, TrainingCarry
from ritz.mlip.training.curvature import BatchCurvature
from ritz.mlip.training.division import BY_BATCH
from ritz.mlip.training.losses import (
    ErrorSums,
    MapMembers,
    Scalar,
    add_sums,
    map_single,
    named_errors,
    validation_loss,
    weight_at,
    zero_sums,
)
from ritz.mlip.training.measuring import (
    Measured,
    StepSettings,
    losses,
    measured,
    split_error_sums,
)
from ritz.updates.optimizer_step import optimizer_step


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
    """Weights of forces and stress in the loss, first and last."""
    n_epochs: Float[Array, ""]
    """Number of epochs in which these change."""
    settings: StepSettings = dataclasses.field(metadata={"static": True})

    def sample(self, carry: TrainingCarry) -> tuple[TrainingCarry, tuple[Batch, ...]]:
        """The next batch of the epoch; every device gathers its share."""
        s = self.settings
        split = s.division.split(self.split)

        def share(split: Split, groups: list[Array]) -> tuple[Batch, ...]:
            return gather(split, groups, s.capacity)

        groups = [group[carry.position] for group in carry.plan]
        return carry, s.division.on_each(share, (split, BY_BATCH), BY_BATCH)(self.split, groups)

    def propose(
        self, carry: TrainingCarry, batch: tuple[Batch, ...]
    ) -> tuple[TrainingCarry, Proposal]:
        """The loss of the batch and its gradient; the errors of both splits in the last one."""
        measured = self.measured(carry, batch, map_single)
        return self.concluded(carry, measured, self.validate(carry, map_single))

    def concluded(
        self, carry: TrainingCarry, measured: Measured, validation: ErrorSums | tuple[()]
    ) -> tuple[TrainingCarry, Proposal]:
        """The carry and the proposal of one network, given what its batch has shown.

        Args:
            carry: With the network and its sums.
            measured: The loss of the batch and what belongs to it.
            validation: The errors of the validation split from `validate`.
        """
        s, ends = self.settings, self.ends_epoch(carry)
        metrics = {"epoch": carry.epoch, "epoch_ends": ends}
        metrics |= named_errors(add_sums(carry.sums, measured.errors.sums), "train", ends)
        if s.validation_capacity:
            assert isinstance(validation, ErrorSums)
            metrics |= named_errors(validation, "test", ends)
            metrics["validation_loss"] = validation_loss(validation, self.loss_weights[1, 0], ends)
        carry = carry._replace(last_batch=measured.errors)
        return carry, Proposal(measured.loss, measured.gradient, metrics)

    def ends_epoch(self, carry: TrainingCarry) -> Bool[Array, ""]:
        """Whether the step is the last one of an epoch."""
        return carry.position == self.settings.n_batches - 1

    def validate(self, carry: TrainingCarry, map_members: MapMembers) -> ErrorSums | tuple[()]:
        """The errors of the validation split in the last step of an epoch.

        Args:
            carry: With one network, or those of all members.
            map_members: Applies a function to it, or to each of them.
        """
        s = self.settings
        if s.window or self.validation is None:
            return carry.validation
        return jax.lax.cond(
            self.ends_epoch(carry),
            lambda networks: self.validation_sums(networks, map_members),
            lambda networks: map_members(
                lambda _: zero_sums(self.dtype, s.validation_capacity), networks
            ),
            carry.params,
        )

    def weights(self, carry: TrainingCarry) -> tuple[Scalar, Scalar]:
        """Weights of forces and stress in the loss of this epoch."""
        (force, stress), last = self.loss_weights
        schedule = self.settings.weight_schedule
        if schedule is None:
            return force, stress
        progress = carry.epoch.astype(self.dtype) / jnp.maximum(self.n_epochs - 1, 1)
        force = weight_at(schedule, force, last[0], progress)
        return force, weight_at(schedule, stress, last[1], progress)

    def measured(
        self, carry: TrainingCarry, batch: tuple[Batch, ...], map_members: MapMembers
    ) -> Measured:
        """What a batch shows of the networks of a carry, see `validate`."""
        weights = self.weights(carry)
        return measured(
            self.settings, map_members, carry.params, batch, self.normalisation, weights
        )

    def losses(
        self, carry: TrainingCarry, batch: tuple[Batch, ...], map_members: MapMembers
    ) -> Scalar:
        """The losses of the networks of a carry on a batch, see `validate`."""
        weights = self.weights(carry)
        return losses(self.settings, map_members, carry.params, batch, self.normalisation, weights)

    def apply(self, carry: TrainingCarry, update: PyTree) -> TrainingCarry:
        """The optimiser's step; after the last batch the next epoch is planned."""
        return self.moved(carry, update, self.optimizer_step)

    def moved(
        self, carry: TrainingCarry, update: PyTree, step: Callable[..., tuple[PyTree, PyTree]]
    ) -> TrainingCarry:
        """The carry after a step of the optimisers of all its networks, see `optimizer_step`."""
        assert isinstance(carry.last_batch, BatchErrors)
        params, state = step(
            carry.params,
            carry.optimizer_state,
            update,
            carry.last_batch.curvature,
            carry.rate_scale,
        )
        return self.count_batch(carry._replace(params=params, optimizer_state=state))

    def optimizer_step(
        self,
        networks: PyTree,
        optimizer_state: optax.OptState,
        update: PyTree,
        curvature: BatchCurvature | tuple[()],
        scale: Scalar,
    ) -> tuple[PyTree, optax.OptState]:
        """The networks and the state of the optimiser after its step."""
        more = {"curvature": curvature} if curvature else {}
        optimizer = self.settings.optimizer
        return optimizer_step(optimizer, networks, optimizer_state, update, scale, **more)

    def count_batch(self, carry: TrainingCarry) -> TrainingCarry:
        """Add the batch to the sums of the epoch, and plan the next epoch after the last batch."""
        s, batch, scores = self.settings, carry.last_batch, carry.scores
        assert isinstance(batch, BatchErrors)
        if s.policy == "error_weighted":
            is_filled = (batch.ids >= 0).astype(scores.total.dtype)
            at = jnp.maximum(batch.ids, 0)
            total = scores.total.at[at].add(is_filled * batch.errors)
            scores = scores._replace(total=total, count=scores.count.at[at].add(is_filled))
        carry = carry._replace(
            position=carry.position + 1,
            sums=jax.tree.map(jnp.add, carry.sums, batch.sums),
            scores=scores,
        )
        return jax.lax.cond(
            carry.position == s.n_batches, self.next_epoch, lambda carry: carry, carry
        )

    def pauses(self, carry: TrainingCarry) -> Bool[Array, ""]:
        """Whether the next batch exceeds the capacity, or needs data that are not on the device."""
        s = self.settings
        if not s.window:
            return carry.overflow
        needs_data = carry.position % s.window == 0
        if s.validation_capacity:
            needs_data |= carry.position == s.n_batches - 1
        return carry.overflow | needs_data

    def trial(self, carry: TrainingCarry, batch: tuple[Batch, ...], update: PyTree) -> Scalar:
        """The loss of the same batch after `update`."""
        after = carry._replace(params=self.apply(carry, update).params)
        return self.losses(after, batch, map_single)

    def first_carry(
        self, networks: PyTree, supervised: np.ndarray, seed: int, map_members: MapMembers
    ) -> TrainingCarry:
        """The carry before the first step, without a plan.

        Args:
            networks: The first parameters, of one network or of all members.
            supervised: Which structures add to the force loss.
            seed: Seeds the batches.
            map_members: Applies a function to the network, or to each of them.
        """
        s, n = self.settings, len(supervised)
        ones, zeros = jnp.ones(n, self.dtype), jnp.zeros(n, self.dtype)
        return TrainingCarry(
            params=networks,
            optimizer_state=map_members(s.optimizer.init, networks),
            key=jax.random.key(seed),
            rate_scale=jnp.ones((), self.dtype),
            epoch=jnp.zeros((), jnp.int32),
            position=jnp.zeros((), jnp.int32),
            plan=(),
            supervised=jnp.asarray(supervised),
            sums=map_members(lambda _: zero_sums(self.dtype, s.capacity), networks),
            last_batch=(),
            scores=Scores(ones, zeros, zeros),
            validation=self.no_validation(networks, map_members),
            overflow=jnp.zeros((), bool),
        )

    def no_batch(self, carry: TrainingCarry, map_members: MapMembers) -> BatchErrors:
        """The errors of the last batch before there is one.

        Args:
            carry: Of which parameters and sums are used.
            map_members: Applies a function to the network, or to each of them.
        """
        s, curvature = self.settings, ()
        if s.curvature is not None:
            zeros = BatchCurvature(s.curvature.zeros(self.dtype), jnp.zeros((), self.dtype))
            curvature = map_members(lambda _: zeros, carry.params)
        slots = s.division.n_parts * sum(group.slots for group in s.capacity)
        sums = jax.tree.map(jnp.zeros_like, carry.sums)
        ids, errors = jnp.full(slots, -1, jnp.int32), jnp.zeros(slots, self.dtype)
        return BatchErrors(sums, ids, errors, curvature)

    def no_validation(self, networks: PyTree, map_members: MapMembers) -> ErrorSums | tuple[()]:
        """Sums over no errors where the validation split is streamed; otherwise nothing."""
        s = self.settings
        if not s.validation_capacity or not s.window:
            return ()
        return map_members(lambda _: zero_sums(self.dtype, s.validation_capacity), networks)

    def next_epoch(self, carry: TrainingCarry) -> TrainingCarry:
        """Update the scores with the errors of the epoch, and plan the next one."""
        scores = carry.scores
        mean = scores.total / jnp.maximum(scores.count, 1)
        latest = jnp.where(scores.count > 0, mean, scores.latest)
        zeros = jnp.zeros_like(latest)
        carry = carry._replace(
            key=jax.random.fold_in(carry.key, 0),
            epoch=carry.epoch + 1,
            position=jnp.zeros_like(carry.position),
            sums=jax.tree.map(jnp.zeros_like, carry.sums),
            scores=Scores(latest, zeros, zeros),
        )
        return self.plan_epoch(carry)

    def plan_epoch(self, carry: TrainingCarry) -> TrainingCarry:
        """Choose structures with supervised forces, draw structures, divide them into batches.

        Called again in the same epoch, it gives the same, unless the capacity has grown.
        """
        s = self.settings
        choosing, drawing, *dividing = jax.random.split(
            jax.random.fold_in(carry.key, 1), 2 + len(s.capacity)
        )
        if s.resample_every:
            is_due = (carry.epoch > 0) & (carry.epoch % s.resample_every == 0)
            subset = random_subset(choosing, self.split.labels.has_tables, s.n_supervised)
            carry = carry._replace(supervised=jnp.where(is_due, subset, carry.supervised))
        sizes = jnp.sum(self.split.counts, axis=1)
        drawn = jnp.arange(len(sizes))
        if s.policy != "uniform":
            weights = self.energy_weights
            if s.policy == "error_weighted":
                weights = error_weights(carry.scores.latest)
            drawn = draw_with_replacement(drawing, weights).astype(drawn.dtype)
        plan, overflow = [], jnp.zeros((), bool)
        for key, group in zip(dividing, s.capacity, strict=True):
            chosen = carry.supervised[drawn] == group.supervised
            n_parts = s.division.n_parts
            n_slots = n_parts * group.slots
            ids = divide_into_batches(
                key, drawn, chosen, sizes=sizes, n_batches=s.n_batches, n_slots=n_slots
            )
            ids = in_parts(ids, dealt(n_slots, n_parts)).astype(jnp.int32)
            plan.append(ids)
            taken = jnp.where(ids[..., None] >= 0, self.split.counts[ids], 0)
            by_part = taken.reshape(s.n_batches, n_parts, group.slots, -1).sum(axis=2)
            overflow |= jnp.any(by_part > jnp.array(group.atoms))
            overflow |= jnp.sum(chosen) > ids.size
        return carry._replace(plan=tuple(plan), overflow=overflow)

    @property
    def dtype(self) -> np.dtype:
        """Floating-point type of parameters and batches."""
        return self.split.labels.energy.dtype

    def validation_sums(self, networks: PyTree, map_members: MapMembers) -> ErrorSums:
        """Sums over the errors of the whole validation split."""
        assert self.validation is not None
        s = self.settings
        return split_error_sums(
            s.model,
            s.validation_capacity,
            map_members,
            s.division,
            normalisation=self.normalisation,
            networks=networks,
            split=self.validation,
            plan=self.validation_plan,
        )


@jax.jit
def jitted_plan(kernel: TrainingKernel, carry: TrainingCarry) -> TrainingCarry:
    """`TrainingKernel.plan_epoch`, compiled once for all drivers with the same settings."""
    division = kernel.settings.division
    return division.hold(kernel.plan_epoch(carry), division.carry(carry))

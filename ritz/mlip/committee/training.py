"""Training of a committee: all members in one step."""

import dataclasses
from collections.abc import Hashable, Sequence
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import Kernel, Proposal
from ritz.driver.callback import AbstractCallback
from ritz.driver.processes.division import EVERYWHERE, on_host
from ritz.driver.signatures import suggests_fields
from ritz.mlip.models.abstract_model import Batch
from ritz.mlip.training.carry import BatchErrors, TrainingCarry
from ritz.mlip.training.driver import AbstractTraining
from ritz.mlip.training.kernel import TrainingKernel
from ritz.mlip.training.losses import (
    ErrorSums,
    MapMembers,
    Scalar,
    map_in_turn,
    map_side_by_side,
)
from ritz.mlip.training.measuring import Measured
from ritz.types import Row


@suggests_fields
@dataclasses.dataclass(frozen=True)
class CommitteeConfig:
    """Number of members of a committee, and their seeds.

    Args:
        num_members: Number of potentials.
        base_seed: Member i has the seed `base_seed + i`, from which its first parameters are
            drawn. Batches are drawn from `TrainingConfig.seed`, the same for all.
        member_seeds: The seeds of the members, in place of `base_seed`.
        max_parallel: Kept for scripts written for aenet; all members are trained together.
        output_dir: Where members and their histories are written; None for nowhere.

    Raises:
        ValueError: If a value is not allowed.
    """

    num_members: int = 4
    base_seed: int = 0
    member_seeds: Sequence[int] | None = None
    max_parallel: int | None = None
    output_dir: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_count("num_members", self.num_members, 1)
        check_count("base_seed", self.base_seed, 0)
        if self.max_parallel is not None:
            check_count("max_parallel", self.max_parallel, 1)
        seeds = self.seeds
        if len(seeds) != self.num_members or len(set(seeds)) < len(seeds):
            raise ValueError(
                f"member_seeds must be {self.num_members} different numbers, but "
                f"{self.member_seeds!r} was given."
            )

    @property
    def seeds(self) -> list[int]:
        """The seed of each member."""
        if self.member_seeds is None:
            return [self.base_seed + number for number in range(self.num_members)]
        return [check_count("a member's seed", seed, 0) for seed in self.member_seeds]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CommitteeKernel(Kernel):
    """Trains several networks on the same batches; of each, the first axis is the member.

    In the carry, `params`, `optimizer_state`, `sums`, and sums and curvature of `last_batch` are
    those of all members; what is drawn is common to them, so that data are gathered once.
    """

    member: TrainingKernel
    in_turn: bool = dataclasses.field(metadata={"static": True})
    """Whether the members of a device are computed one after another, not side by side."""

    @property
    def _map(self) -> MapMembers:
        return map_in_turn if self.in_turn else map_side_by_side

    def sample(self, carry: TrainingCarry) -> tuple[TrainingCarry, tuple[Batch, ...]]:
        """The next batch of the epoch."""
        return self.member.sample(carry)

    def propose(
        self, carry: TrainingCarry, batch: tuple[Batch, ...]
    ) -> tuple[TrainingCarry, Proposal]:
        """Losses and gradients of all members; the loss is their mean.

        Errors are means over the members too, and those of each are in `members`.
        """

        def conclude(
            networks: PyTree, sums: ErrorSums, measured: Measured, errors: ErrorSums | tuple[()]
        ) -> tuple[BatchErrors, Proposal]:
            own = carry._replace(params=networks, sums=sums)
            concluded, proposal = self.member.concluded(own, measured, errors)
            assert isinstance(concluded.last_batch, BatchErrors)
            return concluded.last_batch, proposal

        measured = self.member.measured(carry, batch, self._map)
        validation = self.member.validate(carry, self._map)
        each_batch, proposal = jax.vmap(conclude)(carry.params, carry.sums, measured, validation)
        last_batch = BatchErrors(
            each_batch.sums,
            each_batch.ids[0],
            jnp.mean(each_batch.errors, axis=0),
            each_batch.curvature,
        )
        common = {name: proposal.metrics.pop(name)[0] for name in ("epoch", "epoch_ends")}
        each = {"loss": proposal.loss, **proposal.metrics}
        means = {name: jnp.mean(values) for name, values in proposal.metrics.items()}
        metrics = {**common, **means, "members": each}
        loss, metrics = self.member.settings.division.hold((jnp.mean(proposal.loss), metrics))
        return carry._replace(last_batch=last_batch), Proposal(loss, proposal.update, metrics)

    def apply(self, carry: TrainingCarry, update: PyTree) -> TrainingCarry:
        """The optimiser's step of all members."""
        division = self.member.settings.division
        each = division.by_network
        step = jax.vmap(self.member.optimizer_step, in_axes=(0, 0, 0, 0, None))
        takes = (each, each, each, each, EVERYWHERE)
        return self.member.moved(carry, update, division.on_each(step, takes, (each, each)))

    def trial(self, carry: TrainingCarry, batch: tuple[Batch, ...], update: PyTree) -> Scalar:
        """The mean loss of the same batch after `update`."""
        after = carry._replace(params=self.apply(carry, update).params)
        return jnp.mean(self.member.losses(after, batch, self._map))

    def pauses(self, carry: TrainingCarry) -> Bool[Array, ""]:
        """Whether the next batch exceeds the capacity, or needs data that are not on the device."""
        return self.member.pauses(carry)


class BestMembers(AbstractCallback):
    """Keeps the best parameters of each member, as `BestState`, and restores them when a run ends.

    Args:
        monitor: An error that is logged by member, such as "validation_loss".
    """

    state_fields = ("scores", "parameters")
    traced_at = "before_parameter_update"
    decides = False

    def __init__(self, monitor: str = "validation_loss"):
        self.monitor = monitor
        self.scores: np.ndarray | None = None
        """The best so far, by member."""
        self.parameters: PyTree = None
        """The parameters that had them; None before the first epoch has ended."""

    @property
    @override
    def traced_settings(self) -> Hashable:
        return self.monitor

    def init_traced(self, carry: TrainingCarry) -> PyTree:
        """Scores and parameters of the best state so far."""
        first = jax.tree.leaves(carry.params)[0]
        best = carry.params
        if self.parameters is not None:
            best = jax.tree.map(lambda b, p: jnp.asarray(b, p.dtype), self.parameters, best)
        scores = np.full(len(first), np.inf) if self.scores is None else self.scores
        return {"scores": jnp.asarray(scores, first.dtype), "parameters": best}

    def traced(self, callback_carry: PyTree, carry: TrainingCarry, metrics: Row) -> PyTree:
        """Keep better parameters; errors are NaN, and so never better, where no epoch ends."""
        scores = metrics["members"][self.monitor]
        better = scores < callback_carry["scores"]

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        found = {"scores": scores.astype(callback_carry["scores"].dtype)}
        return jax.tree.map(chosen, {**found, "parameters": carry.params}, callback_carry)

    def load_traced(self, callback_carry: PyTree) -> None:
        """Store the best parameters and scores."""
        scores = on_host(callback_carry["scores"])
        if np.any(np.isfinite(scores)):
            self.scores, self.parameters = scores, callback_carry["parameters"]

    @override
    def on_run_end(self, step: int, driver: AbstractTraining) -> None:
        if self.parameters is not None:
            driver.parameters = self.parameters

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractTraining) -> None:
        self.on_run_end(step, driver)


class CommitteeTraining(AbstractTraining):
    """Training of several potentials on the same batches, in one program.

    Rows have means over the members, and the values of each under `members`. Members are computed
    side by side, and divided among the devices where there are several; on one CPU, forces are
    computed for one member after another. See `AbstractTraining`.
    """

    _map_members = staticmethod(map_in_turn)

    def best_parameters(
        self, monitor: str, score: np.ndarray | float | None = None
    ) -> AbstractCallback:
        """Keeps the best parameters of each member by its own errors."""
        best = BestMembers(monitor)
        if score is not None:
            best.parameters, best.scores = self.snapshot_parameters(), np.asarray(score)
        return best

    is_committee = True

    @property
    def n_members(self) -> int:  # type: ignore[override]
        """Number of potentials in the committee, trained by one program."""
        return len(jax.tree.leaves(self.state.parameters)[0])

    @property
    def kernel(self) -> CommitteeKernel:
        """The kernel; it changes when batches need more capacity."""
        forces = any(group.supervised for group in self._capacity)
        in_turn = forces and jax.default_backend() == "cpu"
        return CommitteeKernel(self._member, in_turn)

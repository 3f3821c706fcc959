"""Training of a committee: all members in one step."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import Kernel, Proposal
from ritz.driver.callback import AbstractCallback
from ritz.driver.signatures import suggests_fields
from ritz.mlip.arrays import Tree
from ritz.mlip.models.abstract_model import Batch
from ritz.mlip.training.carry import BatchErrors, TrainingCarry
from ritz.mlip.training.driver import AbstractTraining
from ritz.mlip.training.kernel import TrainingKernel
from ritz.mlip.training.losses import ErrorSums, Scalar, map_in_turn
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
    n_members: int = dataclasses.field(metadata={"static": True})
    at_once: int = dataclasses.field(metadata={"static": True})
    """Number of members that are computed side by side."""

    def _map(self, function: Callable[[PyTree], PyTree], members: PyTree) -> PyTree:
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

        def propose_member(
            parts: tuple[PyTree, ErrorSums, ErrorSums | tuple[()]],
        ) -> tuple[BatchErrors, Proposal]:
            networks, sums, errors = parts
            member = carry._replace(params=networks, sums=sums)
            proposed, proposal = self.member.propose_given(member, batch, errors)
            assert isinstance(proposed.last_batch, BatchErrors)
            return proposed.last_batch, proposal

        validation = self.member.validate(carry, self._map)
        each_batch, proposal = self._map(propose_member, (carry.params, carry.sums, validation))
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
        return carry._replace(last_batch=last_batch), Proposal(
            jnp.mean(proposal.loss), proposal.update, metrics
        )

    def apply(self, carry: TrainingCarry, update: PyTree) -> TrainingCarry:
        """The optimiser's step of all members."""
        assert isinstance(carry.last_batch, BatchErrors)
        params, state = jax.vmap(self.member.optimizer_step, in_axes=(0, 0, 0, 0, None))(
            carry.params,
            carry.optimizer_state,
            update,
            carry.last_batch.curvature,
            carry.rate_scale,
        )
        return self.member.count_batch(carry._replace(params=params, optimizer_state=state))

    def trial(self, carry: TrainingCarry, batch: tuple[Batch, ...], update: PyTree) -> Scalar:
        """The mean loss of the same batch after `update`."""
        params = self.apply(carry, update).params
        weights = self.member.weights(carry)
        return jnp.mean(self._map(lambda own: self.member.loss(own, batch, weights)[0], params))

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
        scores = np.asarray(callback_carry["scores"])
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
        in_turn = forces and self.n_devices == 1 and jax.default_backend() == "cpu"
        return CommitteeKernel(self._member, self.n_members, 1 if in_turn else self.n_members)

    @property
    def n_devices(self) -> int:
        """Number of devices that share the members equally."""
        if self.config.device is not None:
            return 1
        most = min(jax.local_device_count(), self.n_members)
        return next(n for n in range(most, 0, -1) if self.n_members % n == 0)

    def _spread(self, tree: Tree, by_member: bool) -> Tree:
        if self.n_devices == 1:
            return tree
        mesh = Mesh(np.array(jax.local_devices()[: self.n_devices]), ("member",))
        spec = PartitionSpec("member") if by_member else PartitionSpec()
        return jax.device_put(tree, NamedSharding(mesh, spec))

    @override
    def _spread_carry(self, carry: TrainingCarry) -> TrainingCarry:
        by_member = ("params", "optimizer_state", "sums", "validation")
        fields = carry._asdict()
        spread = {name: self._spread(value, name in by_member) for name, value in fields.items()}
        batch = carry.last_batch
        if isinstance(batch, BatchErrors):
            own = {name: self._spread(getattr(batch, name), True) for name in ("sums", "curvature")}
            spread["last_batch"] = self._spread(batch, False)._replace(**own)
        return TrainingCarry(**spread)

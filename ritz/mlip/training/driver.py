"""The driver that trains a potential."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from typing_extensions import override

from ritz.callbacks import BestState
from ritz.driver import GrowingDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.processes.division import EVERYWHERE
from ritz.mlip.arrays import on_device
from ritz.mlip.batching.pack import Split
from ritz.mlip.batching.plan import (
    Capacity,
    Plan,
    energy_weights,
    enlarged,
    first_capacity,
    first_supervised,
)
from ritz.mlip.models.abstract_model import AbstractModel, Batch, GroupCapacity
from ritz.mlip.training.carry import TrainingCarry
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.data import TrainedState, TrainingData
from ritz.mlip.training.division import divided_training
from ritz.mlip.training.kernel import TrainingKernel, jitted_plan
from ritz.mlip.training.losses import Loss, MapMembers, map_single
from ritz.mlip.training.measuring import StepSettings
from ritz.mlip.training.optimisers import Rates, curvature_for, optimizer
from ritz.mlip.training.prepare import PreparedData
from ritz.mlip.training.start import batches_of
from ritz.types import Row, Settings, State

_NOT_SAVED = ("plan", "last_batch", "validation")
"""Fields of the carry that follow from the others."""

_OVERFLOW, _CAPACITY = "crowded", "room"
"""Names of overflow and capacity in checkpoints, as earlier versions have written them."""


class AbstractTraining(GrowingDriver):
    """Base class of the drivers that train one potential or a committee.

    A step is one batch; `n_batches` of them are an epoch. Rows have the loss and the `epoch`, and
    in the last step of an epoch the true errors of both splits: `RMSE_train` and `MAE_train` in
    eV/atom over the batches of the epoch, `RMSE_test` and `MAE_test` over the whole validation
    split before that step's update, `RMSE_force_train` and so on in eV/Angstrom, and
    `validation_loss`, (1 - alpha) RMSE_test + alpha RMSE_force_test.

    Args:
        model: What is trained.
        networks: The first parameters; of a committee, the first axis is the member.
        prepared: The data; the driver keeps those that are on the device.
        config: How it is trained.
        dtype: "float32" or "float64".
    """

    adjustable = frozenset({"rate_scale"})
    logs = (
        *(
            f"{kind}_{quantity}{split}"
            for quantity in ("", "force_", "stress_")
            for split in ("train", "test")
            for kind in ("RMSE", "MAE")
        ),
        "validation_loss",
        "members",
    )
    """Metrics that are logged in the last step of each epoch."""

    def __init__(
        self,
        model: AbstractModel,
        networks: PyTree,
        prepared: PreparedData,
        config: TrainingConfig,
        dtype: str,
    ):
        self.dtype = dtype
        self.config = config
        self.model = model
        n_members = len(jax.tree.leaves(networks)[0]) if self.is_committee else 1
        self.division = divided_training(n_members, self.is_committee, config.device)
        """The devices that share the structures of batches, and members."""
        self.prepared = prepared.without_splits()
        """Statistics and data sets."""
        self._horizon = config.iterations
        with self._precision():
            real = jnp.dtype(dtype)
            self._data = TrainingData(
                model, prepared, config, real, self._map_members, self.division
            )
            networks, normalisation = self.division.put(
                on_device((networks, prepared.normalisation), real),
                (self.division.by_network, EVERYWHERE),
            )
            super().__init__(TrainedState(networks, normalisation), minimized_quantity_name="loss")
            self._prepare()

    def _prepare(self) -> None:
        config, train = self.config, self._data.train
        n = len(train.counts)
        self.n_batches = batches_of(n, config.batch_size)
        self.period = "epoch", self.n_batches
        labelled = np.asarray(train.labels.has_tables)
        self._n_supervised = config.n_supervised(int(labelled.sum()))
        counts = np.asarray(train.counts)
        self._weights = np.ones(n)
        if config.sampling_policy == "energy_weighted":
            self._weights = energy_weights(np.asarray(train.labels.energy) / counts.sum(axis=1))
        supervised = first_supervised(labelled, self._n_supervised, config.run_seed)
        resampled = config.resample_every and 0 < supervised.sum() < n
        self._capacity = first_capacity(
            counts,
            supervised,
            self.n_batches,
            varies=bool(config.sampling_policy != "uniform" or resampled),
            with_stress=config.uses_stress,
            n_parts=self.division.n_parts,
        )
        none: tuple[Capacity, Plan] = (), ()
        whole = none if self._data.test is None else self._data.whole_plan("test")
        self._test_capacity, self._test_plan = whole
        first = self.state.parameters
        networks = jax.tree.map(lambda leaf: leaf[0], first) if self.is_committee else first
        self._curvature = curvature_for(config.optimiser, self.model, networks)
        self.rebuild()
        first = self.state.parameters, supervised, config.run_seed, self._map_members
        self._carry = self._with_plan(self._member.first_carry(*first))
        if config.cache_warmup:
            self._data.warm_up()
        self._supply()

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split."""
        return self._data.test is not None

    @override
    def rebuild(self) -> None:
        config = self.config
        settings = StepSettings(
            self.model,
            optimizer(config.optimiser, self._rates, config.gradient_clip, self._curvature),
            Loss(config.loss, config.huber_delta, config.force_scale_unbiased),
            policy=config.sampling_policy,
            n_batches=self.n_batches,
            n_supervised=self._n_supervised,
            resample_every=config.resample_every,
            capacity=self._capacity,
            validation_capacity=self._test_capacity,
            division=self.division,
            weight_schedule=config.changing_weights,
            window=self._data.window_size(self._capacity, self.n_batches),
            curvature=self._curvature,
        )
        real = jnp.dtype(self.dtype)
        test = self._data.test
        test = test if isinstance(test, Split) else None
        put = self.division.put
        self._member = TrainingKernel(
            self._data.train,
            test,
            () if test is None else self._test_plan,
            normalisation=self.state.normalisation,
            energy_weights=put(jnp.asarray(self._weights, real)),
            loss_weights=put(jnp.asarray(config.weights, real)),
            n_epochs=put(jnp.asarray(self._horizon, real)),
            settings=settings,
        )

    is_committee = False
    """Whether the first axis of parameters and errors is the member of a committee."""

    n_members = 1
    """Number of potentials that are trained."""

    def best_parameters(
        self, monitor: str, score: np.ndarray | float | None = None
    ) -> AbstractCallback:
        """A callback that keeps the best parameters, and restores them when a run ends.

        Args:
            monitor: What they are compared by, such as "validation_loss".
            score: What the present parameters have; None if they are not to be compared with.
        """
        best = BestState(monitor, z=0, restore=True)
        if score is not None:
            best.parameters = self.snapshot_parameters()
            best.best_score = best.best_value = float(score)
        return best

    _map_members: MapMembers
    """Applies a function to the networks, or to those of each member."""

    def _with_plan(self, carry: TrainingCarry) -> TrainingCarry:
        """The carry with the plan of its epoch, for the present capacity."""
        batch = self._member.no_batch(carry, self._map_members)
        carry, division = carry._replace(plan=(), last_batch=batch), self.division
        return jitted_plan(self._member, division.put(carry, division.carry(carry)))

    @property
    def _rates(self) -> Rates:
        return self.config.rates(self._horizon, self.n_batches)

    def learning_rate(self, scale: float = 1.0) -> float:
        """The learning rate of the present step.

        Args:
            scale: The `rate_scale` that a callback has logged for the step.
        """
        method = self.config.optimiser
        return scale * float(np.asarray(self._rates.of(method.learning_rate)(self.step_count)))

    # What the loop needs.

    @property
    def carry(self) -> TrainingCarry:
        """Parameters, optimiser, and which structures are next."""
        return self._carry._replace(params=self.state.parameters)

    @carry.setter
    def carry(self, carry: TrainingCarry) -> None:
        self.state.parameters = carry.params
        self._carry = carry

    batch: tuple[Batch, ...] | None = None
    """The structures of this step, or None."""

    def attend(self) -> None:
        """Enlarge the capacity if a batch exceeds it, and bring the next data to the device."""
        while bool(self._carry.overflow):
            self._capacity = enlarged(self._capacity)
            self.grow()
            with self._precision():
                self._carry = self._with_plan(self._carry)
            self._data.forget()
        self._supply()

    def _supply(self) -> None:
        """Bring the data of the next batches to the device, and validate before an epoch ends."""
        if not self._data.is_streamed:
            return
        with self._precision():
            found = self._data.load(self._member, self._carry)
            if found is not None:
                self._member = dataclasses.replace(self._member, split=found)
            if self._test_capacity and int(self._carry.position) == self.n_batches - 1:
                plan = self._test_capacity, self._test_plan
                sums = self._data.error_sums("test", self.state, *plan)
                self._carry = self._carry._replace(validation=sums)

    def end_run(self) -> None:
        """End the threads that prepare data."""
        super().end_run()
        self._data.close()

    def errors(self) -> dict[str, np.ndarray]:
        """The errors of both splits at the present parameters, each over all of its structures.

        `RMSE_train`, `MAE_train` and so on, as they are logged at the end of epochs; of a
        committee, arrays with those of each member.
        """
        with self._precision():
            return self._data.errors(self.state)

    # Checkpoints.

    @override
    def saved_sizes(self) -> State:
        capacity = [g.times(self.division.n_parts).to_list() for g in self._capacity]
        return {_CAPACITY: capacity, "horizon": self._horizon}

    @override
    def load_sizes(self, saved: State) -> None:
        groups = map(GroupCapacity.from_list, saved[_CAPACITY])
        self._capacity = tuple(group.shared_by(self.division.n_parts) for group in groups)
        self._horizon = int(saved["horizon"])

    @override
    def saved_carry(self, carry: TrainingCarry) -> State:
        """The carry without the plan, which follows from it."""
        fields = carry._asdict().items()
        saved = {name: value for name, value in fields if name not in _NOT_SAVED}
        saved[_OVERFLOW] = saved.pop("overflow")
        return {"carry": saved}

    @override
    def loaded_carry(self, saved: State, fresh_samples: bool) -> TrainingCarry:
        """The carry; with `fresh_samples` batches go on from where they are."""
        fields = dict(saved["carry"])
        fields["overflow"] = fields.pop(_OVERFLOW)
        if fresh_samples:
            fields = {name: fields[name] for name in ("params", "optimizer_state")}
        carry = self._carry._replace(plan=(), last_batch=(), **fields)
        validation = self._member.no_validation(carry.params, self._map_members)
        return self._with_plan(carry._replace(validation=validation))

    @override
    def restore(self, snapshot: State, *, fresh_samples: bool = False) -> None:
        super().restore(snapshot, fresh_samples=fresh_samples)
        with self._precision():
            self._data.forget()
            self._supply()

    @property
    def rate_scale(self) -> float:  # type: ignore[override]
        """Multiplies every step of the optimiser."""
        return float(self._carry.rate_scale)

    @rate_scale.setter
    def rate_scale(self, scale: float) -> None:
        self._refuse_deferred("set driver.rate_scale")
        self._carry = self._carry._replace(rate_scale=jnp.asarray(scale, self.dtype))

    def _log_additional_data(self, log_data: Row) -> None:
        found = dict(self._metrics)
        if not found.pop("epoch_ends"):
            found = {name: value for name, value in found.items() if name not in self.logs}
            found.pop("members", None)
        log_data.update(found)

    @property
    def settings(self) -> Settings:
        """Settings on which the results depend besides the state: name -> value."""
        return {
            **super().settings,
            "model": self.model,
            "config": self.config.of_steps,
            "structures": f"{len(self._data.train.counts)} structures {self.prepared.digest}",
            "dtype": self.dtype,
        }


class PotentialTraining(AbstractTraining):
    """Training of a potential = batches + gradient of a loss on energies and forces + an optimiser.

    See `AbstractTraining`.
    """

    _map_members = staticmethod(map_single)

    @property
    def kernel(self) -> TrainingKernel:
        """The kernel; it changes when batches need more capacity."""
        return self._member

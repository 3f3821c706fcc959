"""State and static settings of the steps of training."""

import dataclasses
from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ritz.mlip.batching.plan import Capacity, Plan
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.training.curvature import BatchCurvature, EnergyCurvature
from ritz.mlip.training.losses import ErrorSums, Loss


class Scores(NamedTuple):
    """The latest errors of structures, for `sampling_policy="error_weighted"`."""

    latest: Float[Array, " structures"]
    """Means of |energy error| per atom, in eV, over the last epoch with the structure; 1 before."""
    total: Float[Array, " structures"]
    """Sums of |energy error| per atom in this epoch, in eV."""
    count: Float[Array, " structures"]
    """Number of batches of this epoch that had the structure."""


class BatchErrors(NamedTuple):
    """The errors of a batch."""

    sums: ErrorSums
    ids: Int[Array, " slots"]
    """The structure in each slot; -1 for none."""
    errors: Float[Array, " slots"]
    """|energy error| per atom, in eV."""
    curvature: BatchCurvature | tuple[()] = ()
    """For optimisers that go by the curvature of the loss."""


class TrainingCarry(NamedTuple):
    """State that a step passes on to the next one."""

    params: PyTree
    """The networks; of a committee, the first axis is the member, as in `optimizer_state`."""
    optimizer_state: optax.OptState
    key: Key[Array, ""]
    """Random key of the plan of this epoch."""
    rate_scale: Float[Array, ""]
    """Multiplies the optimiser's step."""
    epoch: Int[Array, ""]
    position: Int[Array, ""]
    """Index of the next batch in the epoch."""
    plan: Plan
    supervised: Bool[Array, " structures"]
    """Which structures add to the force loss."""
    sums: ErrorSums
    """Errors of the batches of this epoch that were applied."""
    last_batch: BatchErrors | tuple[()]
    """The errors of the last batch that was proposed."""
    scores: Scores
    validation: ErrorSums | tuple[()]
    """Errors of a streamed validation split; set by the driver before an epoch ends."""
    overflow: Bool[Array, ""]
    """Whether a batch of the plan exceeds the capacity."""


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Static settings of a compiled step; hashable."""

    model: AbstractModel
    optimizer: optax.GradientTransformation
    loss: Loss
    policy: str
    n_batches: int
    n_supervised: int
    """Number of structures that add to the force loss."""
    resample_every: int
    """Number of epochs after which others are chosen; 0 for never."""
    capacity: Capacity
    validation_capacity: Capacity
    weight_schedule: str | None = None
    """Schedule of the weights of the loss; None for constant ones."""
    window: int = 0
    """Number of batches whose data are on the device at a time; 0 for all of them."""
    curvature: EnergyCurvature | None = None
    """What optimisers that go by the curvature of the loss are given."""

"""State of the steps of training."""

from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ritz.mlip.batching.plan import Plan
from ritz.mlip.training.curvature import BatchCurvature
from ritz.mlip.training.losses import ErrorSums


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

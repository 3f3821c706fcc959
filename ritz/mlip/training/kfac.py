"""The optimiser KFAC of training."""

import dataclasses
import functools
import logging
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import PyTree

from ritz.checks import check_choice, check_count, check_fraction, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.training.curvature import (
    BatchCurvature,
    EnergyCurvature,
    blocks_of_model,
    products,
)
from ritz.updates.base import ScalarOrSchedule, cast_like
from ritz.updates.kfac import KRONECKER, SHARING, KfacState, Preconditioner, parts_of, whole_of
from ritz.updates.realify import double

_logger = logging.getLogger(__name__)

_NAMED_ELSEWHERE = {
    "damping": "the damping is called diag_shift here.",
    "learning_rate": "the learning rate is called lr here.",
    "mu": "the learning rate is called lr here.",
}


@functools.partial(suggests_fields, instead=_NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class KFAC:
    """Gauss-Newton steps for energies, with a Kronecker-factored curvature.

    Martens and Grosse, arXiv 1503.05671; for layers that several atoms share, the forms "expand"
    and "reduce" of Eschenhagen et al., arXiv 2311.00636. With J_s the derivative of the energy per
    atom of a structure s, in units in which the range of energies is 2 (see `normalize_energy`),
    F = sum_s q_s J_s^T J_s is taken block by block. For a linear layer J_s = sum_r a_r g_r^T over n
    atoms r of the layer's species, with its inputs a_r and the derivatives g_r of the energy per
    atom by its outputs, and the block is A x G:

    - "expand": A = <mean_r a_r a_r^T>, G = <n sum_r g_r g_r^T>, with means over structures. As all
      atoms add to one energy, the square of the sum is at most n times the sum of squares, and that
      is what is taken: it has directions in which atoms of a structure differ, and no block is
      too small, but for the division into factors.
    - "reduce": A = <a a^T>, G = <g g^T> with a the mean of a_r and g the sum of g_r, which is right
      if either is the same for all atoms.

    Both are exact for structures of one atom. Layers with one output have their exact matrix
    anyway. Other parameters are in blocks with exact matrices, or with diagonals if they are many,
    for which each structure costs a backward pass. The log at the start tells the block of each
    parameter. Averages are in the precision of training, and systems are solved in double.

    The step is lr (F + lambda)^-1 v. v is the gradient of the whole loss, also of forces and
    stress, divided by the curvature of L_E by energies, in the same units: 2 (1 - alpha) for mean
    squares; (1 - alpha) / RMSE for their root, so that both give the same step if there are no
    forces; Huber's loss weights structures as iteratively reweighted least squares do. Forces and
    stress have no part in F. As F has no couplings between blocks, each of which could correct the
    same error alone, `lr` is to be about one divided by the number of blocks or less, and should
    fall to the end (`schedule="cosine"`), as the noise of batches does with it.

    Args:
        lr: The learning rate.
        batchsize: Largest number of structures in a batch.
        diag_shift: lambda above 0, a number or a schedule (step -> number), shared out over A and G
            by the ratio of their traces.
        norm_constraint: The largest squared length d^T (F + lambda) d of a direction d before it is
            multiplied by `lr`, a number, a schedule or None. With 1, mean squares of the changes
            of energies per atom that blocks make add up to at most the square of `lr` times half of
            the range of energies.
        decay: Weight in [0, 1) of older steps in averages of A and G.
        inverse_period: Number of steps that share inverses.
        sharing: "expand" or "reduce". Layers that are applied to more than one vector of an atom,
            such as its neighbours, always have the former.
        largest_exact: Largest number of parameters in an exact block; single arrays with more have
            diagonals.
        momentum: Fraction of the last step that is taken again, from 0 to below 1.
        weight_decay: This many times the parameters are added to the gradient of the loss.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    lr: float = 0.1
    batchsize: int = 32
    diag_shift: ScalarOrSchedule = 1e-3
    norm_constraint: ScalarOrSchedule | None = 1.0
    decay: float = 0.95
    inverse_period: int = 1
    sharing: str = "expand"
    largest_exact: int = 1000
    momentum: float = 0.0
    weight_decay: float = 0.0

    method_name: ClassVar[str] = "kfac"

    def __post_init__(self) -> None:
        check_positive("lr", self.lr)
        check_count("batchsize", self.batchsize, 1)
        _ = self._preconditioner  # which checks its settings
        check_choice("sharing", self.sharing, SHARING)
        check_count("largest_exact", self.largest_exact, 0)
        if check_fraction("momentum", self.momentum) == 1:
            raise ValueError("momentum must be below 1, but 1 was given.")
        check_positive("weight_decay", self.weight_decay, or_zero=True)

    @property
    def learning_rate(self) -> float:
        """The learning rate, by the name that all methods share."""
        return self.lr

    @property
    def _preconditioner(self) -> Preconditioner:
        return Preconditioner(
            self.diag_shift, self.norm_constraint, self.decay, self.inverse_period
        )

    def curvature(self, model: AbstractModel, networks: PyTree) -> EnergyCurvature:
        """The curvature that it goes by; its blocks are logged.

        Args:
            model: What is trained.
            networks: The parameters of one network, or their shapes and types.
        """
        blocks = blocks_of_model(model, networks, self.largest_exact)
        _logger.info("KFAC has %s", blocks)
        if not blocks.size(KRONECKER):
            _logger.warning(
                "KFAC found no linear layers in this model, and has %s. They are seen if they are "
                "modules of flax, or calls of ritz.updates.linear, and applied to atoms.",
                blocks.summary,
            )
        return EnergyCurvature(model, blocks, self.sharing)

    def transformation(
        self, schedule: optax.Schedule, curvature: EnergyCurvature
    ) -> optax.GradientTransformationExtraArgs:
        """The optimiser with the learning rate of a schedule.

        Its `update` takes the `BatchCurvature` of the step as `curvature`.
        """
        preconditioner, blocks = self._preconditioner, curvature.blocks

        def init(params: PyTree) -> KfacState:
            dtype = jnp.result_type(*jax.tree.leaves(params))
            with jax.enable_x64(True):
                state = preconditioner.init(curvature.zeros(dtype), dtype, products)
                return state._replace(inverses=_in_parts(state.inverses, dtype))

        def update(
            updates: PyTree, state: Any, params: PyTree | None = None, **more: Any
        ) -> tuple[PyTree, KfacState]:
            batch: BatchCurvature = more["curvature"]
            with jax.enable_x64(True):
                scale = double(batch.scale)
                parts = [scale * double(part) for part in parts_of(updates, blocks)]
                known = state._replace(inverses=_joined(state.inverses))
                found, new, _ = preconditioner.direction(known, batch.sums, parts, product=products)
                inverses = _in_parts(new.inverses, state.weight.dtype)
                direction = cast_like(whole_of(params, blocks, found), params)
                return direction, new._replace(inverses=inverses)

        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.GradientTransformationExtraArgs(init, update),
            optax.sgd(schedule, self.momentum or None),
        )


def _in_parts(tree: PyTree, dtype: DTypeLike) -> tuple[PyTree, ...]:
    """Numbers in double precision as sums of such in another, which a run can carry."""
    high = jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    if jnp.dtype(dtype) == jnp.float64:
        return (high,)
    return high, jax.tree.map(lambda leaf, part: (leaf - part).astype(dtype), tree, high)


def _joined(parts: tuple[PyTree, ...]) -> PyTree:
    """The numbers whose `_in_parts` are given, in double precision."""
    return jax.tree.map(lambda *each: sum(map(double, each)), *parts)

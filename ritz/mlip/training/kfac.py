"""The optimiser KFAC of training."""

import dataclasses
import logging
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
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


@suggests_fields
@dataclasses.dataclass(frozen=True)
class KFAC:
    lr: float = 0.1
    batchsize: int = 32
    diag_shift: ScalarOrSchedule = 1e-3
    norm_constraint: ScalarOrSchedule | None = 1.0
    decay: float = 0.95
    inverse_period: int = 1
    sharing: str = "reduce"
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
                return preconditioner.init(curvature.zeros(dtype), dtype, products)

        def update(
            gradient: PyTree, state: KfacState, params: PyTree, *, curvature: BatchCurvature
        ) -> tuple[PyTree, KfacState]:
            with jax.enable_x64(True):
                scale = double(curvature.scale)
                parts = [scale * double(part) for part in parts_of(gradient, blocks)]
                found, state, _ = preconditioner.direction(
                    state, curvature.sums, parts, product=products
                )
                return cast_like(whole_of(params, blocks, found), params), state

        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.GradientTransformationExtraArgs(init, update),
            optax.sgd(schedule, self.momentum or None),
        )

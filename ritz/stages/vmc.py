"""Training: variational Monte Carlo as a stage."""

import dataclasses
import numbers
from typing import Any, ClassVar, NamedTuple

import jax
import optax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.callbacks import InvalidLossStopping
from ritz.checks import check_choice
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.divergence import POLICIES
from ritz.estimators.clipping import LossAndGrad
from ritz.stages.base import WorkStageConfig
from ritz.stages.contract import ContractError
from ritz.stages.contracts import OPTIMIZER, is_schedule
from ritz.stages.sampling import (
    STANDARD_LOSS,
    AbstractWavefunction,
    LogAmplitude,
    SamplingStage,
    SamplingStageBuilder,
    specifications,
)
from ritz.types import Settings

LOSS = "loss"
"""Name that stands for the driver's loss."""


@dataclasses.dataclass(kw_only=True, frozen=True)
class VMCWorkStageConfig(WorkStageConfig):
    """Settings of a VMC stage, besides those of every stage.

    Args:
        stop_on_nan: Which statistics end the stage when they are not finite, in any part: names
            separated by commas, such as "loss" (the default) or "loss,info"; True for all, False
            for none, which goes on over a loss that is not finite too.
        on_divergence: What happens when loss, update or parameters are not finite: "stop" or
            "retry", see `AbstractDriver.run`.

    Raises:
        ValueError: If a setting is not allowed.
    """

    burn_in: int = 100
    stop_on_nan: bool | str = LOSS
    on_divergence: str = "stop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.stop_on_nan, bool | str) or self.stop_on_nan == "":
            raise ValueError(
                "stop_on_nan takes True, False or names separated by commas, but "
                f"{self.stop_on_nan!r} was given."
            )
        check_choice("on_divergence", self.on_divergence, POLICIES)

    def watch(self) -> list[InvalidLossStopping]:
        """Callbacks that watch quantities besides loss, update and parameters."""
        if isinstance(self.stop_on_nan, bool):
            return [InvalidLossStopping(None)] if self.stop_on_nan else []
        names = [name.strip() for name in self.stop_on_nan.split(",")]
        watching = [InvalidLossStopping(name) for name in names if name != LOSS]
        for condition in watching:
            condition.name = condition.monitor
        return watching

    @property
    def policy(self) -> str:
        """The argument `on_divergence` of the stage's run."""
        return "ignore" if self.stop_on_nan is False else self.on_divergence


class VMCState(NamedTuple):
    """The state of a VMC stage."""

    params: PyTree
    batched_data: PyTree
    sampler_state: PyTree
    estimator_state: PyTree
    opt_state: PyTree

    def partition(self) -> "VMCState":
        """A tree of the same structure with a `PartitionSpec` for each array."""
        return specifications(self)


class VMCWorkStage(SamplingStage):
    """Optimises a wave function: sampling + estimators + an optimiser, on the run loop.

    Made by `VMCWorkStage.builder(cfg, wavefunction)`; see `EvaluationWorkStage` for estimates
    without optimisation.
    """

    state_class: ClassVar[type] = VMCState

    @classmethod
    def builder(
        cls, cfg: object, wavefunction: AbstractWavefunction, *, name: str | None = None
    ) -> "VMCStageBuilder":
        """A builder of such stages, see `VMCStageBuilder`."""
        return VMCStageBuilder(cfg, wavefunction, name=name)

    def _new_driver(self, rngs: jax.Array, params: PyTree = None) -> AbstractDriver:
        return self.wavefunction.training_driver(self.parts, rngs, params)

    @override
    def run_callbacks(self, driver: AbstractDriver) -> list[AbstractCallback]:
        config: Any = self.config
        return [*super().run_callbacks(driver), *config.watch()]

    @override
    def run_options(self) -> Settings:
        config: Any = self.config
        return {"on_divergence": config.policy}


class VMCStageBuilder(SamplingStageBuilder):
    """Builds `VMCWorkStage`s: adds an optimiser and a loss to what is sampled and estimated."""

    config_class: ClassVar[type[WorkStageConfig]] = VMCWorkStageConfig
    stage_class = VMCWorkStage
    part_names = ("optimizer", *SamplingStageBuilder.part_names)

    def __init__(self, cfg: object, wavefunction: AbstractWavefunction, *, name: str | None = None):
        super().__init__(cfg, wavefunction, name=name)
        self._optimizer: object = None
        self._optimizer_options: Settings = {}
        self._loss: str | None = None
        self._loss_grads: LossAndGrad | None = None

    def configure_optimizer(
        self, *, default: object, f_log_psi: LogAmplitude, **kwargs: Any
    ) -> None:
        """Set the optimiser.

        Args:
            default: Used if the configuration has no `optimizer`: an optax
                transformation, a learning rate or schedule, a function or class that makes one,
                or the path of these, such as "optax.adam".
            f_log_psi: `(params, samples) -> log psi`, for optimisers that look at it.
            **kwargs: Further arguments for the domain's driver, such as `update=SR()`.

        Raises:
            TypeError: If the result is not an optimiser, or `f_log_psi` cannot be called.
            ValueError: If a path needs arguments, or has wrong ones.
        """
        if not callable(f_log_psi):
            raise TypeError(
                "f_log_psi takes a function (params, samples) -> log psi, but "
                f"{f_log_psi!r} was given."
            )
        self._optimizer = self._made_optimizer(default, f_log_psi)
        self._optimizer_options = dict(kwargs)

    def _made_optimizer(self, default: object, f_log_psi: LogAmplitude) -> object:
        optimizer = self.cfg.values.get("optimizer")
        optimizer = default if optimizer is None else optimizer
        if not is_schedule(optimizer):
            try:
                optimizer = self.cfg.get("optimizer", default, OPTIMIZER, f_log_psi=f_log_psi)
            except ContractError as error:
                raise TypeError(str(error)) from error
        is_rate = isinstance(optimizer, numbers.Real) and not isinstance(optimizer, bool)
        is_transformation = isinstance(optimizer, optax.GradientTransformation)
        if not (is_transformation or is_rate or is_schedule(optimizer)):
            raise TypeError(
                f"the optimizer of stage {self.name} must be {OPTIMIZER.text}, but {optimizer!r} "
                "was configured."
            )
        return optimizer

    def configure_loss_grads(
        self,
        loss_grads: str | LossAndGrad | type[LossAndGrad] | None = None,
        *,
        f_log_psi: LogAmplitude,
        loss: str | None = None,
    ) -> None:
        """Set the estimator that is minimised, and how it becomes a gradient.

        Args:
            loss_grads: A `LossAndGrad`, which says how local losses are clipped, or the class with
                its defaults, in domains that have it (molecules). A name is taken as `loss`.
            f_log_psi: `(params, samples) -> log psi`, whose derivatives give the gradient.
            loss: The name of the estimator whose mean is the loss; by default "total", "energy" or
                "Energy", or the only one there is.

        Raises:
            ValueError: If `configure_estimators` was not called before, or there is no such
                estimator.
        """
        if not self._estimators:
            raise ValueError(
                "configure_loss_grads needs to know what there is; call configure_estimators(...) "
                "first."
            )
        if isinstance(loss_grads, str):
            loss, loss_grads = loss_grads, None
        self._loss_grads = loss_grads() if isinstance(loss_grads, type) else loss_grads
        known = list(self._estimators)
        if loss is None:
            standard = [name for name in STANDARD_LOSS if name in known]
            if not standard and len(known) > 1:
                raise ValueError(
                    f"which of the estimators {', '.join(known)} is the loss? Give "
                    f"loss={known[0]!r}."
                )
            loss = standard[0] if standard else known[0]
        if loss not in known:
            raise ValueError(f"there is no estimator {loss!r}; there are: {', '.join(known)}.")
        if f_log_psi != self._f_log_amplitude:
            raise ValueError(
                "f_log_psi must be the function that is sampled; give configure_loss_grads and "
                "configure_sample_plan the same one."
            )
        self._loss = loss

    def ensure_configured(self) -> None:
        """Fill in missing parts and check all.

        Raises:
            ValueError: If `configure_estimators` or `configure_optimizer` was not called.
        """
        super().ensure_configured()
        if self._optimizer is None:
            raise ValueError(
                f"stage {self.name} has no optimizer; call configure_optimizer(default=..., "
                "f_log_psi=...) before build()."
            )
        if self._loss is None:
            self.configure_loss_grads(f_log_psi=self._f_log_amplitude)

    def build(self) -> VMCWorkStage:
        """Build the stage.

        Raises:
            ValueError: See `ensure_configured`.
        """
        self.ensure_configured()
        parts = self._parts()
        parts.loss, parts.loss_grads = self._loss, self._loss_grads
        parts.optimizer, parts.optimizer_options = self._optimizer, self._optimizer_options
        return VMCWorkStage(
            parts, self.wavefunction, self.name, self._writers or (), self._callbacks or ()
        )

"""Evaluation: estimates without optimisation, as a stage."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import jax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.stages.averages import LAST, PARAMETERS
from ritz.stages.base import WorkStageConfig
from ritz.stages.digest import Digest, Estimate, read_digest
from ritz.stages.sampling import AbstractWavefunction, SamplingStage, SamplingStageBuilder


@dataclasses.dataclass(kw_only=True, frozen=True)
class EvaluationWorkStageConfig(WorkStageConfig):
    """Settings of an evaluation, besides those of every stage.

    Args:
        digest_step_interval: Steps between previews of the digest in the log; 0 for none.
        parameters: Which parameters of the training are taken: the "last", or the "average" over
            its steps of the callback `ParameterEMA`. In a `Pipeline` they come from the stage
            before; whoever calls `create_state` gives them.

    Raises:
        ValueError: If a setting is not allowed.
    """

    digest_step_interval: int = 0
    parameters: str = LAST

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("parameters", self.parameters, PARAMETERS)
        check_count("digest_step_interval", self.digest_step_interval, 0)


class EvaluationWorkStage(SamplingStage):
    """Samples and estimates with frozen parameters, and writes `digest.npz`.

    The digest has, for every estimator, mean, error from blocking, autocorrelation time, R-hat and
    the number of samples, see `Digest`. Made by `EvaluationWorkStage.builder(cfg, wavefunction)`.
    """

    @classmethod
    def builder(
        cls, cfg: object, wavefunction: AbstractWavefunction, *, name: str | None = None
    ) -> "EvalStageBuilder":
        """A builder of such stages, see `EvalStageBuilder`."""
        return EvalStageBuilder(cfg, wavefunction, name=name)

    def _new_driver(self, rngs: jax.Array, params: PyTree = None) -> AbstractDriver:
        return self.wavefunction.evaluation_driver(self.parts, rngs, params)

    @override
    def run_callbacks(self, driver: AbstractDriver) -> list[AbstractCallback]:
        config: Any = self.config
        digest = Digest(
            interval=config.digest_step_interval, moments=self.wavefunction.chain_moments
        )
        return [*super().run_callbacks(driver), digest]

    @staticmethod
    def digest(save_path: str | Path) -> dict[str, Estimate]:
        """Estimates of a finished evaluation in `save_path`, by name."""
        return read_digest(save_path)


class EvalStageBuilder(SamplingStageBuilder):
    """Builds an `EvaluationWorkStage` part by part; see `SamplingStageBuilder`."""

    config_class: ClassVar[type[WorkStageConfig]] = EvaluationWorkStageConfig
    stage_class = EvaluationWorkStage

    def build(self) -> EvaluationWorkStage:
        """Build the stage.

        Raises:
            ValueError: If `configure_estimators` was not called.
        """
        self.ensure_configured()
        return EvaluationWorkStage(
            self._parts(), self.wavefunction, self.name, self._writers or (), self._callbacks or ()
        )

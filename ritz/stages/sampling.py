"""Base classes of stages that sample a wave function, and of their builders."""

import abc
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver import AbstractDriver, StopReason
from ritz.driver.callback import AbstractCallback
from ritz.estimators.chain_moments import ChainMoments
from ritz.estimators.clipping import LossAndGrad
from ritz.loggers import CSVLog, JsonLog
from ritz.stages.base import StageAbort, WorkStage, WorkStageConfig
from ritz.stages.config import Config
from ritz.stages.contracts import CALLBACK, WRITER
from ritz.types import Settings

_logger = logging.getLogger(__name__)

STANDARD_LOSS = ("total", "energy", "Energy")
"""Names of estimators that are minimised, or the energy of an evaluation, by default."""

LogAmplitude = Callable[[PyTree, PyTree], jax.Array]
"""`(params, samples) -> log psi`."""

Parts: TypeAlias = dict[str, Any]
"""Samplers or estimators of a domain, by name."""


class SamplingState(NamedTuple):
    """The state of a stage that samples."""

    params: PyTree
    batched_data: PyTree
    """The configurations of the chains."""
    sampler_state: PyTree
    estimator_state: PyTree

    def partition(self) -> "SamplingState":
        """A tree of the same structure with a `PartitionSpec` for each array, as they are laid out.

        Arrays that are not distributed have an empty one.
        """
        return specifications(self)


def specifications(state: PyTree) -> PyTree:
    """Layout of the arrays of `state` over devices: a tree of `PartitionSpec`."""

    def one(leaf: object) -> PartitionSpec:
        return getattr(getattr(leaf, "sharding", None), "spec", None) or PartitionSpec()

    return jax.tree.map(one, state)


@dataclasses.dataclass
class StageParts:
    """Parts of a stage that samples."""

    config: WorkStageConfig
    f_log_amplitude: LogAmplitude
    samplers: Parts
    estimators: Parts
    loss: str | None = None
    """The name of the estimator that is minimised."""
    loss_grads: LossAndGrad | None = None
    """How local losses become loss and gradient; None for the domain's way."""
    optimizer: Any = None
    optimizer_options: Settings = dataclasses.field(default_factory=dict)
    cfg: Config = dataclasses.field(default_factory=Config)


class AbstractWavefunction(abc.ABC):
    """Base class of a domain's wave functions, which make the drivers of stages."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Names that it reads from `StageParts.cfg`; unknown names there are refused."""

    @abc.abstractmethod
    def logpsi(self, params: PyTree, x: PyTree) -> jax.Array:
        """Log psi of a batch of configurations."""

    @abc.abstractmethod
    def training_driver(
        self, parts: StageParts, rngs: jax.Array, params: PyTree = None
    ) -> AbstractDriver:
        """A driver that optimises, with the chains where `rngs` puts them.

        Args:
            parts: The configured parts.
            rngs: A random key.
            params: Initial parameters; by default they are drawn too.
        """

    @abc.abstractmethod
    def evaluation_driver(
        self, parts: StageParts, rngs: jax.Array, params: PyTree = None
    ) -> AbstractDriver:
        """A driver that only estimates, see `training_driver`."""

    @abc.abstractmethod
    def state_of(self, driver: AbstractDriver, kind: type) -> PyTree:
        """The stage's state, from its driver; `kind` is `SamplingState` or `VMCState`."""

    @abc.abstractmethod
    def load(self, driver: AbstractDriver, state: PyTree) -> None:
        """Put a stage's state into its driver."""

    def burn_in(self, driver: Any, n_steps: int) -> None:
        """Draw samples of `n_steps` steps and discard them."""
        driver.burn_in(n_steps)

    def chain_moments(self, driver: AbstractDriver) -> Mapping[str, ChainMoments]:
        """Moments of each chain of an evaluation: name -> (count, means, m2), see `Digest`."""
        return {}


class BurnIn(AbstractCallback):
    """Equilibrates the chains before the first step of a run that begins anew.

    Args:
        wavefunction: The wave function, which draws the samples.
        n_steps: Steps of sampling.
    """

    callback_order = -100
    decides = False

    def __init__(self, wavefunction: AbstractWavefunction, n_steps: int):
        self._wavefunction, self._n_steps = wavefunction, n_steps

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        if step == 0:
            self._wavefunction.burn_in(driver, self._n_steps)


class SamplingStage(WorkStage):
    """A stage whose loop is the run loop of a domain's driver. Made by a builder.

    Args:
        parts: Its parts.
        wavefunction: The wave function.
        name: The stage's name.
        writers: Loggers for the rows.
        callbacks: Callbacks for the steps.
    """

    state_class: ClassVar[type] = SamplingState

    def __init__(
        self,
        parts: StageParts,
        wavefunction: AbstractWavefunction,
        name: str,
        writers: Sequence[AbstractCallback] = (),
        callbacks: Sequence[AbstractCallback] = (),
    ):
        super().__init__(parts.config, name, writers, callbacks)
        self.parts, self.wavefunction = parts, wavefunction
        self._driver: AbstractDriver | None = None

    @abc.abstractmethod
    def _new_driver(self, rngs: jax.Array, params: PyTree = None) -> AbstractDriver:
        """A driver with its chains where `rngs` puts them."""

    def create_state(self, rngs: jax.Array, **kwargs: PyTree) -> PyTree:
        """The state before the first step.

        Args:
            rngs: A random key for parameters and chains.
            **kwargs: `params`, to start from, and `batched_data`, where chains begin, such as those
                of the state of the stage before; drawn by default.

        Raises:
            TypeError: For other arguments.
        """
        params, batched_data = kwargs.pop("params", None), kwargs.pop("batched_data", None)
        if kwargs:
            raise TypeError(
                f"create_state takes params and batched_data, but {', '.join(kwargs)} was given to "
                f"{self.name}."
            )
        self._driver = self._new_driver(rngs, params)
        state = self.state_of(self._driver)
        if batched_data is None:
            return state
        shapes = jax.tree.map(np.shape, (state.batched_data, batched_data))
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"batched_data has the shape {shapes[1]}, but stage {self.name} has chains of the "
                f"shape {shapes[0]}; give both stages the same numbers, or leave it out."
            )
        return state._replace(batched_data=batched_data)

    @override
    def driver(self, state: PyTree, rngs: jax.Array) -> AbstractDriver:
        driver, self._driver = self._driver, None
        if driver is None:
            driver = self._new_driver(rngs, state.params)
        self.wavefunction.load(driver, state)
        return driver

    @override
    def state_of(self, driver: AbstractDriver) -> PyTree:
        return self.wavefunction.state_of(driver, self.state_class)

    @override
    def run_callbacks(self, driver: AbstractDriver) -> list[AbstractCallback]:
        burn_in = [BurnIn(self.wavefunction, self.config.burn_in)] if self.config.burn_in else []
        return [*burn_in, *self.callbacks]

    def loop(
        self, state: PyTree, initial_step: int, rngs: jax.Array
    ) -> Iterator[tuple[int, PyTree]]:
        """Take the steps one by one, for loops of your own; `run` takes whole blocks.

        Yields:
            `(step, state)`.

        Raises:
            StageAbort: If the loss or another watched quantity is not finite.
        """
        driver = self.driver(state, rngs)
        driver.resume_at(initial_step, 0.0)
        n_left = max(self.config.iterations - initial_step, 0)
        callbacks = self.run_callbacks(driver)
        for info in driver.steps(n_left, callback=callbacks, **self.run_options()):
            yield info.step, self.state_of(driver)
        if driver.stop_reason is StopReason.DIVERGED:
            raise StageAbort(driver.step_count, self.state_of(driver))


class SamplingStageBuilder(abc.ABC):
    """Builds a stage part by part; missing parts come from the configuration.

    Args:
        cfg: A `Config`, or a dict or dataclass for one.
        wavefunction: The wave function.
        name: The stage's name; by default that of `cfg`, or the stage's class.
    """

    config_class: ClassVar[type[WorkStageConfig]] = WorkStageConfig
    stage_class: ClassVar[type[WorkStage]]
    part_names: ClassVar[tuple[str, ...]] = ("sampler", "writers", "callbacks")
    """The parts that are read from the configuration."""

    def __init__(self, cfg: object, wavefunction: AbstractWavefunction, *, name: str | None = None):
        self.cfg = Config(cfg)
        self.wavefunction = wavefunction
        self.name = name or self.cfg.name or self.stage_class.__name__
        self.config = self.cfg.read(self.config_class)
        self._samplers: Parts | None = None
        self._f_log_amplitude: LogAmplitude = wavefunction.logpsi
        self._estimators: Parts = {}
        self._writers: tuple[AbstractCallback, ...] | None = None
        self._callbacks: tuple[AbstractCallback, ...] | None = None

    def configure_sample_plan(
        self, f_log_amplitude: LogAmplitude, samplers: Parts | None = None
    ) -> None:
        """Set how samples are drawn.

        Args:
            f_log_amplitude: `(params, samples) -> log psi`.
            samplers: Name -> sampler; by default the configuration's `sampler`.

        Raises:
            TypeError: If `f_log_amplitude` cannot be called.
        """
        if not callable(f_log_amplitude):
            raise TypeError(
                "f_log_amplitude takes a function (params, samples) -> log psi, such as "
                f"wavefunction.logpsi, but {f_log_amplitude!r} was given."
            )
        self._f_log_amplitude = f_log_amplitude
        self._samplers = None if samplers is None else dict(samplers)

    def configure_estimators(self, **estimators: object) -> None:
        """Set the estimators, by name."""
        self._estimators |= estimators

    def configure_writers(self, writers: Sequence[AbstractCallback] | None = None) -> None:
        """Set the loggers of the stage.

        Args:
            writers: Loggers; by default those of the configuration, or else a JSON and a CSV file
                with the stage's name.
        """
        if writers is None:
            writers = self.cfg.made_list("writers", WRITER)
            if self.cfg.values.get("writers") is None:
                writers = [JsonLog(self.name, "append"), CSVLog(self.name, "append")]
        self._writers = tuple(writers)

    def configure_callbacks(self, callbacks: Sequence[AbstractCallback] | None = None) -> None:
        """Set the callbacks of the stage; by default those of the configuration."""
        if callbacks is None:
            callbacks = self.cfg.made_list("callbacks", CALLBACK)
        self._callbacks = tuple(callbacks)

    def ensure_configured(self) -> None:
        """Fill in missing parts and check all; called by `build`.

        Raises:
            ValueError: If `configure_estimators` was not called, or the configuration has
                settings that are never read.
        """
        fields = [field.name for field in dataclasses.fields(self.config_class)]
        self.cfg.refuse_unknown([*fields, *self.part_names, *self.wavefunction.settings])
        if not self._estimators:
            raise ValueError(
                f"stage {self.name} has no estimators; call configure_estimators(energy=...) "
                "before build()."
            )
        if self._writers is None:
            self.configure_writers()
        if self._callbacks is None:
            self.configure_callbacks()

    def _parts(self) -> StageParts:
        return StageParts(
            config=self.config,
            f_log_amplitude=self._f_log_amplitude,
            samplers=self._samplers or {},
            estimators=dict(self._estimators),
            cfg=self.cfg,
        )

    @abc.abstractmethod
    def build(self) -> WorkStage:
        """Build the stage, with missing parts filled in."""

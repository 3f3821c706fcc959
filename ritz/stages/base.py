"""The execution unit of a workflow: state, loop, checkpoints, writers and signals in one."""

import abc
import dataclasses
import logging
import signal
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checkpoint import Checkpoint
from ritz.checkpoint.folder import CheckpointError, CheckpointFolder, Contents
from ritz.checkpoint.ownership import FolderOwner
from ritz.checkpoint.plain import Arrays, Encoder
from ritz.checkpoint.resume import load
from ritz.checks import check_count
from ritz.driver import AbstractDriver, StopReason
from ritz.driver.callback import AbstractCallback, StopRun
from ritz.driver.processes.signals import RunInterrupted, SignalGuard
from ritz.types import JSON, Loss, Row, Settings

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True, frozen=True)
class WorkStageConfig:
    """Settings of every stage.

    Args:
        iterations: Steps to take.
        burn_in: Steps of sampling before the first one, whose samples are thrown away.
        save_time_interval: Seconds between checkpoints. Each interval acts on its own.
        save_step_interval: Checkpoints are written at multiples of this step count too; 0 for none.
        accept_changes: What may differ from a saved run that is resumed, see `Checkpoint`.

    Raises:
        ValueError: If a number is not allowed.
    """

    iterations: int = 100
    burn_in: int = 0
    save_time_interval: float = 60.0
    save_step_interval: int = 0
    accept_changes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("iterations", "burn_in", "save_step_interval"):
            check_count(name, getattr(self, name), 0)
        if not self.save_time_interval >= 0:
            raise ValueError(
                "save_time_interval must be at least 0 seconds, but "
                f"{self.save_time_interval!r} was given."
            )


@dataclasses.dataclass(frozen=True)
class RunContext:
    """Resources that a stage is given when it runs."""

    save_path: Path
    """The folder in which the stage writes checkpoints and logs."""
    restore_path: Path | None = None
    """A checkpoint, a folder of them, or the `save_path` of another run with a stage of the same
    name, to go on from where `save_path` has none. It is an error if it holds none."""
    signal_handler: SignalGuard | None = None
    """Receives signals for several stages; each also handles those during its own run."""
    options: Settings = dataclasses.field(default_factory=dict)
    """Further arguments of `driver.run`, such as `show_progress`."""
    configuration: JSON = None
    """Saved with the checkpoints for information: anything that JSON can hold."""


class StageAbort(Exception):
    """Raised in `WorkStage.loop` to end the stage early, for example because of a NaN."""

    def __init__(self, step: int, state: PyTree):
        super().__init__(step, state)
        self.step, self.state = step, state

    def __str__(self) -> str:
        return f"the stage gave up at step {self.step}"


class WorkStage(abc.ABC):
    """Base class of stages. Implement `create_state` and `loop`, and call `run`.

    The loop runs within Ritz's run loop: each of its steps is one step there, with all hooks, and
    its states are saved and its statistics logged.

    Args:
        config: The settings.
        name: The stage's name, for files and messages; by default the class's.
        writers: Loggers for the rows.
        callbacks: Callbacks for the steps.
    """

    config_class: ClassVar[type[WorkStageConfig]] = WorkStageConfig

    def __init__(
        self,
        config: WorkStageConfig | None = None,
        name: str | None = None,
        writers: Sequence[AbstractCallback] = (),
        callbacks: Sequence[AbstractCallback] = (),
    ):
        self.config = config or self.config_class()
        self.name = name or type(self).__name__
        self.writers = tuple(writers)
        self.callbacks = tuple(callbacks)

    @abc.abstractmethod
    def create_state(self, rngs: jax.Array, **kwargs: PyTree) -> PyTree:
        """The state before the first step, a pytree of arrays.

        Args:
            rngs: A random key.
            **kwargs: Arguments of the stage, such as `params` of the stage before it.
        """

    @abc.abstractmethod
    def loop(self, state: PyTree, initial_step: int, rngs: jax.Array) -> Iterator[tuple[Any, ...]]:
        """Take the steps of the stage.

        Args:
            state: From `create_state`, or from a checkpoint.
            initial_step: The first step; 0 unless the run goes on from a checkpoint.
            rngs: The random key that `run` was given; fold the step into it, so that a resumed run
                draws the same numbers.

        Yields:
            `(step, state)` after each step, or `(step, state, statistics)` with numbers to log.

        Raises:
            StageAbort: To end early.
        """

    def driver(self, state: PyTree, rngs: jax.Array) -> AbstractDriver:
        """The driver that takes the stage's steps, from `state` on."""
        return GeneratorDriver(self, state, rngs)

    def state_of(self, driver: AbstractDriver) -> PyTree:
        """The stage's state, from its driver."""
        return driver.parameters

    def run_callbacks(self, driver: AbstractDriver) -> list[AbstractCallback]:
        """The stage's own callbacks, for a run of `driver`."""
        return list(self.callbacks)

    def run_options(self) -> Settings:
        """Further arguments of `AbstractDriver.run` for this stage."""
        return {}

    def checkpoint_folder(self, context: RunContext) -> Path:
        """Folder of the stage's checkpoints in a run folder."""
        return (Path(context.save_path) / "checkpoints" / self.name).absolute()

    def run(self, state: PyTree, context: RunContext, rngs: jax.Array) -> PyTree:
        """Run the whole loop, or what is left of it.

        It goes on from the newest checkpoint in `context.save_path`, or else from
        `context.restore_path` if that is given. A stage that has ended takes no more steps, unless
        `iterations` is larger than before (or a callback had stopped it, and the callbacks are
        others, as `accept_changes` allows).

        Args:
            state: From `create_state`.
            context: Where to write and from where to go on.
            rngs: A random key.

        Returns:
            The state after the last step.

        Raises:
            SystemExit: If the stage gave up (status 1), or after a signal (128 + its number); a
                checkpoint has been written then, or, of a state that is no good to go on from, one
                for inspection in the folder `failed`.
            CheckpointError: If a checkpoint is demanded and missing, or is of another run.
            FolderInUseError: If another run goes on in `context.save_path`.
        """
        handler = context.signal_handler
        if handler is not None and handler.received is not None:
            raise RunInterrupted(f"interrupted by {handler.received.name}", handler.received)
        driver = self.driver(state, rngs)
        driver.working_dir, driver.stage_name = Path(context.save_path), self.name
        folder = self.checkpoint_folder(context)
        saving = Checkpoint(
            folder,
            every_steps=self.config.save_step_interval or None,
            every_seconds=self.config.save_time_interval,
            accept_changes=self.config.accept_changes,
            extend="longer",
            configuration={
                "stage": self.name,
                "settings": dataclasses.asdict(self.config),
                "run": context.configuration,
            },
        )
        resume = self._source(context, folder)
        try:
            driver.run(
                self.config.iterations,
                out=list(self.writers),
                callback=[FolderOwner("."), *self.run_callbacks(driver), saving],
                resume=resume,
                **{"show_progress": False, **self.run_options(), **context.options},
            )
        except StageAbort as abort:
            self._keep(abort, folder)
            raise SystemExit(f"stage {self.name}: {abort}") from abort
        except RunInterrupted:
            raise
        except KeyboardInterrupt as interrupt:
            raise RunInterrupted(str(interrupt), signal.SIGINT) from interrupt
        if driver.stop_reason in (StopReason.FAILED, StopReason.DIVERGED):
            raise SystemExit(f"stage {self.name}: {driver.stop_message}")
        return self.state_of(driver)

    def _source(self, context: RunContext, folder: Path) -> bool | Path:
        """Source of a resumed run: True for the newest of its own checkpoints, if there is any."""
        if context.restore_path is None:
            return True
        given = Path(context.restore_path).absolute()
        if given in (Path(context.save_path).absolute(), folder):
            return True
        if CheckpointFolder(folder).entries():
            _logger.info("Going on from %s, not from restore_path %s.", folder, given)
            return True
        inside = given / "checkpoints" / self.name
        if CheckpointFolder(inside).entries():
            return inside
        beside = [entry.path for entry in CheckpointFolder(given.parent).entries()]
        if given not in beside and not CheckpointFolder(given).entries():
            raise CheckpointError(
                f"restore_path: there is no checkpoint in {given} or {inside}; give a checkpoint, "
                "a folder of them, the folder of a run, or None to begin anew."
            )
        return given

    def _keep(self, abort: StageAbort, folder: Path) -> None:
        """Save the state at which the stage was aborted, for inspection.

        In several processes only process 0 does, and only what it has: others may not have aborted.
        """
        leaves = [leaf for leaf in jax.tree.leaves(abort.state) if isinstance(leaf, jax.Array)]
        whole = all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in leaves)
        if jax.process_index() != 0 or not whole:
            _logger.warning("The state at which the stage was aborted is not kept here.")
            return
        failed = CheckpointFolder(folder / "failed")
        arrays: Arrays = {}
        form = Encoder(arrays, abort.state).encode(abort.state, "state")
        for old in failed.entries():
            failed.remove(old)
        manifest = {"step": abort.step, "state": {"": form}, "format": 0}
        failed.save(abort.step, False, Contents(manifest, arrays))
        error = failed.wait_here()
        if error:
            raise CheckpointError(error)

    def restore_checkpoint(
        self, checkpoint_path: str | Path, template: PyTree, *, prefix: str = ""
    ) -> PyTree:
        """The state in a checkpoint of this stage.

        Args:
            checkpoint_path: A checkpoint, or a folder of them, whose newest is taken.
            template: A state with the shapes of the saved one, from `create_state`.
            prefix: Only checkpoints whose names begin with it are considered.

        Raises:
            CheckpointError: If there is none, or it does not fit.
        """
        driver = self.driver(template, jax.random.key(0))
        load(checkpoint_path, driver, prefix)
        return self.state_of(driver)


class GeneratorDriver(AbstractDriver):
    """Takes the steps of a stage's `loop`.

    Args:
        stage: The stage.
        state: Its state, which checkpoints save.
        rngs: The random key that `loop` gets.
    """

    can_go_back = False

    def __init__(self, stage: WorkStage, state: PyTree, rngs: jax.Array):
        super().__init__(types.SimpleNamespace(parameters=state))
        self._stage, self._rngs = stage, rngs
        self._steps: Iterator[tuple[Any, ...]] | None = None
        self._statistics: Row = {}

    @property
    def settings(self) -> Settings:
        """The class of the stage; its configuration may change between runs."""
        return {**super().settings, "stage": type(self._stage)}

    @override
    def begin_run(self) -> None:
        self._steps = None

    @override
    def reset_step(self) -> None:
        pass

    def compute_loss_and_update(self) -> tuple[Loss, PyTree]:
        """Take the next step of the loop; its state is the update."""
        if self._steps is None:
            self._steps = self._stage.loop(self.parameters, self.step_count, self._rngs)
        try:
            step, state, *statistics = next(self._steps)
        except StopIteration:
            raise StopRun("the loop has ended") from None
        if step != self.step_count:
            raise ValueError(
                f"{type(self._stage).__name__}.loop yielded step {step}, but step "
                f"{self.step_count} comes next; yield (step, state) for each step, from "
                "initial_step on."
            )
        self._statistics = dict(statistics[0]) if statistics else {}
        return self._statistics.pop(self.loss_name, None), state

    @override
    def update_parameters(self, update: PyTree) -> None:
        self.parameters = update

    def _log_additional_data(self, log_data: Row) -> None:
        log_data.update(self._statistics)

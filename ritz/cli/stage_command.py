"""Commands that train and evaluate wave functions with work stages, in a run folder."""

import abc
import logging
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ritz.checks import check_seed
from ritz.cli.command_run import CommandRun, say_dry
from ritz.cli.domain import Invocation
from ritz.cli.messages import under
from ritz.cli.result_text import value_text
from ritz.cli.results import facts, saved_loss
from ritz.cli.settings.yaml_text import load_yaml
from ritz.driver.processes.consensus import agree
from ritz.stages.base import WorkStage
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger("ritz")

BUILDING = (ValueError, TypeError, ArithmeticError)
"""The errors of what is built with wrong arguments."""

_NO_RESULT = ("FAILED", "DIVERGED")


class StageBuilder(abc.ABC):
    """Builds what a configuration describes: the stages of a domain."""

    @abc.abstractmethod
    def train(self) -> WorkStage:
        """The stage that minimises the energy."""

    @abc.abstractmethod
    def evaluate(self) -> WorkStage:
        """The stage that estimates energy and observables with fixed parameters."""

    @property
    def evaluates_average(self) -> bool:
        """Whether averages of the parameters are evaluated, and not the last ones."""
        return False

    @property
    @abc.abstractmethod
    def system_text(self) -> str:
        """The system in a few words."""

    @property
    @abc.abstractmethod
    def exact(self) -> float | None:
        """The exact energy, or the best estimate of it, where it is known."""


class StageCommand(abc.ABC):
    """The command `train` or `evaluate` of a domain of wave functions.

    Args:
        call: The command.
        running: The command in its folder.
        builder: Builds its stages.
    """

    energy: ClassVar[str]
    """Name of the energy in rows and digests."""
    unit: ClassVar[str] = ""
    """Its unit."""
    trained_settings: ClassVar[tuple[str, ...]] = ()
    """Settings of drivers in which an evaluation must not differ from the training."""

    def __init__(self, call: Invocation, running: CommandRun, builder: StageBuilder):
        self.call, self.running, self.builder = call, running, builder
        self.evaluates = call.action == "evaluate"
        self.seed = check_seed("seed", call.config.seed)
        self.stage: Any = getattr(builder, call.action)()
        if not self.evaluates:
            builder.evaluate()  # so that mistakes in its settings are told before training

    def trained_state(self) -> Any:
        """The state in the newest checkpoint of the training; None in dry runs without one.

        Raises:
            ValueError: If there is none, or it is that of another wave function, or an average of
                parameters is wanted and missing.
        """
        import jax

        from ritz.callbacks import ParameterEMA
        from ritz.checkpoint import CheckpointError, load

        stage: Any = self.builder.train()
        folder = self.running.folder
        averages = [ParameterEMA()] if self.builder.evaluates_average else []
        try:
            driver = stage.driver(stage.create_state(jax.random.key(0)), jax.random.key(0))
            trained = folder / "checkpoints" / "train"
            step = load(trained, driver, settings=self.trained_settings)
        except CheckpointError as error:
            if error.differences:
                raise ValueError(self.running.refusal(error, "train")) from error
            if self.call.dry_run:
                return None
            raise ValueError(f"{untrained(self.call)} ({error})") from error
        what = "average of the parameters" if averages else "parameters"
        _logger.info("Evaluating the %s after %s of training.", what, counted(step, "step"))
        state = stage.state_of(driver)
        if not averages:
            return state
        try:
            load(trained, driver, callbacks=averages)
            return state._replace(params=averages[0].average)
        except (CheckpointError, RuntimeError) as error:
            raise ValueError(
                f"evaluate.parameters=average: {error} Train with an average, such as "
                "train.callbacks='[ParameterEMA]' train.callbacks.0.decay=0.99."
            ) from error

    @abc.abstractmethod
    def beginning(self, key: Any) -> Settings:
        """Arguments of `create_state` with which the stage begins.

        Args:
            key: A random key for what is drawn.
        """

    def run(self) -> None:
        """Run the stage, and report the result."""
        import jax

        from ritz.stages import RunContext

        call, stage, running = self.call, self.stage, self.running
        keys = jax.random.split(jax.random.key(self.seed), 4)
        create_key, run_key = keys[2:] if self.evaluates else keys[:2]
        beginning = self.beginning(create_key)
        with under(f"{call.action}: ", BUILDING):
            state = stage.create_state(create_key, **beginning)
        if self.evaluates and not call.dry_run:
            if running.is_first_process:
                self._set_aside_old(state)
            agree(False)  # the others wait until that is done
        if not (call.anew and call.dry_run):
            running.check_seed(self.seed)
        if call.dry_run:
            self._say_dry(state)
            return
        context = RunContext(
            running.folder,
            options={"show_progress": call.progress},
            configuration=load_yaml(call.text),
        )
        stage.callbacks = (*stage.callbacks, *running.callbacks())
        with running.recorded(self._summarise):
            stage.run(state, context, run_key)
        if running.is_first_process:
            self._report()

    def _say_dry(self, state: Any) -> None:
        import jax

        n_parameters = sum(x.size for x in jax.tree.leaves(state.params))
        say_dry(
            self.call,
            self.builder.system_text,
            counted(n_parameters, "parameter"),
            f"{counted(self.stage.config.iterations, 'step')}; everything can be built",
        )

    def _set_aside_old(self, state: Any) -> None:
        """Move away an evaluation of other parameters, or any if that is asked for."""
        from ritz.checkpoint.folder import CheckpointError, read_manifest
        from ritz.driver.description import describe
        from ritz.folders.saved import entries
        from ritz.stages.digest import FILE

        saved = entries(self.running.checkpoints)
        if not saved:
            return
        reason = "Evaluating anew"
        if not self.call.anew:
            try:
                settings = read_manifest(saved[-1].path)["settings"]
            except CheckpointError:
                return  # what is damaged is dealt with when the run begins
            present = describe({"parameters": state.params})
            if all(settings.get(name) == text for name, text in present.items()):
                return
            reason = "The wave function was trained since its last evaluation: evaluating anew"
        place = self.running.set_aside([FILE])
        _logger.info("%s; the last evaluation is in %s.", reason, place)

    def _report(self) -> None:
        """Write the summary and the picture, and say what came out."""
        result, action = self._summarise(), self.call.action
        iterations = getattr(self.call.config, action).iterations
        lines = [self.running.how_it_went(f"{action}.iterations", iterations, result)]
        if self.evaluates:
            lines += self.result_lines(result)
            if "too_short" in result:
                lines.append(f"too short     {result['too_short']}")
        elif result["energy"] is not None and math.isfinite(result["energy"]):
            lines.append(f"{self.energy_text(result)}, at the last step")
        if (self.running.folder / "train.log").is_file():
            lines += self.running.picture("energy.png")
        self.running.say(*lines)

    def result_lines(self, result: Settings) -> list[str]:
        """The result of an evaluation in a few lines."""
        lines = [self.energy_text(result)]
        if "relative_error" in result:
            lines.append(f"{self.call.view.reference:<13} {self.builder.exact:.8g}")
            lines.append(f"relative error {result['relative_error']:.1e}")
        return lines

    def energy_text(self, result: Settings) -> str:
        """A line with the energy and its error bar."""
        shown = value_text(f"{result['energy']:.8g}", result["error"], result.get("suspect", ""))
        return f"energy        {shown} {self.unit}".rstrip()

    def _summarise(self) -> Settings:
        """Write what is known of the run into the summary, and return the result."""
        result, exact = self._result(), self.builder.exact
        if exact is None:
            return self.running.summarise(result)
        if result["energy"] is not None and math.isfinite(result["energy"]):
            result["relative_error"] = abs(result["energy"] - exact) / abs(exact)
        return self.running.summarise(result, exact=exact)

    def _result(self) -> Settings:
        """The energy: that of the last saved step, or of the whole evaluation."""
        checkpoints = self.running.checkpoints
        if facts(checkpoints)["stop_reason"] in _NO_RESULT:
            return {"energy": math.nan, "error": math.nan}  # nothing that looks like a result
        energy = self._digested() if self.evaluates else None
        if energy is None:
            return saved_loss(checkpoints)
        return self.digested(energy)

    def digested(self, energy: Any) -> Settings:
        """The entries of the summary for an `Estimate` of the energy."""
        result = {
            "energy": energy.mean,
            "error": energy.error,
            "r_hat": None if math.isnan(energy.r_hat) else energy.r_hat,
            "reliable": energy.reliable and not energy.suspect,
        }
        reasons = {"suspect": energy.suspect, "too_short": energy.too_short}
        return result | {name: reason for name, reason in reasons.items() if reason}

    def _digested(self) -> Any:
        """The energy in the digest; None if there is none."""
        from ritz.stages import read_digest

        try:
            return self.energy_in(read_digest(self.running.folder))
        except (ValueError, KeyError):
            return None

    def energy_in(self, digest: Mapping[str, Any]) -> Any:
        """The `Estimate` of the energy among those of a digest.

        Raises:
            KeyError: If it is not there.
        """
        return digest[self.energy]


def untrained(call: Invocation) -> str:
    """What is told where an evaluation finds no training."""
    folder = call.config.folder
    return (
        f"evaluate needs a trained wave function in {folder}; run `ritz {call.domain} train "
        f"folder={folder}` first"
    )


def run_stages(call: Invocation, make: Any) -> None:
    """Run a command in its folder.

    Args:
        call: The command.
        make: `(call, running) -> StageCommand`.

    Raises:
        ValueError: If the configuration is wrong, or what a command needs is missing.
        SystemExit: See `WorkStage.run`.
        FolderInUseError: If another run goes on in the folder.
    """
    from ritz.cli.command_run import in_folder

    with in_folder(call) as running:
        make(call, running).run()

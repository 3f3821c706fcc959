"""Train and evaluate wave functions on lattices, from a configuration."""

import argparse
import contextlib
import dataclasses
import logging
import math
import re
import sys
from pathlib import Path
from typing import Any

from ritz.cli.lattice_config import CONTRACTS, SHORT_NAMES, LatticeRun
from ritz.cli.parts import Part
from ritz.cli.result_text import value_text
from ritz.cli.results import facts, longer, saved_loss, summarise
from ritz.cli.run_folder import KeepConfig, StepsOfCommand
from ritz.cli.yaml_text import load_yaml
from ritz.driver.arguments import check_count, check_seed
from ritz.driver.consensus import agree
from ritz.folders.saved import entries
from ritz.plotting import plot_runs
from ritz.stages.parts import make
from ritz.wording import counted

_logger = logging.getLogger("ritz")


def _made(key: str, part: Part, **context: Any) -> Any:
    kind = key.split(".")[-1] if not key.split(".")[-1].isdigit() else key.split(".")[-2]
    return make(key, part.as_dict(), context, SHORT_NAMES[kind], CONTRACTS[kind])


def _made_list(key: str, parts: list[Part] | None) -> list[Any]:
    return [_made(f"{key}.{i}", part) for i, part in enumerate(parts or ())]


class Builder:
    """Builds what a configuration describes.

    Args:
        run: The configuration.

    Raises:
        ValueError: If a part of it is wrong: one line that names the key.
    """

    def __init__(self, run: LatticeRun):
        from ritz.lattice import LatticeWavefunction

        self.run = run
        self.system = _made("system", run.system)
        model = _made("model", run.model)
        if not hasattr(model, "apply"):
            raise ValueError(f"model: {run.model!r} has no method `apply`.")
        self.wavefunction = LatticeWavefunction(model, self.system.hilbert)

    def _sampler(self, key: str, part: Part | None, n_samples: int) -> Any:
        from ritz.lattice import MetropolisExchange, MetropolisLocal

        hilbert, graph = self.system.hilbert, self.system.graph
        if part is not None:
            return _made(key, part, hilbert=hilbert, graph=graph, n_chains=n_samples)
        if hilbert.constrained:
            return MetropolisExchange(hilbert, graph=graph, n_chains=n_samples)
        return MetropolisLocal(hilbert, n_chains=n_samples)

    def _configure(self, builder: Any, name: str) -> None:
        given: Any = getattr(self.run, name)
        _checked(name, lambda: check_count("n_samples", given.n_samples, 1))
        samplers = {}
        if given.sampler is not None or not given.full_sum:
            key = f"{name}.sampler"
            samplers["sites"] = _named(
                key, lambda: self._sampler(key, given.sampler, given.n_samples)
            )
        builder.configure_sample_plan(self.wavefunction.logpsi, samplers)
        builder.configure_estimators(Energy=self.system.hamiltonian, **self.system.observables)
        loggers = _made_list(f"{name}.loggers", given.loggers)
        builder.configure_writers(None if given.loggers is None else loggers)
        builder.configure_callbacks(_made_list(f"{name}.callbacks", given.callbacks))

    def train(self) -> Any:
        """The training stage."""
        from ritz.stages import VMCWorkStage

        given = self.run.train
        builder = _checked("train", lambda: VMCWorkStage.builder(
            _plain(given), self.wavefunction, name="train"))  # fmt: skip
        self._configure(builder, "train")
        _check_rate(given.optimizer)
        optimizer = _made("train.optimizer", given.optimizer)
        update = _made("train.update", given.update)
        _named("train.optimizer", lambda: builder.configure_optimizer(
            default=optimizer, f_log_psi=self.wavefunction.logpsi, update=update,
            single_scores=given.single_scores))  # fmt: skip
        return builder.build()

    def evaluate(self) -> Any:
        """The evaluation stage."""
        from ritz.stages import EvaluationWorkStage

        builder = _checked("evaluate", lambda: EvaluationWorkStage.builder(
            _plain(self.run.evaluate), self.wavefunction, name="evaluate"))  # fmt: skip
        self._configure(builder, "evaluate")
        return builder.build()


def _plain(given: Any) -> dict[str, Any]:
    """The settings that are no parts; those are made here."""
    names = ("sampler", "optimizer", "update", "single_scores", "callbacks", "loggers")
    fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    return {name: value for name, value in fields.items() if name not in names}


def _check_rate(optimizer: Any) -> None:
    """Refuse learning rates that lead uphill or nowhere."""
    rate = getattr(optimizer, "init_args", {}).get("learning_rate")
    if isinstance(rate, int | float) and not (math.isfinite(rate) and rate >= 0):
        raise ValueError(
            "train.optimizer.learning_rate must be a finite number of at least 0, but "
            f"{rate!r} was given."
        )


def _checked(key: str, action: Any) -> Any:
    """Do it; errors, which begin with the name of a setting of the stage, get the whole key."""
    try:
        return action()
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from error


def _named(key: str, action: Any) -> Any:
    """Do it; errors name the key."""
    try:
        return action()
    except (ValueError, TypeError, ArithmeticError) as error:
        if str(error).startswith(key):
            raise ValueError(str(error)) from error
        raise ValueError(f"{key}: {error}") from error


def run(command: str, given: LatticeRun, text: str, options: argparse.Namespace) -> None:
    """Train or evaluate.

    Args:
        command: "train" or "evaluate".
        given: The configuration.
        text: The same, as YAML.
        options: `dry_run` and `progress`.

    Raises:
        ValueError: If the configuration is wrong, or what a command needs is missing.
        SystemExit: See `WorkStage.run`.
        FolderInUseError: If another run goes on in the folder.
    """
    import jax

    if options.distributed:
        jax.distributed.initialize()  # before anything else looks for devices
    import ritz.lattice  # noqa: F401
    from ritz.checkpoint.ownership import take

    with contextlib.ExitStack() as whole_run:
        if not options.dry_run:
            take(Path(given.folder), whole_run.enter_context)
        _run(command, given, text, options)


def _run(command: str, given: LatticeRun, text: str, options: argparse.Namespace) -> None:
    import jax

    from ritz.checkpoint import CheckpointError
    from ritz.stages import RunContext

    seed = check_seed("seed", given.seed)
    builder = Builder(given)
    stage = getattr(builder, command)()
    keys = jax.random.split(jax.random.key(seed), 4)
    create_key, run_key = keys[:2] if command == "train" else keys[2:]
    folder = Path(given.folder)
    params = None
    if command == "evaluate":
        params = _trained_parameters(builder, folder, options.dry_run)
    state = _named(command, lambda: stage.create_state(create_key, params=params))
    n_parameters = sum(x.size for x in jax.tree.leaves(state.params))
    if options.dry_run:
        sys.stdout.write(
            f"{command}: {builder.system.hamiltonian}, {counted(n_parameters, 'parameter')}, "
            f"{counted(stage.config.iterations, 'step')}; everything can be built. "
            "Nothing was written.\n"
        )
        return
    if command == "evaluate":
        if jax.process_index() == 0:
            _set_aside_old(stage, state, folder)
        agree(False)  # the others wait until that is done
    context = RunContext(
        folder, options={"show_progress": options.progress}, configuration=load_yaml(text)
    )
    progress = StepsOfCommand()
    stage.callbacks = (*stage.callbacks, KeepConfig(folder, text), progress)
    resumed = bool(entries(folder / "checkpoints" / command))
    try:
        stage.run(state, context, run_key)
    except CheckpointError as error:
        raise ValueError(_with_setting(str(error), command)) from error
    except SystemExit:  # it gave up, or was interrupted
        if jax.process_index() == 0 and folder.is_dir():
            _summarise(command, builder, folder)
        raise
    _report(command, builder, folder, progress, resumed)


def _with_setting(message: str, command: str) -> str:
    """A message that advises an argument of `Checkpoint`, with the setting instead."""

    def setting(found: re.Match[str]) -> str:
        names = found[1].replace("'", "")
        return f"give {command}.accept_changes='[{names}]'."

    return re.sub(r"give accept_changes=\[(.*?)\] to Checkpoint\.", setting, message)


def _set_aside_old(stage: Any, state: Any, folder: Path) -> None:
    """Move away an evaluation of other parameters, so that this one begins anew."""
    from ritz.checkpoint.folder import CheckpointError, CheckpointFolder, read_manifest
    from ritz.driver.description import describe

    saved = CheckpointFolder(folder / "checkpoints" / stage.name)
    entries = saved.entries()
    if not entries:
        return
    try:
        settings = read_manifest(entries[-1].path)["settings"]
    except CheckpointError:
        return  # what is damaged is dealt with when the run begins
    present = describe({"parameters": state.params})
    if any(settings.get(name) != text for name, text in present.items()):
        _logger.info("The wave function was trained since its last evaluation: evaluating anew.")
        for entry in entries:
            saved.set_aside(entry)


def _trained_parameters(builder: Builder, folder: Path, dry_run: bool) -> Any:
    """Those of the newest checkpoint of the training."""
    import jax

    from ritz.checkpoint import CheckpointError, load

    stage = builder.train()
    try:
        driver = stage.driver(stage.create_state(jax.random.key(0)), jax.random.key(0))
        step = load(folder / "checkpoints" / "train", driver)
    except CheckpointError as error:
        if dry_run:
            return None
        raise ValueError(
            f"evaluate needs a trained wave function in {folder}; run `ritz lattice train "
            f"folder={folder}` first ({error})"
        ) from error
    _logger.info("Evaluating the parameters after %s of training.", counted(step, "step"))
    return driver.parameters


def _way(
    command: str, builder: Builder, result: dict[str, Any], progress: StepsOfCommand, resumed: bool
) -> str:
    """Whether the run went on, and why it ended; empty for a new run, which has said so."""
    from ritz.checkpoint.resume import saved_steps

    steps, message = result["steps"], result["message"]
    if not progress.begun:
        if result["stop_reason"] in ("FINISHED", "STOPPED"):
            saved = saved_steps(Path(builder.run.folder) / "checkpoints" / command)
            given = getattr(builder.run, command).iterations
            advice = longer(f"{command}.iterations", given, saved.target - saved.began, "steps")
            return f"the run has ended: {message}. {advice}"
        return f"the run took no step: {message}. The same command goes on."
    if not resumed:
        return ""
    if steps > progress.first:
        return f"the run went on from step {progress.first} to step {steps}: {message}."
    return (
        f"the run went on, but ended again before the update of step {steps}: {message}. To get "
        f"further, change {command}.callbacks and give {command}.accept_changes=[callbacks]."
    )


def _report(
    command: str, builder: Builder, folder: Path, progress: StepsOfCommand, resumed: bool
) -> None:
    """Write the summary and the picture, and say what came out."""
    import jax

    if jax.process_index() != 0:
        return
    result = _summarise(command, builder, folder)
    way = _way(command, builder, result, progress, resumed)
    lines = [way] if way else []
    if command == "evaluate":
        energy = f"{result['energy']:.8g}"
        shown = value_text(energy, result["error"], result.get("suspect", ""))
        lines.append(f"energy        {shown}")
        if builder.system.exact is not None:
            lines.append(f"exact         {builder.system.exact:.8g}")
            lines.append(f"relative error {result['relative_error']:.1e}")
    log = folder / "train.log"
    if log.is_file():
        try:
            lines.append(f"picture in    {plot_runs([folder], folder / 'energy.png')}")
        except (ImportError, ValueError) as error:
            _logger.warning("No picture was drawn: %s", error)
    lines.append(f"everything in {folder}")
    sys.stdout.write("\n".join(lines) + "\n")


def _summarise(command: str, builder: Builder, folder: Path) -> dict[str, Any]:
    """Write what is known of the run into the summary, and return the result."""
    checkpoints = folder / "checkpoints" / command
    ended = facts(checkpoints)
    result: dict[str, Any] = saved_loss(checkpoints)
    if command == "evaluate" and ended["stop_reason"] not in ("FAILED", "DIVERGED"):
        energy = _digested(folder)
        if energy is not None:
            result = {"energy": energy.mean, "error": energy.error, "r_hat": energy.r_hat}
            if energy.suspect:
                result["suspect"] = energy.suspect
    if ended["stop_reason"] in ("FAILED", "DIVERGED"):
        result = {"energy": math.nan, "error": math.nan}  # nothing that looks like a result
    exact = builder.system.exact
    more: dict[str, Any] = {"exact": exact} if exact is not None else {}
    if exact is not None and result["energy"] is not None and math.isfinite(result["energy"]):
        result["relative_error"] = abs(result["energy"] - exact) / abs(exact)
    found = {**result, **ended}
    summarise(folder, command, found, **more)
    return found


def _digested(folder: Path) -> Any:
    """The energy in the digest; None if there is none."""
    from ritz.stages import read_digest

    try:
        return read_digest(folder)["Energy"]
    except (ValueError, KeyError):
        return None

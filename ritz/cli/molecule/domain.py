"""`ritz molecule`: train and evaluate wave functions of electrons in molecules."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from ritz.cli.command_run import CommandRun
from ritz.cli.domain import Action, Domain, Invocation
from ritz.cli.messages import under
from ritz.cli.molecule.build import Builder
from ritz.cli.molecule.config import MoleculeRun
from ritz.cli.molecule.levels import state_lines, summary_of
from ritz.cli.stage_command import BUILDING, StageCommand, run_stages, untrained
from ritz.folders.saved import entries
from ritz.molecule.multistate.levels import energy_levels
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger("ritz")

LARGEST_VARIANCE = 0.1
"""Variance of the energy in hartree^2 an electron above which a wave function is not converged."""


class _MoleculeCommand(StageCommand):
    """A command of `ritz molecule`."""

    energy: ClassVar[str] = "energy"
    unit: ClassVar[str] = "hartree"
    trained_settings: ClassVar[tuple[str, ...]] = ("molecule", "wavefunction", "n_states")
    builder: Builder

    @property
    def n_states(self) -> int:
        """How many electronic states the run has: 1 for the ground state alone."""
        return self.builder.run.n_states

    @override
    def beginning(self, key: Any) -> Settings:
        if self.evaluates:
            state = self.trained_state()
            return {} if state is None else self._begin_with(state)
        if self.builder.optimizer_text:
            _logger.info("Training: %s.", self.builder.optimizer_text)
        other = self.call.config.train.begin_from
        if other is not None and not self.running.resumed:
            from ritz.cli.molecule.beginning import state_from

            with under("train.begin_from: ", BUILDING):
                return self._begin_with(state_from(other, self.builder))
        if self.call.config.pretrain.iterations == 0 or self.running.resumed:
            return {}
        state = self._pretrained(key)
        return {} if state is None else self._begin_with(state)

    def _begin_with(self, state: Any) -> Settings:
        """Parameters and walkers of a stage that has ended; as many walkers as are wanted now."""
        import jax
        import numpy as np

        from ritz.driver.processes.division import on_host
        from ritz.molecule.first_state import shared_out
        from ritz.molecule.walkers import resampled

        walkers, action = state.batched_data, self.call.action
        n_walkers = getattr(self.call.config, action).n_walkers
        if walkers.shape[-3] == n_walkers:
            return {"params": state.params, "batched_data": walkers}
        _logger.info(
            "The stage before had %s and %s.n_walkers is %d: its walkers are resampled.",
            counted(walkers.shape[-3], "walker"), action, n_walkers,
        )  # fmt: skip
        walkers = on_host(walkers)
        if self.n_states == 1:
            chosen = resampled(walkers, n_walkers, self.seed)
        else:
            chosen = np.stack([resampled(one, n_walkers, self.seed) for one in walkers])
        with under(f"{action}."), jax.enable_x64(True):
            molecule: Any = self.builder.molecule
            walkers = shared_out(chosen, molecule, n_walkers, chosen.dtype, self.n_states)
        return {"params": state.params, "batched_data": walkers}

    def _pretrained(self, key: Any) -> Any:
        """The state after pretraining, which is run, or gone on with; None in dry runs.

        Several states are pretrained one after the other.
        """
        import jax
        import jax.numpy as jnp

        # All begin before the first is run, so that what is wrong with one is told at once.
        folder, saves = self.running.folder, not self.call.dry_run
        begun = []
        for state in range(self.n_states):
            stage: Any = self.builder.pretrain(folder, saves, state)
            of_state, of_run = jax.random.split(jax.random.fold_in(key, 1 + state))
            begun.append((stage, stage.create_state(of_state), of_run))
        states = [self._after(*given) for given in begun]
        if self.n_states == 1 or None in states:
            return states[0]
        with jax.enable_x64(True):
            walkers = jnp.stack([one.batched_data for one in states])
        return states[0]._replace(params=[one.params for one in states], batched_data=walkers)

    def _after(self, stage: Any, begin: Any, key: Any) -> Any:
        """The state after a stage of pretraining, which is run, or gone on with."""
        from ritz.cli.messages import advising_settings
        from ritz.stages import RunContext

        folder = self.running.folder
        if self.call.dry_run:
            return None
        checkpoints = stage.checkpoint_folder(RunContext(folder))
        stage.callbacks = (*stage.callbacks, *self.running.callbacks()[:1])
        progress = self.call.progress and not entries(checkpoints)
        context = RunContext(folder, options={"show_progress": progress})
        with advising_settings("pretrain"):
            return stage.run(begin, context, key)

    @override
    def energy_in(self, digest: Mapping[str, Any]) -> Any:
        """That of the lowest state."""
        if self.n_states == 1:
            return super().energy_in(digest)
        self._digest = dict(digest)
        return digest[f"{self.energy}_{energy_levels(digest)[0].state}"]

    @override
    def digested(self, energy: Any) -> Settings:
        found = super().digested(energy)
        several = summary_of(self._digest) if self.n_states > 1 else None
        variance = energy.variance if several is None else several.variance
        variance /= self.builder.molecule.n_electrons
        found["variance_per_electron"] = variance
        if several is not None:
            found |= several.entries
        if not variance <= LARGEST_VARIANCE:
            found["reliable"] = False
            found["unconverged"] = (
                f"the variance is {variance:.2g} hartree^2 an electron, more than "
                f"{LARGEST_VARIANCE:g}: train longer, or a larger network"
            )
        return found

    @override
    def result_lines(self, result: Settings) -> list[str]:
        lines = super().result_lines(result)
        lines[0] += "" if self.n_states == 1 else ", of the lowest state"
        exact = self.builder.exact
        if exact is not None and "relative_error" in result:
            off = (result["energy"] - exact) * 1e3
            lines = [*lines[:2], f"difference    {off:+.3f} mHa"]
        if "states" in result:
            lines += state_lines(result)
        if "unconverged" in result:
            lines.append(f"unconverged   {result['unconverged']}")
        return lines


def _command(call: Invocation, running: CommandRun) -> StageCommand:
    system = call.config.system
    if call.action == "evaluate" and system == type(system)() and not call.dry_run:
        raise ValueError(f"{untrained(call)} (no molecule is given either).")
    return _MoleculeCommand(call, running, Builder(call.config))


def run(call: Invocation) -> None:
    """Train or evaluate.

    Raises:
        ValueError: If the configuration is wrong, or what a command needs is missing.
        SystemExit: See `WorkStage.run`.
        FolderInUseError: If another run goes on in the folder.
    """
    run_stages(call, _command)


DOMAIN = Domain(
    MoleculeRun,
    {
        "train": Action(
            "Optimise a wave function of a molecule, or go on with it.",
            run,
            takes_saved="system",
        ),
        "evaluate": Action(
            "Estimate the energy and other quantities of a trained wave function.",
            run,
            takes_saved=True,
            begins_anew=True,
        ),
    },
)

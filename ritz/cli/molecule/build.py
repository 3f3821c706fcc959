"""Builds what the configuration of a run on a molecule describes."""

import dataclasses
from pathlib import Path
from typing import Any

from typing_extensions import override

from ritz.checks import check_choice, check_count, check_positive
from ritz.cli.messages import reason, under
from ritz.cli.molecule.config import (
    CONTRACTS,
    Evaluate,
    MoleculeRun,
    Sampling,
    System,
    Train,
)
from ritz.cli.molecule.orbitals import SavedOrbitals
from ritz.cli.settings.part_factory import PartFactory
from ritz.cli.settings.parts import Part
from ritz.cli.stage_command import BUILDING, StageBuilder
from ritz.stages.base import WorkStage, WorkStageConfig
from ritz.types import Settings
from ritz.wording import counted

_PARTS = PartFactory(CONTRACTS)

PRESETS = ("auto", "small", "ferminet", "psiformer", "lapnet")
PENALISED = "penalised"
"""Name in rows of the energy with a penalty on spins."""
SPIN = "spin_squared"


class Builder(StageBuilder):
    """Builds what a configuration describes.

    Args:
        run: The configuration.

    Raises:
        ValueError: If a part of it is wrong: one line that names the key.
    """

    def __init__(self, run: MoleculeRun):
        from ritz.molecule.stage_wavefunction import MoleculeWavefunction

        self.run = run
        with under("dtype: "):
            check_choice("dtype", run.dtype, ("float32", "float64"))
        check_count("n_states", run.n_states, 1)
        with under("train."):
            check_positive("spin_penalty", run.train.spin_penalty, or_zero=True)
            check_positive("overlap_penalty", run.train.overlap_penalty)
            if run.n_states == 1 and run.train.overlap_penalty != Train().overlap_penalty:
                raise ValueError(
                    f"overlap_penalty={run.train.overlap_penalty:g} keeps several states apart, "
                    "but n_states is 1; leave it out, or give n_states=2."
                )
        self.molecule = _molecule(run.system)
        self.wavefunction = MoleculeWavefunction(self.molecule, self._network())
        self._orbitals = SavedOrbitals(run, self.molecule)

    def _network(self) -> Any:
        import jax.numpy as jnp

        from ritz.molecule.presets import preset
        from ritz.molecule.walkers import FEW_ELECTRONS

        dtype = getattr(jnp, self.run.dtype)
        if self.run.network is not None:
            context = {"molecule": self.molecule, "dtype": dtype}
            return _PARTS.made("network", self.run.network, **context)
        name = check_choice("preset", self.run.preset, PRESETS)
        if name == "auto":
            few = self.molecule.n_electrons <= FEW_ELECTRONS
            name = "small" if few else "ferminet"
        return preset(name, self.molecule, dtype)

    @property
    @override
    def system_text(self) -> str:
        m = self.molecule
        up = counted(m.n_up, "electron")
        several = f"{self.run.n_states} states of " if self.run.n_states > 1 else ""
        return f"{several}{m.name}, {up} with spin up and {m.n_down} with spin down"

    @property
    @override
    def exact(self) -> float | None:
        """That of the ground state; None for several states, whose mean has no reference."""
        return self.molecule.energy if self.run.n_states == 1 else None

    def _configure(self, builder: Any, name: str) -> None:
        from ritz.molecule.driver import energy_estimators

        given: Train | Evaluate = getattr(self.run, name)
        with under(f"{name}."):
            check_count("n_walkers", given.n_walkers, 2)
        sampler = {"electrons": self._sampler(name, given)}
        builder.configure_sample_plan(self.wavefunction.logpsi, sampler)
        estimators = energy_estimators(self.molecule, given.chunk_size)
        if isinstance(given, Evaluate):
            estimators |= self._estimators(given)
        elif given.spin_penalty:
            estimators |= self._penalised(given.spin_penalty)
        builder.configure_estimators(**estimators)
        loggers = _PARTS.made_list(f"{name}.loggers", given.loggers)
        builder.configure_writers(None if given.loggers is None else loggers)
        builder.configure_callbacks(_PARTS.made_list(f"{name}.callbacks", given.callbacks))

    def _sampler(self, name: str, given: Sampling) -> Any:
        from ritz.molecule.walkers import default_sampler

        if given.sampler is None:
            return default_sampler(self.molecule)
        key = f"{name}.sampler"
        with under(f"{key}: ", BUILDING):
            return _PARTS.made(key, given.sampler)

    def _estimators(self, given: Evaluate) -> Settings:
        """The estimators besides those of the energies, by the names of their classes.

        Further ones of a class are numbered: density, density_2.
        """
        from ritz.molecule import SpinSquared

        found: Settings = {}
        context = {
            "molecule": self.molecule,
            "n_up": self.molecule.n_up,
            "n_down": self.molecule.n_down,
        }
        for place, part in enumerate(given.estimators):
            made = _PARTS.made(f"evaluate.estimators.{place}", part, **context)
            name = _snake(type(made).__name__)
            number = 1 + sum(type(other) is type(made) for other in found.values())
            found[name if number == 1 else f"{name}_{number}"] = made
        if self.run.n_states > 1 and SPIN not in found:  # by which states are told apart
            found[SPIN] = SpinSquared(self.molecule.n_up, self.molecule.n_down)
        return found

    def _penalised(self, weight: float) -> Settings:
        """The energy with a penalty on higher spins, which is minimised."""
        from ritz.molecule import SpinPenalty, TotalEnergy

        penalty = SpinPenalty(self.molecule.n_up, self.molecule.n_down, weight)
        return {"spin_penalty": penalty, PENALISED: TotalEnergy(("energy", "spin_penalty"))}

    @override
    def train(self) -> WorkStage:
        from ritz.estimators import LossAndGrad
        from ritz.molecule.vmc import default_rate, default_update
        from ritz.stages import VMCWorkStage

        given = self.run.train
        with under("train."):
            builder = VMCWorkStage.builder(self._settings(given), self.wavefunction, name="train")
            loss_grads = LossAndGrad(given.clip_method, given.clip_scale)
        self._configure(builder, "train")
        builder.configure_loss_grads(
            loss_grads,
            f_log_psi=self.wavefunction.logpsi,
            loss=PENALISED if given.spin_penalty else None,
        )
        optimizer, update = default_rate, default_update()
        if given.optimizer is not None:
            optimizer = _PARTS.made("train.optimizer", given.optimizer)
        if given.update is not None:
            update = _PARTS.made("train.update", _completed(given.update))
        with under("train.optimizer: ", BUILDING):
            builder.configure_optimizer(
                default=optimizer, f_log_psi=self.wavefunction.logpsi, update=update
            )
        return builder.build()

    @override
    def evaluate(self) -> WorkStage:
        from ritz.stages import EvaluationWorkStage

        settings = self._settings(self.run.evaluate)
        with under("evaluate."):
            builder = EvaluationWorkStage.builder(settings, self.wavefunction, name="evaluate")
        self._configure(builder, "evaluate")
        return builder.build()

    @property
    def optimizer_text(self) -> str:
        """The optimiser and the rule whose direction it takes; empty if no optimiser is given."""
        given = self.run.train
        if given.optimizer is None:
            return ""
        optimizer = given.optimizer.class_path.rpartition(".")[2]
        if given.update is not None:
            return (
                f"{optimizer} takes the direction of {given.update.class_path.rpartition('.')[2]}"
            )
        return (
            f"{optimizer} takes the direction of SPRING, the default of train.update; optimisers "
            "with memories and scales of their own, such as adam, want train.update=Gradient"
        )

    def pretrain(self, folder: Path, saves: bool = True, state: int = 0) -> WorkStage:
        """The stage before training, of one state.

        Args:
            folder: The run folder, which keeps the orbitals, so that going on needs no PySCF.
            saves: Whether orbitals may be written there.
            state: The number of the state.
        """
        from ritz.loggers import CSVLog, JsonLog
        from ritz.molecule.pretraining import enough_steps
        from ritz.molecule.stage_wavefunction import PretrainWorkStage

        given = self.run.pretrain
        fields = [f.name for f in dataclasses.fields(WorkStageConfig)]
        with under("pretrain."):
            settings = {name: getattr(given, name) for name in fields}
            if given.iterations is None:
                settings["iterations"] = enough_steps(self.molecule)
            config = WorkStageConfig(**settings)
            check_count("n_walkers", given.n_walkers, 2)
        with under("pretrain.optimizer: ", BUILDING):
            optimizer = _PARTS.made("pretrain.optimizer", given.optimizer)
        name = f"pretrain_{state}" if state else "pretrain"
        loggers = tuple(_PARTS.made_list("pretrain.loggers", given.loggers))
        if given.loggers is None:
            loggers = JsonLog(name, "append"), CSVLog(name, "append")
        more = {
            "n_walkers": given.n_walkers,
            "dtype": self.run.dtype,
            "sampler": self._sampler("pretrain", given),
        }
        return PretrainWorkStage(
            self.wavefunction,
            self._orbitals.of_state(folder, saves, state),
            config,
            optimizer=optimizer,
            settings=more,
            name=name,
            writers=loggers,
            callbacks=tuple(_PARTS.made_list("pretrain.callbacks", given.callbacks)),
        )

    def _settings(self, given: Sampling) -> Settings:
        """The settings that a stage takes as they are; objects are made of the others here."""
        objects = (
            "sampler", "optimizer", "update", "clip_method", "clip_scale", "estimators",
            "callbacks", "loggers", "spin_penalty", "begin_from",
        )  # fmt: skip
        fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
        plain = {name: value for name, value in fields.items() if name not in objects}
        return {**plain, "dtype": self.run.dtype, "n_states": self.run.n_states}


def _completed(update: Part) -> Part:
    """SPRING as it is for molecules, in the arguments that are not given; other rules as they are.

    Raises:
        ValueError: If there is no such rule.
    """
    from ritz.molecule.vmc import default_update
    from ritz.stages.parts import find
    from ritz.updates import SPRING

    if find("train.update", update.class_path, CONTRACTS["update"]) is not SPRING:
        return update
    default = default_update()
    own = {f.name: getattr(default, f.name) for f in dataclasses.fields(SPRING)}
    changed = {f.name: own[f.name] for f in dataclasses.fields(SPRING) if own[f.name] != f.default}
    return Part(update.class_path, {**changed, **update.init_args})


def _molecule(given: System) -> Any:
    """The molecule that the settings describe.

    Raises:
        ValueError: If they describe none, or more than one.
    """
    from ritz.molecule import Molecule
    from ritz.molecule.geometry.atoms_text import from_text
    from ritz.molecule.library import LIBRARY

    sources = {"name": given.name, "file": given.file, "atoms": given.atoms}
    named = [name for name, value in sources.items() if value is not None]
    if len(named) != 1:
        told = f"{' and '.join(f'system.{n}' for n in named)} were given" if named else "none is"
        raise ValueError(
            f"system: give one molecule, as system=LiH (of {', '.join(LIBRARY)}), "
            f"system.file=water.xyz or system.atoms='[[H, [0, 0, 0]]]'; {told}."
        )
    atoms: Any = sources[named[0]]
    if named[0] == "atoms" and isinstance(atoms, str):
        with under("system."):
            atoms = from_text(atoms)
    if named[0] == "atoms" and len(atoms) > 1 and given.unit is None:
        raise ValueError(
            "system.unit: are the positions in bohr or in angstrom? Give system.unit=bohr, say."
        )
    if named[0] == "file":
        atoms = Path(atoms)
    try:
        return Molecule(atoms, unit=given.unit, charge=given.charge, spin=given.spin, ecp=given.ecp)
    except (ValueError, OSError) as error:
        raise ValueError(f"system: {reason(error)}") from error


def _snake(name: str) -> str:
    """A class name in lower case, with underscores."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

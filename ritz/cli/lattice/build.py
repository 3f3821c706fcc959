"""Builds what the configuration of a run on a lattice describes."""

import dataclasses
import math
from typing import Any

from typing_extensions import override

from ritz.checks import check_count
from ritz.cli.lattice.config import CONTRACTS, Evaluate, LatticeRun, Train
from ritz.cli.messages import under
from ritz.cli.settings.part_factory import PartFactory
from ritz.cli.settings.parts import Part
from ritz.cli.stage_command import BUILDING, StageBuilder
from ritz.stages.averages import AVERAGE
from ritz.stages.base import WorkStage
from ritz.types import Settings

_PARTS = PartFactory(CONTRACTS)


class Builder(StageBuilder):
    """Builds what a configuration describes.

    Args:
        run: The configuration.

    Raises:
        ValueError: If a part of it is wrong: one line that names the key.
    """

    def __init__(self, run: LatticeRun):
        from ritz.lattice import LatticeWavefunction
        from ritz.lattice.symmetries import symmetrized

        self.run = run
        self.system = _PARTS.made("system", run.system)
        system, lattice = self.system, self.system.lattice
        context: dict[str, object] = {"hilbert": system.hilbert, "hamiltonian": system.hamiltonian}
        if system.orbitals is not None:
            context["orbitals"] = system.orbitals
        if lattice is not None:
            context |= {
                "extent": tuple(lattice.extent.tolist()),
                "periodic": tuple(lattice.pbc.tolist()),
                "sites_per_cell": len(lattice.site_offsets),
            }
        model = _PARTS.made("model", run.model, **context)
        if not hasattr(model, "apply"):
            raise ValueError(f"model: {run.model!r} has no method `apply`.")
        self.model = model
        self.wavefunctions = {}
        for name in ("train", "evaluate"):
            with under(f"{name}."):
                symmetries = getattr(run, name).symmetrize
                chosen = symmetrized(
                    model,
                    system.hilbert,
                    system.lattice,
                    symmetries,
                    parity=system.parity,
                    is_invariant=system.is_invariant,
                )
            self.wavefunctions[name] = LatticeWavefunction(chosen, system.hilbert)

    def _sampler(self, key: str, part: Part | None, n_samples: int) -> Any:
        from netket.sampler import MetropolisSampler

        from ritz.lattice import MetropolisExchange, MetropolisLocal

        hilbert, graph = self.system.hilbert, self.system.graph
        if part is not None:
            context: dict[str, Any] = {"hilbert": hilbert, "graph": graph}
            context["hamiltonian"] = self.system.hamiltonian
            sampler = _PARTS.made(key, part, **context)
            sized = {"n_chains", "n_chains_per_rank"} & set(part.init_args)
            if isinstance(sampler, MetropolisSampler) and not sized:
                return _PARTS.made(key, part.with_argument(["n_chains"], n_samples), **context)
            return sampler
        if hilbert.constrained:
            return MetropolisExchange(hilbert, graph=graph, n_chains=n_samples)
        return MetropolisLocal(hilbert, n_chains=n_samples)

    def _configure(self, builder: Any, name: str) -> None:
        given: Train | Evaluate = getattr(self.run, name)
        with under(f"{name}."):
            check_count("n_samples", given.n_samples, 1)
        samplers = {}
        if given.full_sum and not self.system.hilbert.is_indexable:
            raise ValueError(
                f"{name}.full_sum: {self.system.hilbert} has too many states for a sum over all of "
                "them; leave it out."
            )
        if given.sampler is not None or not given.full_sum:
            key = f"{name}.sampler"
            with under(f"{key}: ", BUILDING):
                samplers["sites"] = self._sampler(key, given.sampler, given.n_samples)
        builder.configure_sample_plan(self.wavefunctions[name].logpsi, samplers)
        builder.configure_estimators(Energy=self.system.hamiltonian, **self.system.observables)
        loggers = _PARTS.made_list(f"{name}.loggers", given.loggers)
        builder.configure_writers(None if given.loggers is None else loggers)
        builder.configure_callbacks(_PARTS.made_list(f"{name}.callbacks", given.callbacks))

    @property
    @override
    def evaluates_average(self) -> bool:
        return self.run.evaluate.parameters == AVERAGE

    @property
    @override
    def system_text(self) -> str:
        return str(self.system.hamiltonian)

    @property
    @override
    def exact(self) -> float | None:
        return self.system.exact

    @override
    def train(self) -> WorkStage:
        from ritz.stages import VMCWorkStage

        given, wavefunction = self.run.train, self.wavefunctions["train"]
        with under("train."):
            builder = VMCWorkStage.builder(_plain(given), wavefunction, name="train")
        self._configure(builder, "train")
        _check_rate(given.optimizer)
        optimizer = _PARTS.made("train.optimizer", given.optimizer)
        with under("model: ", BUILDING):
            n_parameters = wavefunction.n_parameters
        n_samples = self.system.hilbert.n_states if given.full_sum else given.n_samples
        numbers = {"n_parameters": n_parameters, "n_samples": n_samples}
        for name in numbers:
            if name in given.update.init_args:
                raise ValueError(f"train.update.{name} follows from the run; leave it out.")
        update = _PARTS.made("train.update", given.update, **numbers)
        control = given.step_control
        if control is not None:
            control = _PARTS.made("train.step_control", control)
        with under("train.optimizer: ", BUILDING):
            builder.configure_optimizer(
                default=optimizer,
                f_log_psi=wavefunction.logpsi,
                update=update,
                single_scores=given.single_scores,
                step_control=control,
            )
        return builder.build()

    @override
    def evaluate(self) -> WorkStage:
        from ritz.stages import EvaluationWorkStage

        settings, wavefunction = _plain(self.run.evaluate), self.wavefunctions["evaluate"]
        with under("evaluate."):
            builder = EvaluationWorkStage.builder(settings, wavefunction, name="evaluate")
        self._configure(builder, "evaluate")
        return builder.build()


def _plain(given: Train | Evaluate) -> Settings:
    """The settings that a stage takes as they are; objects are made of the others here."""
    names = (
        "sampler", "optimizer", "update", "step_control", "single_scores", "symmetrize",
        "begin_from", "callbacks", "loggers",
    )  # fmt: skip
    fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    return {name: value for name, value in fields.items() if name not in names}


def _check_rate(optimizer: Part) -> None:
    """Refuse learning rates that lead uphill or nowhere."""
    rate = getattr(optimizer, "init_args", {}).get("learning_rate")
    if isinstance(rate, int | float) and not (math.isfinite(rate) and rate >= 0):
        raise ValueError(
            "train.optimizer.learning_rate must be a finite number of at least 0, but "
            f"{rate!r} was given."
        )

"""The configuration of runs on molecules."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from ritz.cli.molecule.jaqmc_names import OF_JAQMC
from ritz.cli.settings.parts import Part
from ritz.estimators.base import AbstractEstimator
from ritz.stages.contract import Contract
from ritz.stages.contracts import CALLBACK, OPTIMIZER, SAMPLER, UPDATE, WRITER

EXAMPLES = {
    "system": "name=LiH",
    "network": "FermiNet",
    "sampler": "MALA",
    "estimators": "Forces",
    "optimizer": "adam",
    "update": "SPRING",
    "callbacks": "EarlyStopping",
    "loggers": "CSVLog",
    "pretrain": "iterations=500",
    "train": "iterations=2000",
    "evaluate": "iterations=1000",
}
"""Short names of class paths, and one setting of each group as an example."""

CONTRACTS = {
    "network": Contract(
        "a flax module, electrons -> (sign, log |psi|)",
        packages=("flax.linen",),
        example="flax.linen.Module",
        modules=("ritz.molecule",),
        plugins="models",
    ),
    "sampler": SAMPLER,
    "estimators": Contract(
        "an estimator", (AbstractEstimator,), modules=("ritz.molecule", "ritz.estimators")
    ),
    "optimizer": OPTIMIZER,
    "update": UPDATE,
    "callbacks": CALLBACK,
    "loggers": WRITER,
}
"""The types that class paths in each setting may name."""


@dataclasses.dataclass
class System:
    """The molecule.

    Args:
        name: A molecule of the library, such as LiH; `system=LiH` is short for it.
        file: An XYZ file, or another that ASE can read, instead.
        atoms: Symbols and positions instead, such as '[[H, [0, 0, 0]], [H, [0, 0, 1.4]]]' or, as in
            PySCF, 'H 0 0 0; H 0 0 1.4'.
        unit: The unit of `atoms`, bohr or angstrom.
        charge: Total charge; by default that of the library, or 0.
        spin: n_up - n_down; by default that of the library, or 0.
        ecp: Pseudopotentials of PySCF in place of the electrons of cores, such as ccecp for all
            elements, or '{Li: ccecp}' for some.
    """

    shorthand: ClassVar[str] = "name"

    name: str | None = None
    file: str | None = None
    atoms: list[Any] | str | None = None
    unit: str | None = None
    charge: int | None = None
    spin: int | None = None
    ecp: str | dict[str, str] | None = None


@dataclasses.dataclass(kw_only=True)
class Sampling:
    """How samples are drawn, and what happens with them.

    Args:
        burn_in: Steps of sampling before the first one, in which the width of moves adapts.
        n_walkers: Walkers, each of which gives one sample a step.
        sampler: A sampler of ritz.samplers; by default OneParticle up to 6 electrons, else
            Metropolis.
        callbacks: Callbacks of the run.
        loggers: Where rows go; by default a JSON file (.log) and a CSV file.
        save_time_interval: Seconds between checkpoints.
        save_step_interval: Steps between checkpoints; 0 leaves it to the time.
        accept_changes: Settings that may differ from those of the saved run, such as optimizer.
    """

    burn_in: int = 100
    n_walkers: int = 512
    sampler: Part | None = None
    callbacks: list[Part] = dataclasses.field(default_factory=list)
    loggers: list[Part] | None = None
    save_time_interval: float = 60.0
    save_step_interval: int = 0
    accept_changes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Pretrain(Sampling):
    """How orbitals are brought close to those of a mean field, before training.

    Args:
        iterations: Steps; 0 for none. null for 300 with up to four electrons, outside of cores,
            and 2,000 with more.
        basis: A basis set of PySCF, or one for each element, such as '{H: cc-pvtz}'; or slater for
            Slater's rules, which are for atoms and need no PySCF. null for cc-pvdz, or the basis of
            this size that belongs to the pseudopotential of an element.
        optimizer: A transformation of optax.
    """

    iterations: int | None = None
    basis: str | dict[str, str] | None = None
    optimizer: Part = dataclasses.field(
        default_factory=lambda: Part("optax.adam", {"learning_rate": 3e-3})
    )


@dataclasses.dataclass(kw_only=True)
class Train(Sampling):
    """How to optimise.

    Args:
        iterations: Optimisation steps.
        chunk_size: Walkers of which derivatives are computed at once; null for all.
        optimizer: A transformation of optax, which is applied to the direction of `update`; null
            for the schedule of SPRING. Adam and the like want train.update=Gradient.
        update: The rule that turns samples into a direction; null for SPRING. What is not given of
            SPRING is as it is by default here, with its norm cap.
        clip_method: How local energies are clipped in updates: mean_absolute_deviation,
            median_absolute_deviation or none.
        clip_scale: Largest distance from their median, in absolute deviations.
        stop_on_nan: true, false, or the names of the quantities that must be finite.
        spin_penalty: Weight in hartree of a penalty on higher spins than n_up - n_down has, which
            is added to the energy that is minimised; 0 for none. It should exceed the energies by
            which states of higher spin lie lower.
        overlap_penalty: Weight in hartree of the penalty on the squared overlap of two states,
            above the difference of their energies; for n_states of at least 2.
        on_divergence: What happens when energy, update or parameters are not finite: "retry" goes
            back to the last good state with more damping, at most five times in a row, "stop" ends
            the run, "ignore" goes on.
        begin_from: Folder of a trained run of the same molecule in another geometry, whose
            parameters and walkers this one begins with, in the place of pretraining. Electrons
            follow the nuclei near them. For a new run only.
    """

    iterations: int = 2000
    chunk_size: int | None = None
    optimizer: Part | None = None
    update: Part | None = None
    clip_method: str = "mean_absolute_deviation"
    clip_scale: float = 5.0
    spin_penalty: float = 0.0
    overlap_penalty: float = 2.0
    stop_on_nan: bool | str = "loss"
    on_divergence: str = "retry"
    begin_from: str | None = None


@dataclasses.dataclass(kw_only=True)
class Evaluate(Sampling):
    """How to estimate the energy and other quantities.

    Args:
        iterations: Steps of sampling.
        chunk_size: Walkers of which derivatives are computed at once; null for all.
        estimators: Estimators besides those of the energies, such as '[Forces, Dipole]'.
        digest_step_interval: Steps between previews of the result; 0 for none.
    """

    iterations: int = 1000
    chunk_size: int | None = None
    estimators: list[Part] = dataclasses.field(default_factory=list)
    digest_step_interval: int = 0


@dataclasses.dataclass
class MoleculeRun:
    """A run on a molecule.

    Args:
        folder: Everything is written here; the same command again goes on with it.
        seed: Seeds all random numbers.
        system: The molecule.
        preset: The network by name: small (for up to 6 electrons on a laptop), ferminet, psiformer
            or lapnet; auto takes small up to 6 electrons, else ferminet.
        network: The network in detail, a flax module, in place of the preset.
        dtype: float32 or float64, in which the network computes; energies are added up, and linear
            systems solved, in float64.
        n_states: The lowest states that are looked for in one run, kept apart by penalties on their
            overlaps; see train.overlap_penalty.
        pretrain: How to begin.
        train: How to optimise.
        evaluate: How to estimate.
    """

    contracts: ClassVar[Mapping[str, Contract]] = CONTRACTS
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    instead: ClassVar[Mapping[str, str]] = OF_JAQMC

    folder: str = "runs/molecule"
    seed: int = 0
    system: System = dataclasses.field(default_factory=System)
    preset: str = "auto"
    network: Part | None = None
    dtype: str = "float32"
    n_states: int = 1
    pretrain: Pretrain = dataclasses.field(default_factory=Pretrain)
    train: Train = dataclasses.field(default_factory=Train)
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)

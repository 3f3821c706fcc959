"""The configuration of runs on lattices."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from ritz.cli.settings.parts import Part
from ritz.stages.contract import Contract
from ritz.stages.contracts import CALLBACK, LATTICE_SAMPLER, OPTIMIZER, UPDATE, WRITER

EXAMPLES = {
    "system": "TransverseIsing",
    "model": "RBM",
    "sampler": "MetropolisLocal",
    "optimizer": "adam",
    "update": "SR",
    "step_control": "StepControl",
    "callbacks": "EarlyStopping",
    "loggers": "CSVLog",
    "train": "iterations=500",
    "evaluate": "iterations=200",
}
"""Short names of class paths, and one setting of each group as an example."""

CONTRACTS = {
    "system": Contract(
        "a ritz.lattice.systems.LatticeSystem",
        packages=("ritz.lattice.systems",),
        example="LatticeSystem",
        modules=("ritz.lattice.systems",),
    ),
    "model": Contract(
        "a flax module",
        packages=("ritz.lattice.models", "flax.linen", "flax.nnx", "netket.models", "netket.nn"),
        example="flax.linen.Module",
        modules=("ritz.lattice.models", "netket.models"),
        plugins="models",
    ),
    "sampler": LATTICE_SAMPLER,
    "optimizer": OPTIMIZER,
    "update": UPDATE,
    "step_control": Contract(
        "a ritz.updates.StepControl",
        packages=("ritz.updates",),
        example="StepControl",
        modules=("ritz.updates",),
    ),
    "callbacks": CALLBACK,
    "loggers": WRITER,
}
"""The types that class paths in each setting may name."""


@dataclasses.dataclass(kw_only=True)
class Sampling:
    """How samples are drawn, and what happens with them.

    Args:
        burn_in: Steps of sampling before the first one.
        n_samples: Samples in each step.
        n_discard_per_chain: Sweeps of each chain, in every step, whose samples are discarded.
        chunk_size: Configurations that are evaluated at once; null for all.
        symmetrize: Symmetries onto which the wave function is projected: one of translations,
            point_group and space_group, of which it gets the even part, and one of inversion (all
            spins flipped, with the parity of the system's ground state), even_inversion and
            odd_inversion.
        full_sum: Sum over all configurations instead of sampling.
        sampler: The sampler, with one chain for each sample unless its n_chains is given; by
            default one that suits the space.
        callbacks: Callbacks of the run.
        loggers: Where rows go; by default a JSON file (.log) and a CSV file.
        save_time_interval: Seconds between checkpoints.
        save_step_interval: Steps between checkpoints; 0 leaves it to the time.
        accept_changes: Settings that may differ from those of the saved run, such as optimizer.
    """

    burn_in: int = 20
    n_samples: int = 1024
    n_discard_per_chain: int = 0
    chunk_size: int | None = None
    symmetrize: list[str] = dataclasses.field(default_factory=list)
    full_sum: bool = False
    sampler: Part | None = None
    callbacks: list[Part] = dataclasses.field(default_factory=list)
    loggers: list[Part] | None = None
    save_time_interval: float = 60.0
    save_step_interval: int = 0
    accept_changes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Train(Sampling):
    """How to optimise.

    Args:
        iterations: Optimisation steps.
        optimizer: A transformation of optax.
        update: The rule that turns samples into a direction; by default SR, or MinSR if there are
            more parameters than samples.
        step_control: Shortens steps that change the state too much, and takes back those after
            which the energy explodes; null for the steps of update and optimizer as they are.
        begin_from: Folder of another trained run whose parameters this one begins with, as if they
            were its own; of a smaller lattice or network they are grown, see
            `ritz.lattice.models.grown`.
        single_scores: Whether derivatives of log psi are computed in single precision.
        stop_on_nan: true, false, or the names of the quantities that must be finite.
        on_divergence: What happens when energy, update or parameters are not finite: "stop" ends
            the run, "retry" goes back to the last good state with more damping, "ignore" goes on.
    """

    iterations: int = 300
    optimizer: Part = dataclasses.field(
        default_factory=lambda: Part("optax.sgd", {"learning_rate": 0.02})
    )
    update: Part = dataclasses.field(
        default_factory=lambda: Part(
            "ritz.updates.stochastic_reconfiguration", {"diag_shift": 0.01}
        )
    )
    step_control: Part | None = dataclasses.field(
        default_factory=lambda: Part("ritz.updates.StepControl")
    )
    begin_from: str | None = None
    single_scores: bool = False
    stop_on_nan: bool | str = "loss"
    on_divergence: str = "stop"


@dataclasses.dataclass(kw_only=True)
class Evaluate(Sampling):
    """How to estimate the energy and the system's observables.

    Args:
        iterations: Steps of sampling.
        burn_in: Steps of sampling before the first one.
        digest_step_interval: Steps between previews of the result; 0 for none.
        parameters: "last" for those at the end of the training, or "average" for their average over
            its steps, for which train.callbacks must have a ParameterEMA.
    """

    iterations: int = 200
    burn_in: int = 100
    digest_step_interval: int = 0
    parameters: str = "last"


@dataclasses.dataclass
class LatticeRun:
    """A run on a lattice.

    Args:
        folder: Everything is written here; the same command again goes on with it.
        seed: Seeds all random numbers.
        system: What is to be solved: a function that returns a LatticeSystem.
        model: log psi, a flax module; by default one that is cheap.
        train: How to optimise.
        evaluate: How to estimate.
    """

    contracts: ClassVar[Mapping[str, Contract]] = CONTRACTS
    examples: ClassVar[Mapping[str, str]] = EXAMPLES

    folder: str = "runs/lattice"
    seed: int = 0
    system: Part = dataclasses.field(
        default_factory=lambda: Part("ritz.lattice.systems.TransverseIsing", {"extent": [20]})
    )
    model: Part = dataclasses.field(
        default_factory=lambda: Part("ritz.lattice.models.default_model")
    )
    train: Train = dataclasses.field(default_factory=Train)
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)

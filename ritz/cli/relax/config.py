"""The configuration of relaxations of structures from files."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from ritz.cli.settings.parts import Part
from ritz.potentials import AbstractPotential, AbstractPotentialSource
from ritz.relax import AbstractOptimizer
from ritz.stages.contract import Contract
from ritz.stages.contracts import CALLBACK

EXAMPLES = {"model": "LennardJones", "optimizer": "LBFGS", "callbacks": "Timeout"}
"""Short names of class paths."""

MODEL = Contract(
    "a potential of ritz.relax",
    (AbstractPotential, AbstractPotentialSource),
    modules=("ritz.relax",),
    plugins="models",
)
"""The types that the class path of a model may name."""

CONTRACTS = {
    "model": MODEL,
    "optimizer": Contract(
        "an optimizer of ritz.relax", (AbstractOptimizer,), modules=("ritz.relax",)
    ),
    "callbacks": CALLBACK,
}
"""The types that class paths may name."""


@dataclasses.dataclass
class RelaxRun:
    """Relaxation of structures from files, in eV, Angstrom and GPa.

    Args:
        folder: Run folder; the same command again goes on with it. null writes output and table
            alone.
        files: Structures, as ASE reads them: files, or patterns such as new/*.cif.
        model: The potential: a run folder of ritz mlip train, a file such as potential.npz,
            lennard-jones or another one of ritz.relax, or a class path.
        fmax: A structure has converged when no force is larger, in eV/Angstrom.
        optimizer: fire, fire2, lbfgs, gradient_descent or a class path.
        cell: Whether cells are relaxed too.
        pressure: External pressure on moving cells, in GPa.
        max_steps: Largest number of steps of each structure.
        max_atoms: Number of atoms treated at once; null takes the default of the device.
        output: File for the relaxed structures; in the run folder if it is only a name.
        table: CSV file for the table of results; in the run folder if it is only a name.
        trajectory: File for the trajectory, NAME.traj or NAME.extxyz; null writes none.
        every: Steps between frames of the trajectory.
        log: Path, without suffix, of a log with all steps of all structures; null writes none.
        checkpoint: Without a run folder: save in this folder, and go on from what is saved.
        callbacks: Callbacks of the run.
        save_time_interval: Seconds between checkpoints.
        accept_changes: Settings that may differ from those of the saved run, such as convergence.
    """

    contracts: ClassVar[Mapping[str, Contract]] = CONTRACTS
    examples: ClassVar[Mapping[str, str]] = EXAMPLES

    folder: str | None = None
    files: list[str] = dataclasses.field(default_factory=list)
    model: Part | None = None
    fmax: float = 0.05
    optimizer: Part = dataclasses.field(default_factory=lambda: Part("fire"))
    cell: bool = False
    pressure: float = 0.0
    max_steps: int = 10_000
    max_atoms: int | None = None
    output: str = "relaxed.extxyz"
    table: str = "relaxed.csv"
    trajectory: str | None = None
    every: int = 10
    log: str | None = None
    checkpoint: str | None = None
    callbacks: list[Part] = dataclasses.field(default_factory=list)
    save_time_interval: float = 60.0
    accept_changes: list[str] = dataclasses.field(default_factory=list)

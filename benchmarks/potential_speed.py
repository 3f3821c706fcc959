"""Speed of relaxation and dynamics with potentials, beside their errors."""

import time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from benchmarks.potential_accuracy import EPOCHS, config, potential_of, splits
from benchmarks.report import Table
from ritz.mlip import AbstractMLIP, ACEDescriptor, ANNPotential, FitConfig, StructureDataset
from ritz.picture_style import DPI, open_frame
from ritz.relax import NVTLangevin, Relaxation, relax

MODELS = ("small", "medium", "large", "Chebyshev", "PaiNN")
"""Words are linear potentials of the atomic cluster expansion; the others are networks."""

CELLS = 5
"""Dynamics is of so many cubic cells of silicon in each direction: 1,000 atoms."""

TIME_STEP = 1.0
"""In fs."""

STEPS = 40
RELAXED = 64


def trained(model: str) -> tuple[AbstractMLIP, dict[str, float], float]:
    """A potential of silicon, its errors, and the seconds that training took."""
    began = time.perf_counter()
    train, test = splits("Si")
    if model in ("small", "medium", "large"):
        descriptor = ACEDescriptor.for_structures(train, degrees=model)
        potential: Any = ANNPotential({"Si": []}, descriptor)
        act, settings = potential.fit, FitConfig()
    else:
        potential = potential_of(model, ["Si"])
        act, settings = potential.train, config(EPOCHS.get(("Si", model), 100))
    out = act(
        train_dataset=StructureDataset(train, potential.descriptor, {}),
        test_dataset=StructureDataset(test, potential.descriptor, {}),
        config=settings,
    )
    return potential, out.stats, time.perf_counter() - began


def crystal(seed: int, cells: int) -> Atoms:
    """Silicon with atoms displaced by 0.05 Angstrom."""
    atoms = bulk("Si", cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=seed)
    return atoms


def seconds_of_step(potential: AbstractMLIP) -> float:
    """Of dynamics, without compilation."""
    driver = Relaxation([crystal(0, CELLS)], potential, NVTLangevin(300.0, dt=TIME_STEP), seed=0)
    driver.run(STEPS, show_progress=False)
    began = time.perf_counter()
    driver.run(STEPS, show_progress=False)
    return (time.perf_counter() - began) / STEPS


def relaxed_in_a_second(potential: AbstractMLIP) -> float:
    """Structures of 64 atoms that reach 10 meV/Angstrom, without compilation."""
    structures = [crystal(seed, 2) for seed in range(RELAXED)]
    relax(structures, potential, fmax=0.01, max_steps=1)
    began = time.perf_counter()
    result = relax(structures, potential, fmax=0.01)
    seconds = time.perf_counter() - began
    assert np.all(result.converged)
    return RELAXED / seconds


def row(model: str) -> list[Any]:
    """Train one potential, and use it."""
    potential, errors, seconds = trained(model)
    step = seconds_of_step(potential)
    return [
        model,
        1e3 * errors["final_RMSE_test"],
        1e3 * errors["final_RMSE_force_test"],
        1e3 * step,
        86400 / step * TIME_STEP * 1e-6,
        relaxed_in_a_second(potential),
        seconds,
    ]


def draw(rows: list[list[Any]], path: str) -> None:
    """The picture: errors of forces against nanoseconds a day."""
    from matplotlib.figure import Figure

    figure = Figure((5.5, 4), layout="constrained")
    axes = figure.add_subplot()
    for found in rows:
        is_linear = found[0] in ("small", "medium", "large")
        axes.plot(found[4], found[2], "o" if is_linear else "s", color=f"C{0 if is_linear else 1}")
        label = f"linear, {found[0]}" if is_linear else found[0]
        axes.annotate(label, (found[4], found[2]), xytext=(6, 4), textcoords="offset points")
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_xlabel("dynamics of 1,000 atoms (ns/day)")
    axes.set_ylabel("RMSE of forces in test (meV/Å)")
    open_frame(axes)
    figure.savefig(path, dpi=DPI)


def measure() -> Table:
    """Train, use and draw all models."""
    rows = [row(model) for model in MODELS]
    draw(rows, "docs/assets/potential_speed.png")
    return Table(
        "potential_speed",
        "Potentials: speed beside errors",
        (
            "model",
            "meV/atom in test",
            "meV/Å in test",
            "ms a step, 1,000 atoms",
            "ns/day, 1,000 atoms",
            "relaxed structures/s",
            "s to train",
        ),
        rows,
        "Silicon. small, medium and large are linear potentials, ACEDescriptor.for_structures with "
        "these degrees; Chebyshev and PaiNN are those of the errors in test, PaiNN after 100 "
        "epochs. NVTLangevin at 300 K with steps of 1 fs; FIRE to 10 meV/Å, 64 structures of 64 "
        "atoms at once. Without compilation.",
    )

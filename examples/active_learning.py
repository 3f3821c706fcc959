"""Active learning of EMT copper: a committee asks for the structures that it does not know.

From 20 structures on, each round lets 16 trajectories run with the committee's mean forces, at most
up to a temperature that rises from round to round. Those of which the committee expects a force
error above 0.15 eV/Angstrom are parked, ten of them are selected and labelled by ASE's EMT, and
training goes on from the last parameters. Errors are those of the mean for 40 structures from
dynamics with EMT itself at 300 to 1200 K, which no round sees; they fall with every round for
the seeds 0, 1 and 2. Run it with `python examples/active_learning.py [SEED [PICTURE]]`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from matplotlib.figure import Figure

from ritz.exploration import explore
from ritz.mlip import (
    Adam,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    StructureDataset,
    TrainingConfig,
)
from ritz.relax import SpreadLimit

TEMPERATURES = (300.0, 600.0, 900.0, 1200.0)
"""In K."""

LIMIT = 0.15
"""Expected error of a force at which a trajectory is parked, in eV/Angstrom."""


def labelled(atoms: Atoms) -> Atoms:
    """A copy with the energy and the forces of EMT."""
    found = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    found.calc = EMT()
    labels = {"energy": found.get_potential_energy(), "forces": found.get_forces()}
    found.calc = SinglePointCalculator(found, **labels)
    return found


def crystal() -> Atoms:
    """Copper in a box of 32 atoms."""
    return bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)


def first_structures(n: int, seed: int) -> list[Atoms]:
    """Crystals, strained by up to 3 % and rattled by 0.05 Angstrom."""
    random, found = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = crystal()
        strain = np.eye(3) + random.uniform(-0.03, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += random.normal(scale=0.05, size=(len(atoms), 3))
        found.append(labelled(atoms))
    return found


def structures_of_emt(n_each: int, seed: int) -> list[Atoms]:
    """Structures 160 fs apart, from Langevin dynamics with EMT at each temperature."""
    found = []
    for place, temperature in enumerate(TEMPERATURES):
        random, atoms = np.random.default_rng([seed, place]), crystal()
        widths = np.sqrt(2 * units.kB * temperature * atoms.get_masses())[:, None]
        atoms.set_momenta(random.normal(size=(len(atoms), 3)) * widths)
        atoms.calc = EMT()
        moving = Langevin(
            atoms,
            4 * units.fs,
            temperature_K=temperature,
            friction=0.02 / units.fs,
            fixcm=False,
            rng=random,
        )
        moving.run(100)
        for _ in range(n_each):
            moving.run(40)
            found.append(labelled(atoms))
    return found


class Round(NamedTuple):
    """The committee after a round of training."""

    n_structures: int
    energy_error: float
    """Root mean square error of test energies, in eV per atom."""
    force_error: float
    """Root mean square error of the components of test forces, in eV/Angstrom."""
    expected: np.ndarray
    """Expected errors of the forces on all test atoms, in eV/Angstrom."""
    observed: np.ndarray
    """Errors of these forces."""


def measured(committee: CommitteePotential, n_structures: int, test: Sequence[Atoms]) -> Round:
    """Errors of a calibrated committee for test structures."""
    found = committee.predict(list(test), eval_forces=True)
    energies = [r.energy_mean - a.get_potential_energy() for r, a in zip(found, test, strict=True)]
    n_atoms = np.array([len(atoms) for atoms in test])
    misses = [r.forces_mean - a.get_forces() for r, a in zip(found, test, strict=True)]
    factor = committee.calibration.error_factors[1]
    return Round(
        n_structures,
        float(np.sqrt(np.mean((np.array(energies) / n_atoms) ** 2))),
        float(np.sqrt(np.mean(np.concatenate(misses) ** 2))),
        factor * np.concatenate([np.linalg.norm(r.forces_std, axis=1) for r in found]),
        np.concatenate([np.linalg.norm(miss, axis=1) for miss in misses]),
    )


def main(
    seed: int = 0,
    n_rounds: int = 5,
    n_first: int = 20,
    n_new: int = 10,
    epochs: int = 300,
    n_test: int = 10,
    steps: int = 150,
) -> list[Round]:
    """The rounds, the first of which knows the first structures only."""
    test, first = structures_of_emt(n_test, seed + 100), first_structures(n_first, seed)
    held_out, train = first[::5], [atoms for n, atoms in enumerate(first) if n % 5]
    descriptor = ChebyshevDescriptor(["Cu"], 10, 6.0, 4, 4.0, min_cutoff=1.0)
    committee = CommitteePotential({"Cu": [(12, "tanh"), (12, "tanh")]}, descriptor)
    config = TrainingConfig(
        iterations=epochs,
        method=Adam(mu=0.01, batchsize=8),
        schedule="cosine",
        force_weight=0.5,
        seed=seed,
        checkpoint_dir=None,
        show_progress=False,
    )
    rounds, folder, last = [], Path(tempfile.mkdtemp()), None
    for number in range(n_rounds + 1):
        committee.train(
            config=config,
            committee_config=CommitteeConfig(4, 100 * seed, output_dir=folder / str(number)),
            train_dataset=StructureDataset(train, descriptor),
            test_dataset=StructureDataset(held_out, descriptor),
            resume_from=last,
        )
        last = folder / str(number)
        committee.calibrate(held_out, last)
        rounds.append(measured(committee, len(train) + len(held_out), test))
        n, energy, force, *_ = rounds[-1]
        print(f"{n} structures: {1e3 * energy:.2f} meV/atom, {force:.4f} eV/Angstrom", flush=True)
        if number == n_rounds:
            break
        found = explore(
            first[:4],
            committee,
            SpreadLimit(force=LIMIT),
            n_new,
            temperatures=TEMPERATURES[: number + 1],
            steps=steps,
            dt=4.0,
            copies=4,
            known=[*train, *held_out],
            seed=number,
        )
        print(found, flush=True)
        new = [labelled(atoms) for atoms in found.selected]
        held_out = [*held_out, *new[::5]]
        train = [*train, *(atoms for n, atoms in enumerate(new) if n % 5)]
    return rounds


def draw(rounds: Sequence[Round], picture: str) -> None:
    """Test errors by number of structures, and observed against expected errors of forces."""
    figure = Figure((11, 3.4), layout="constrained")
    energy, force, calibration = figure.subplots(1, 3)
    sizes = [r.n_structures for r in rounds]
    energy.plot(sizes, [1e3 * r.energy_error for r in rounds], "o-")
    energy.set(xlabel="structures", ylabel="test error of energy (meV/atom)", ylim=(0, None))
    force.plot(sizes, [r.force_error for r in rounds], "o-")
    force.set(xlabel="structures", ylabel="test error of forces (eV/Angstrom)", ylim=(0, None))
    for place, color in ((0, "tab:gray"), (-1, "tab:blue")):
        order = np.argsort(rounds[place].expected)
        bins = np.array_split(order, 12)
        rows = [
            [np.sqrt(np.mean(values[rows] ** 2)) for rows in bins]
            for values in (rounds[place].expected, rounds[place].observed)
        ]
        calibration.loglog(*rows, "o-", color=color, label=f"{sizes[place]} structures")
    ends = np.array([0.01, 2.0])
    calibration.loglog(ends, ends, "k:", lw=1)
    calibration.set(xlabel="expected error (eV/Angstrom)", ylabel="observed error (eV/Angstrom)")
    calibration.legend()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    found = main(*map(int, sys.argv[1:2]))
    if len(sys.argv) > 2:
        draw(found, sys.argv[2])

"""Active learning of EMT copper: a committee asks for the structures that it does not know.

From 20 structures on, rounds of dynamics with the committee's mean forces find structures of which
it is not sure, ASE's EMT labels few of them, and training goes on. The errors are those for
independent structures from dynamics with EMT itself.

    python examples/active_learning.py [ROUNDS [SEED]]
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from ritz.exploration import explore
from ritz.mlip import (
    Adam,
    CommitteeConfig,
    CommitteePotential,
    ChebyshevDescriptor,
    TrainingConfig,
)
from ritz.mlip.potentials.predictions import errors_of
from ritz.relax import SpreadLimit

TEMPERATURES = (300.0, 600.0, 900.0, 1200.0)


def labelled(atoms: Atoms) -> Atoms:
    """A copy with energy and forces of EMT."""
    found = atoms.copy()
    found.calc = EMT()
    energy, forces = found.get_potential_energy(), found.get_forces()
    found.calc = SinglePointCalculator(found, energy=energy, forces=forces)
    return found


def first_structures(n: int, seed: int) -> list[Atoms]:
    """Crystals of 32 atoms, strained by up to 3% and rattled by 0.05 Angstrom."""
    random, found = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
        strain = np.eye(3) + random.uniform(-0.03, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += random.normal(scale=0.05, size=(len(atoms), 3))
        found.append(labelled(atoms))
    return found


def emt_dynamics(seed: int, n_each: int = 10, every: int = 40) -> list[Atoms]:
    """Independent structures from Langevin dynamics with EMT at each temperature."""
    found = []
    for place, temperature in enumerate(TEMPERATURES):
        random = np.random.default_rng([seed, place])
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
        atoms.calc = EMT()
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=random)
        moving = Langevin(
            atoms, 4 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=random
        )
        moving.run(100)
        for _ in range(n_each):
            moving.run(every)
            found.append(labelled(atoms))
    return found


@dataclasses.dataclass
class Round:
    """What a round has ended with."""

    n_structures: int
    energy_error: float
    force_error: float


def committee(seed: int) -> CommitteePotential:
    descriptor = ChebyshevDescriptor(["Cu"], 8, 5.0, 4, 4.0, min_cutoff=1.0)
    return CommitteePotential({"Cu": [(12, "tanh"), (12, "tanh")]}, descriptor)


def train(potential, structures, folder, begin=None, epochs=60, seed=0):
    config = TrainingConfig(
        iterations=epochs, method=Adam(mu=0.01, batchsize=8), force_weight=0.3,
        schedule="cosine", testpercent=20, seed=seed, checkpoint_dir=None, show_progress=False,
        atomic_energies={"Cu": -0.0} if begin is None else None, precision="float32",
    )
    members = CommitteeConfig(num_members=4, base_seed=seed, output_dir=folder)
    out = potential.train(structures, config, members, resume_from=begin)
    return out


if __name__ == "__main__":
    import time

    n_rounds, seed = (int(a) for a in (sys.argv[1:] + ["3", "0"][len(sys.argv) - 1 :]))
    import tempfile

    work = Path(tempfile.mkdtemp())
    t = time.time()
    structures = first_structures(20, seed)
    test = emt_dynamics(seed + 100)
    print("data", time.time() - t, len(test))
    begin = None
    for number in range(n_rounds + 1):
        t = time.time()
        potential = committee(seed)
        out = train(potential, structures, work / f"{number}", begin, seed=seed)
        begin = work / f"{number}"
        print("training", time.time() - t, out.stats["final_RMSE_test"] if "final_RMSE_test" in out.stats else list(out.stats))
        t = time.time()
        preds = potential.predict(test, eval_forces=True)
        import numpy as np

        ref = preds.member_outputs[0]
        de = np.array([r.energy_mean / r.n_atoms for r in preds]) - ref.reference_energy / ref.n_atoms
        df = np.concatenate([(r.forces_mean - f).ravel() for r, f in zip(preds, ref.reference_forces)])
        print(number, len(structures), "E", 1e3 * np.sqrt(np.mean(de**2)), "F", np.sqrt(np.mean(df**2)), time.time() - t)
        t = time.time()
        cal = potential.calibrate(structures)
        print("train", cal)
        cal = potential.calibrate(test)
        print("test", cal)
        print(cal.to_dataframe().to_string())
        print(time.time() - t)
        t = time.time()
        found = explore(
            [a for a in structures[:4]], potential, SpreadLimit(force=0.15), 10,
            temperatures=TEMPERATURES, steps=200, dt=4.0, copies=6, seed=number, known=structures, 
        )
        print(found, [ (a.info["step"], round(a.info["expected_force_error"], 2)) for a in found.selected], found.reasons[:3], time.time() - t)
        structures += [labelled(a) for a in found.selected]

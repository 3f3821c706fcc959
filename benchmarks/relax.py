"""Batches of argon: one FIRE step, and relaxation with refill, beside ASE and torch-sim.

torch-sim is measured where it is installed (pip install torch-sim-atomistic).
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ase.calculators.lj
import ase.optimize
import numpy as np
from ase import Atoms
from ase.build import bulk

from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.callbacks import EarlyStopping
from ritz.loggers import RuntimeLog
from ritz.relax import FIRE, ConvergenceHook, LennardJones, Relaxation, relax

ARGON = {"epsilon": 0.0104, "sigma": 3.4}
CUTOFF = 8.5
FMAX = 0.01
STEPS = 500
PEER_STEPS = 20
ROUNDS = 5
SLOTS = 64
MANY = 256
FEW = 16


def argon(seed: int, cells: tuple[int, int, int] = (3, 3, 3)) -> Atoms:
    """A crystal in which every atom was moved by about 0.1 Angstrom."""
    atoms = bulk("Ar", "fcc", a=5.26) * cells
    atoms.positions += np.random.default_rng(seed).normal(size=atoms.positions.shape) * 0.1
    return atoms


def model() -> LennardJones:
    """The potential of all contenders."""
    return LennardJones(**ARGON, cutoff=CUTOFF)


def ritz_steps(structures: list[Atoms]) -> Callable[[], None]:
    """Steps with criteria, a log of every step and early stopping on."""
    stage = FIRE(convergence_hook=ConvergenceHook.from_fmax(1e-30))  # never met
    driver = Relaxation(structures, model(), stage)
    stopping = EarlyStopping(monitor="fmax", patience=10**9)
    return lambda: void(driver.run(STEPS, out=RuntimeLog(), callback=stopping, show_progress=False))


def ase_steps(structures: list[Atoms]) -> Callable[[], None]:
    """One FIRE object a structure."""
    runs = []
    for atoms in structures:
        atoms = atoms.copy()
        atoms.calc = ase.calculators.lj.LennardJones(**ARGON, rc=CUTOFF)
        runs.append(ase.optimize.FIRE(atoms, logfile=None))
    return lambda: [run.step() for run in runs for _ in range(2)] and None


def torch_sim_model() -> Any:
    """Its Lennard-Jones model in double precision, or None where it is not installed."""
    with contextlib.suppress(ImportError):
        import torch
        from torch_sim.models.lennard_jones import LennardJonesModel

        return LennardJonesModel(
            **ARGON, cutoff=CUTOFF, device=torch.device("cpu"), dtype=torch.float64
        )
    return None


def torch_sim_steps(structures: list[Atoms]) -> Callable[[], None]:
    """Its FIRE on the whole batch."""
    import torch
    import torch_sim

    init, step = torch_sim.optimizers.fire(model=torch_sim_model(), md_flavor="ase_fire")
    state = init(torch_sim.io.atoms_to_state(structures, torch.device("cpu"), torch.float64))

    def run() -> None:
        nonlocal state
        for _ in range(PEER_STEPS):
            state = step(state)

    return run


def torch_sim_relaxed(structures: list[Atoms]) -> list[Atoms]:
    """Its own loop, which swaps in structures where others have converged."""
    import torch_sim

    potential = torch_sim_model()
    state = torch_sim.initialize_state(structures, potential.device, potential.dtype)
    # Atoms, as the measure of memory: 64 structures at once.
    batcher = torch_sim.InFlightAutoBatcher(
        model=potential, memory_scales_with="n_atoms", max_memory_scaler=SLOTS * 27
    )
    ended = torch_sim.optimize(
        state,
        potential,
        optimizer=torch_sim.optimizers.fire,
        autobatcher=batcher,
        convergence_fn=torch_sim.generate_force_convergence_fn(
            force_tol=FMAX, include_cell_forces=False
        ),
        md_flavor="ase_fire",
    )
    return torch_sim.io.state_to_atoms(ended)


def ase_relaxed(structures: list[Atoms]) -> list[Atoms]:
    """One after the other."""
    relaxed = [atoms.copy() for atoms in structures]
    for atoms in relaxed:
        atoms.calc = ase.calculators.lj.LennardJones(**ARGON, rc=CUTOFF)
        ase.optimize.FIRE(atoms, logfile=None).run(fmax=FMAX)
    return relaxed


def ritz_relaxed(structures: list[Atoms]) -> list[Atoms]:
    """Criteria, log and refill on."""
    found = relax(structures, model(), fmax=FMAX, slots=SLOTS, out=RuntimeLog())
    assert found.converged
    return found.atoms


def mean_energy(structures: list[Atoms]) -> float:
    """In eV, in the same potential whoever relaxed them."""
    return float(np.mean(relax(structures[:FEW], model(), max_steps=0).energy))


def void(_: Any) -> None:
    """Drop a result."""


def measure() -> Table:
    """Run all in turns."""
    some, many = [argon(seed) for seed in range(SLOTS)], [argon(seed) for seed in range(MANY)]
    ended: dict[str, list[Atoms]] = {}

    def keep(name: str, run: Any, given: list[Atoms]) -> Callable[[], None]:
        return lambda: ended.update({name: run(given)})

    steppers = {"Ritz": (ritz_steps(some), STEPS), "ASE": (ase_steps(some), 2)}
    relaxers: dict[str, tuple[Callable[[list[Atoms]], list[Atoms]], list[Atoms]]] = {
        "Ritz": (ritz_relaxed, many),
        "ASE": (ase_relaxed, many[:FEW]),
    }
    if torch_sim_model() is not None:
        steppers["torch-sim"] = (torch_sim_steps(some), PEER_STEPS)
        relaxers["torch-sim"] = (torch_sim_relaxed, many)
    stepped = interleaved({name: run for name, (run, _) in steppers.items()}, ROUNDS)
    relaxed = interleaved(
        {name: keep(name, run, given) for name, (run, given) in relaxers.items()}, ROUNDS
    )
    rows = []
    for name in steppers:
        per_step = [1e3 * t / steppers[name][1] for t in stepped[name].spread]
        rates = [len(relaxers[name][1]) / t for t in relaxed[name].spread]
        energy = mean_energy(ended[name])
        rows.append((name, *per_step, stepped[name].first, *rates, relaxed[name].first, energy))
    return Table(
        "relax",
        f"Relaxation: {SLOTS} structures of 27 argon atoms",
        (
            "",
            "ms a step",
            "shortest",
            "longest",
            "first call s",
            "structures/s",
            "highest",
            "lowest",
            "first call s ",
            "energy eV",
        ),
        rows,
        f"Lennard-Jones with a cutoff of {CUTOFF} Angstrom, double precision. Left: one FIRE step "
        f"of {SLOTS} structures, in Ritz with criteria, a `RuntimeLog` of every structure at every "
        f"step and `EarlyStopping`. Right: {MANY} structures relaxed to {FMAX} eV/Angstrom, in "
        f"Ritz and torch-sim {SLOTS} at a time with refill, in ASE {FEW} one after the "
        "other; from `ase.Atoms` to `ase.Atoms`. First calls compile. torch-sim's model with its "
        "neighbour list; without it, it takes the nearest image alone, which is wrong here. "
        f"Energies are means over the first {FEW} structures, all in the same potential.",
        {
            "Ritz, ms a step (target 0.7)": rows[0][1],
            "Ritz, structures/s with refill (target 879)": rows[0][5],
        },
    )


def timed(action: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start

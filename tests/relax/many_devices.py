"""Relaxes and moves structures in many ways, as a process of `tests.arrangements`."""

import ase.io
import jax
import numpy as np
from ase import Atoms

from ritz.loggers import RuntimeLog
from ritz.relax import LBFGS, NPT, FrechetCell, NVTLangevin, Relaxation, Trajectory
from tests.arrangements import columns, report
from tests.relax.systems import argons, fire, lennard_jones


def many():
    """Structures of two sizes, one of which fails at once."""
    clash = argons(1)[0]
    clash.positions[1] = clash.positions[0]
    pairs = [Atoms("Ar2", positions=[[0, 0, 0], [x, 0, 0]]) for x in (3.85, 4.4, 3.822)]
    return [*argons(4), clash, *pairs, *argons(6)[4:]]


def large():
    """More than are evaluated at once."""
    return [atoms.repeat(3) for atoms in argons(8)]


def cases():
    """By name, a driver and the number of its steps."""
    langevin = NVTLangevin(temperature=30.0, dt=2.0, friction=0.01, max_steps=15)
    npt = NPT(temperature=30.0, pressure=0.1, dt=2.0)
    wide = fire(0.01, cell=FrechetCell(), max_steps=25)
    return {
        "waiting": lambda: (Relaxation(many(), lennard_jones(), fire(), slots=3), 400),
        "all at once": lambda: (Relaxation(many(), lennard_jones(), fire()), 400),
        "lists grow": lambda: (Relaxation(argons(5, a=7.5), lennard_jones(), wide), 40),
        "dynamics": lambda: (Relaxation(argons(3), lennard_jones(), langevin + npt), 30),
        "in parts": lambda: (Relaxation(large(), lennard_jones(), fire()), 4),
        "lbfgs": lambda: (Relaxation(argons(2), lennard_jones(), LBFGS(), slots=1), 20),
    }


def found_by(made):
    driver, n_steps = made
    log, trajectory = RuntimeLog(), Trajectory("path.traj", every=3)
    driver.working_dir = f"by-{jax.process_index()}"
    if jax.process_count() > 1:
        driver.working_dir = "together"
    driver.run(n_steps, out=[log, trajectory], show_progress=False)
    state = driver.state
    after = [np.append(a.positions, a.get_velocities()) for a in state.atoms]
    return {
        "n_devices": driver.kernel.division.n_devices,
        "frames": len(ase.io.read(f"{driver.working_dir}/path.traj", ":")),
        "reasons": len("".join(state.reasons)),
        "energy": state.energy,
        "status": state.status,
        "steps": state.steps,
        "after": np.concatenate(after),
        **columns(log.data),
    }


if __name__ == "__main__":
    report(cases, found_by)

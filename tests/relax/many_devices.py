"""Relaxes and moves structures in many ways, in a process that `tests.layouts` has started."""

import ase.io
import numpy as np
from ase import Atoms

from ritz.loggers import RuntimeLog
from ritz.relax import LBFGS, NPT, FrechetCell, NVTLangevin, Relaxation, Trajectory
from tests import layouts
from tests.relax.systems import argons, fire, lennard_jones


def many():
    """Structures of two sizes, one of which fails at once."""
    clash = argons(1)[0]
    clash.positions[1] = clash.positions[0]
    pairs = [Atoms("Ar2", positions=[[0, 0, 0], [x, 0, 0]]) for x in (3.85, 4.4, 3.822)]
    return [*argons(4), clash, *pairs, *argons(6)[4:]]


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
        "lbfgs": lambda: (Relaxation(argons(2), lennard_jones(), LBFGS(), slots=1), 20),
    }


def run(*names: str) -> dict:
    found = {}
    for name, make in cases().items():
        if names and name not in names:
            continue
        driver, n_steps = make()
        log, trajectory = RuntimeLog(), Trajectory(f"{name}.traj", every=3)
        driver.run(n_steps, out=[log, trajectory], show_progress=False)
        state = driver.state
        rows = {
            key: log.data[key]["value"].tolist()
            for key in ("fmax", "energy", "running", "waiting", "converged", "failed")
        }
        by_slot = {key: history["value"] for key, history in log.data["structures"].items()}
        found[name] = {
            "devices": driver.kernel.division.n_devices,
            "rows": rows,
            "by slot": {key: np.asarray(value).tolist() for key, value in by_slot.items()},
            "result": [state.energy.tolist(), state.status.tolist(), state.steps.tolist()],
            "positions": [np.append(a.positions, a.get_velocities()).tolist() for a in state.atoms],
            "reasons": len("".join(state.reasons)),
            "frames": [len(ase.io.read(f"{name}.traj", ":"))],
        }
    return found


if __name__ == "__main__":
    layouts.main(run)

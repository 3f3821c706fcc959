"""Atoms of the second row, with and without pseudopotentials, H2O and N2: 2,000 steps, three seeds.

Usage: python -m benchmarks.molecule_smoke [SYSTEM SEED | table]

All numbers of every step must be finite. Settings are the defaults, but for the number of walkers.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.molecule_stages import judged, pretrained
from benchmarks.report import RESULTS, Table, report
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Molecule
from ritz.molecule.presets import preset

RUNS = RESULTS / "molecule_smoke_runs"

WATER: list[tuple[str, Sequence[float]]] = [
    ("O", (0, 0, 0.2217)),
    ("H", (0, 1.4309, -0.8867)),
    ("H", (0, -1.4309, -0.8867)),
]
"""In bohr."""

SYSTEMS: dict[str, tuple[Any, str | None, int, float]] = {
    "N": ("N", None, 256, -54.5892),
    "N, ccECP": ("N", "ccecp", 256, -9.761406),
    "O, ccECP": ("O", "ccecp", 256, -15.874188),
    "Ne, ccECP": ("Ne", "ccecp", 256, -35.013349),
    "H2O": (WATER, None, 128, -76.438),
    "H2O, ccECP": (WATER, "ccecp", 128, -17.240572),
    "N2": ("N2", None, 128, -109.5423),
}
"""Atoms, pseudopotential, number of walkers, and the energy to compare with: the exact one or its
best estimate with all electrons, UCCSD(T)/ccecp-cc-pVQZ with pseudopotentials."""

SEEDS = (0, 1, 2)
N_PRETRAINED, N_TRAINED, N_EVALUATED = 2000, 2000, 500


def one(system: str, seed: int) -> dict[str, Any]:
    """A run."""
    atoms, ecp, n_walkers, known = SYSTEMS[system]
    molecule = Molecule(atoms, "bohr" if isinstance(atoms, list) else None, ecp=ecp)
    network = preset("small", molecule)
    begin = time.process_time()
    first = pretrained(molecule, network, N_PRETRAINED, n_walkers=n_walkers, seed=seed)
    middle, log = time.process_time(), RuntimeLog()
    driver = VMC(molecule, network, **first)
    driver.run(N_TRAINED, show_progress=False, out=log)
    end = time.process_time()
    rows = {name: np.asarray(log.data["energy"][name]) for name in ("Mean", "Variance")}
    finite = all(np.all(np.isfinite(x)) for x in rows.values())
    judgement = judged(driver, network, N_EVALUATED, n_burn_in=50, seed=seed)
    return {
        "system": system,
        "seed": seed,
        "steps": driver.step_count,
        "finite": bool(finite),
        "retries": int(np.sum(log.data["retries"]["value"])) if "retries" in log.data else 0,
        "pretrained": middle - begin,
        "trained": end - middle,
        **judgement._asdict(),
        "known": known,
        "curve": rows["Mean"].reshape(-1, 50).mean(axis=1).tolist(),
    }


def measure() -> Table:
    """All runs, each in a process of its own."""
    for system in SYSTEMS:
        for seed in SEEDS:
            subprocess.run([sys.executable, "-m", __name__, system, str(seed)], check=True)
    return table()


def table() -> Table:
    """A row for each run, from the files."""
    rows = []
    for system in SYSTEMS:
        for seed in SEEDS:
            file = RUNS / f"{system.replace(', ', '_')}_{seed}.json"
            if not file.exists():
                continue
            run = json.loads(file.read_text())
            rows.append(
                [
                    system, seed, run["steps"], "yes" if run["finite"] else "no",
                    f"{run['energy']:.4f}", run["error"],
                    1e3 * (run["energy"] - run["known"]), run["variance"],
                    "–" if run["trained"] is None else run["pretrained"] + run["trained"],
                ]
            )  # fmt: skip
    return Table(
        name="molecule_smoke",
        title="The second row: 2,000 steps from each seed",
        header=[
            "system", "seed", "steps", "finite", "energy", "its error", "mHa above reference",
            "variance", "seconds",
        ],
        rows=rows,
        remarks="SPRING with the preset \"small\" (3 x 32/16, 4 determinants), 2,000 steps of "
        "pretraining, 256 walkers for atoms and 128 for molecules; seconds of one core, where it "
        "had no other work. References: exact "
        "energies or their best estimates; with pseudopotentials UCCSD(T)/ccecp-cc-pVQZ. All but "
        "H2O, Ne seed 2 and N2 seed 2 began with a width of the sampler of 0.3 bohr, whatever the "
        "number of electrons.",
    )  # fmt: skip


def main() -> None:
    """One run, into its file; all of them without arguments."""
    if not sys.argv[1:]:
        report(measure())
        return
    if sys.argv[1:] == ["table"]:
        report(table())
        return
    system, seed = sys.argv[1], int(sys.argv[2])
    RUNS.mkdir(parents=True, exist_ok=True)
    file = RUNS / f"{system.replace(', ', '_')}_{seed}.json"
    file.write_text(json.dumps(one(system, seed), indent=2) + "\n")


if __name__ == "__main__":
    main()

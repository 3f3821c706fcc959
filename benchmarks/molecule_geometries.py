"""Relaxed bond lengths of H2 and LiH, and a dissociation curve of LiH in one run, with its picture.

Usage: python -m benchmarks.molecule_geometries [relax H2 SEED | relax LiH SEED | scan | table]
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.molecule_stages import pretrained
from benchmarks.report import RESULTS, Table, report
from ritz.loggers import RuntimeLog
from ritz.molecule import Molecule, Relaxation, Scan
from ritz.molecule.presets import preset
from ritz.relax import LBFGS, ConvergenceHook

RUNS = RESULTS / "molecule_geometries_runs"
"""A file for each run, so that one can be repeated alone."""
PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "lih.png"

BONDS = {"H2": (1.7, 1.4011, 0.1), "LiH": (3.6, 3.015, 0.1)}
"""Bond lengths in bohr from which relaxation begins and of the minimum (Huber and Herzberg 1979),
and the largest force allowed, in eV/Angstrom."""

DISTANCES = (2.4, 2.7, 3.015, 3.4, 4.0, 4.7, 5.5, 6.5, 8.0, 10.0)
"""Of the scan of LiH, in bohr."""

ATOMS = -7.47806032 - 0.5
"""Exact energy of the atoms, in hartree."""

SEEDS = (0, 1, 2)


def at(name: str, distance: float) -> Molecule:
    """A diatomic molecule with this bond length in bohr."""
    return Molecule(name).at(np.array([[0, 0, 0], [0, 0, distance]]))


def relaxed(name: str, seed: int) -> dict[str, Any]:
    """A relaxation from a stretched bond."""
    start, _, threshold = BONDS[name]
    molecule = at(name, start)
    network = preset("small", molecule)
    begin = time.perf_counter()
    driver = Relaxation(
        molecule,
        network,
        stage=LBFGS(convergence_hook=ConvergenceHook.from_fmax(threshold), max_steps=15),
        n_first=1000 if name == "LiH" else 300,
        n_updates=100,
        n_measured=400,
        **pretrained(molecule, network, seed=seed),
    )
    log = RuntimeLog()
    driver.run(20_000, show_progress=False, out=log)
    measured = driver.measured
    curvature = {"H2": 0.37, "LiH": 0.066}[name]
    return {
        "name": name,
        "seed": seed,
        "status": driver.status,
        "geometries": int(log.data["geometry"]["value"][-1]) + 1,
        "steps": driver.step_count,
        "seconds": time.perf_counter() - begin,
        "bond": float(np.linalg.norm(np.subtract(*driver.molecule.positions))),
        "error": float(np.max(measured.force_errors) / curvature),
        "fmax": driver.fmax,
        "energy": float(measured.energy),
        "energy_error": float(measured.energy_error),
    }


def scanned(seed: int = 0) -> dict[str, Any]:
    """The dissociation of LiH."""
    molecules = [at("LiH", distance) for distance in DISTANCES]
    network = preset("small", molecules[0])
    begin = time.perf_counter()
    driver = Scan(
        molecules,
        network,
        n_first=1000,
        n_updates=1000,
        n_measured=400,
        **pretrained(molecules[0], network, seed=seed),
    )
    driver.run(driver.n_steps, show_progress=False, out=())
    return {
        "seconds": time.perf_counter() - begin,
        "distances": DISTANCES,
        "energies": driver.energies.tolist(),
        "errors": driver.energy_errors.tolist(),
    }


def full_ci(distance: float) -> float:
    """Energy of LiH by full configuration interaction of its two valence electrons, in hartree.

    In cc-pVQZ. Singles and doubles are all that two electrons have.
    """
    from pyscf import ci, gto, scf

    atoms = f"Li 0 0 0; H 0 0 {distance}"
    molecule = gto.M(atom=atoms, unit="bohr", basis="cc-pvqz", verbose=0)
    mean_field = scf.RHF(molecule).run()
    return float(ci.CISD(mean_field, frozen=1).run().e_tot)


def draw(scan: dict[str, Any]) -> None:
    """The picture of the scan, beside full configuration interaction."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    distances = np.array(scan["distances"])
    known = np.array([full_ci(distance) for distance in (*distances, 30.0)])
    ax.plot(
        distances,
        1e3 * (known[:-1] - known[-1]),
        "k-",
        lw=1,
        label="full CI of the valence, cc-pVQZ",
    )
    found, errors = np.array(scan["energies"]) - ATOMS, np.array(scan["errors"])
    ax.errorbar(distances, 1e3 * found, 1e3 * errors, fmt="o", ms=4, capsize=2, label="Ritz")
    ax.axhline(0, color="grey", lw=0.8, ls=":")
    ax.set(xlabel="R (bohr)", ylabel="E - E(Li) - E(H) (mHa)", title="Dissociation of LiH")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(PICTURE, dpi=120)


def measure() -> Table:
    """All relaxations and the scan."""
    for name in BONDS:
        for seed in SEEDS:
            _save(f"relax_{name}_{seed}", relaxed(name, seed))
    scan = scanned()
    _save("scan", scan)
    draw(scan)
    return table()


def _save(name: str, found: Any) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    (RUNS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


def table() -> Table:
    """The relaxed bond lengths, from the files."""
    rows = []
    for name, (start, exact, threshold) in BONDS.items():
        for file in sorted(RUNS.glob(f"relax_{name}_*.json")):
            run = json.loads(file.read_text())
            rows.append(
                [
                    name, run["seed"], start, run["status"], run["geometries"], run["bond"],
                    run["error"], exact, run["fmax"], threshold, run["seconds"],
                ]
            )  # fmt: skip
    return Table(
        name="molecule_geometries",
        title="Bond lengths by forces of variational Monte Carlo",
        header=[
            "molecule", "seed", "begins at", "status", "geometries", "bond (bohr)", "its error",
            "experiment", "fmax (eV/Angstrom)", "at most", "seconds",
        ],
        rows=rows,
        picture=PICTURE.name if PICTURE.exists() else "",
        remarks='The preset "small", 512 walkers, SPRING, L-BFGS; at each geometry 100 steps of '
        "training and 400 of measurement. Errors are those of the last force over the curvature.",
    )  # fmt: skip


def main() -> None:
    """All, or one part."""
    if sys.argv[1:2] == ["relax"]:
        if len(sys.argv) != 4:
            sys.exit("give a molecule and a seed: relax LiH 0")
        name, seed = sys.argv[2:]
        _save(f"relax_{name}_{seed}", relaxed(name, int(seed)))
    elif sys.argv[1:2] == ["scan"]:
        scan = scanned()
        _save("scan", scan)
        draw(scan)
    elif sys.argv[1:] == ["table"]:
        report(table())
    else:
        report(measure())


if __name__ == "__main__":
    main()

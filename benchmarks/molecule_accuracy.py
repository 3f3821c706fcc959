"""Energies of small molecules by `ritz molecule` with its default settings, from several seeds.

Each run trains, then evaluates the frozen parameters; errors are blocked.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Table

SYSTEMS = {
    "H": 0.1, "H2+": 0.1, "He": 0.1, "H2": 0.1, "H3+": 0.2, "Li": 1.0, "Be": 1.0, "LiH": 1.0,
}  # fmt: skip
"""Largest distance from the exact energy or its best estimate, in mHa."""

SEEDS = (0, 1, 2)

PICTURE = "molecule.png"
"""Energies against time, see `benchmarks.molecule_curves`."""


def one(name: str, seed: int) -> dict[str, float]:
    """The summary of a run, with the seconds that it took in all."""
    with tempfile.TemporaryDirectory() as folder:
        given = [f"folder={folder}", "progress=false"]
        start = time.perf_counter()
        for command in (["train", f"system={name}", f"seed={seed}"], ["evaluate"]):
            arguments = [sys.executable, "-m", "ritz", "molecule", *command, *given]
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        return {**json.loads((Path(folder) / "summary.json").read_text()), "seconds": seconds}


def measure() -> Table:
    """Run all systems from all seeds."""
    return table({(name, seed): one(name, seed) for name in SYSTEMS for seed in SEEDS})


def table(runs: dict[tuple[str, int], dict[str, float]]) -> Table:
    """A row for each system and seed, from their summaries."""
    rows, met = [], 0
    for (name, seed), found in runs.items():
        off, error = (1e3 * x for x in (found["energy"] - found["exact"], found["error"]))
        good = -3 * error <= off <= SYSTEMS[name]
        met += good
        row = [name, seed, found["energy"], found["exact"], off, error, SYSTEMS[name], good]
        rows.append([*row, found["variance_per_electron"], found["seconds"]])
    return Table(
        name="molecule_accuracy",
        title="Small molecules with the default settings",
        header=[
            "system", "seed", "energy (Ha)", "reference", "difference (mHa)", "error (mHa)",
            "target", "met", "variance an electron", "seconds in all",
        ],
        rows=rows,
        remarks="`ritz molecule train system=NAME seed=K` and `evaluate`, on the cores of this "
        "machine: pretraining, training, evaluation and compilation in all.",
        picture=PICTURE,
        findings={"runs within the target, and not below by more than 3 errors": met},
    )  # fmt: skip

"""Ground states of lattices by the presets: relative errors of frozen parameters.

Usage: python -m benchmarks.lattice_proof [CASE SEED | table]

Each run is that of the command line, `ritz lattice train preset=...` and `evaluate`; small spaces
are judged by a sum over all configurations, others by fresh samples. `table` makes the table of the
runs that there are.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import RESULTS, Table, report

RUNS = RESULTS / "lattice_proof"
AS_TRAINED = ["evaluate.symmetrize=[]"]
SUM = ["evaluate.full_sum=true", "evaluate.iterations=2", "evaluate.burn_in=0"]

CASES: dict[str, tuple[list[str], list[str], float, float]] = {
    "TFIM chain 32, h=1": (["preset=tfim-chain", "extent=[32]"], [], 1e-5, 5),
    "Heisenberg 4x4": (["preset=heisenberg-square", "extent=[4,4]"], SUM, 1e-6, 4),
    "J1-J2 4x4, 0.5": (["preset=j1j2-square", "extent=[4,4]"], SUM, 1e-4, 15),
    "Heisenberg 6x6": (["preset=heisenberg-square", "extent=[6,6]"], AS_TRAINED, 1e-3, 15),
    "Hubbard 4x2, U=8": (["preset=hubbard-square", "extent=[4,2]"], SUM, 1e-3, 15),
}
"""Settings of both commands, those of the evaluation, wanted error and minutes."""


def run(case: str, seed: int) -> dict[str, object]:
    """Train and evaluate."""
    both, of_evaluation, _, _ = CASES[case]
    folder = RUNS / f"{case.replace(' ', '_').replace(',', '')}_{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "ritz", "lattice"]
    common = [*both, f"folder={folder}", f"seed={seed}", "--progress=false"]
    begin = time.perf_counter()
    subprocess.run([*command, "train", *common], check=True)
    seconds = time.perf_counter() - begin
    subprocess.run([*command, "evaluate", *common, *of_evaluation], check=True)
    summary = json.loads((folder / "summary.json").read_text())
    found = {"case": case, "seed": seed, "seconds": seconds, "summary": summary}
    (RUNS / f"{folder.name}.json").write_text(json.dumps(found, indent=1))
    return found


def table() -> None:
    """Write the table of the runs that there are."""
    rows = []
    for case, (_, _, wanted, minutes) in CASES.items():
        for path in sorted(Path(RUNS).glob("*.json")):
            found = json.loads(path.read_text())
            if found["case"] != case:
                continue
            exact, result = found["summary"]["exact"], found["summary"]["evaluate"]
            relative = (result["energy"] - exact) / abs(exact)
            taken, bar = found["seconds"] / 60, result["error"] / abs(exact)
            rows.append((case, found["seed"], taken, relative, bar, wanted, minutes))
    head = ("case", "seed", "minutes", "relative error", "error bar", "wanted", "within minutes")
    report(
        Table(
            "lattice_proof",
            "Lattices by the presets",
            head,
            rows,
            "`ritz lattice train preset=...` with compilation, J1-J2 on two quiet cores, the "
            "others each on one that other work shared, so that times are upper bounds; frozen "
            "parameters, by full sums where the error bar is 0.",
        )
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        table()
    elif sys.argv[1:]:
        RUNS.mkdir(parents=True, exist_ok=True)
        run(sys.argv[1], int(sys.argv[2]))
    else:
        RUNS.mkdir(parents=True, exist_ok=True)
        for name in CASES:
            for number in range(3):
                run(name, number)
        table()

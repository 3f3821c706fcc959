"""SPRING and MARCH with several momenta on lattices, beside minSR: what their defaults should be.

Usage: python -m benchmarks.lattice_momentum [run | table]

Each run is judged by a sum over all configurations after a fixed number of steps. Runs are kept in
files, so that what was stopped goes on.
"""

import itertools
import json
import sys
import time
from typing import Any

import jax
import netket as nk
import numpy as np
import scipy.sparse.linalg

from benchmarks.lattice_robustness import heisenberg, ising
from benchmarks.report import RESULTS, Table, report
from ritz.lattice import VMC, mc_state
from ritz.lattice.models import JastrowRBM, ResNet
from ritz.loggers import RuntimeLog
from ritz.updates import MARCH, SPRING, MinSR

RUNS = RESULTS / "lattice_momentum"
N_SAMPLES, N_STEPS, SHIFT = 512, 200, 1e-3
MOMENTA = (0.8, 0.9, 0.95, 0.99)
RATES = (0.01, 0.03)
SYSTEMS: dict[str, Any] = {
    "TFIM 16": (lambda: ising((16,), 1.0), lambda: JastrowRBM((16,), alpha=4)),
    "Heisenberg 4x4": (
        lambda: heisenberg((4, 4)),
        lambda: ResNet((4, 4), depth=1, width=6, kernel_size=3),
    ),
    "J1-J2 4x4, 0.5": (
        lambda: heisenberg((4, 4), 0.5),
        lambda: ResNet((4, 4), depth=1, width=6, kernel_size=3, complex_output=True),
    ),
}


def rules() -> dict[str, Any]:
    """The contenders."""
    found: dict[str, Any] = {"minSR": MinSR(SHIFT)}
    for momentum in MOMENTA:
        found[f"SPRING {momentum}"] = SPRING(SHIFT, momentum=momentum)
        found[f"MARCH {momentum}"] = MARCH(SHIFT, momentum=momentum)
    return found


def run(system: str, rule: Any, rate: float, seed: int) -> dict[str, Any]:
    """Relative error at the end, the largest in the second half, steps shortened and taken back."""
    (hamiltonian, graph, _), model = SYSTEMS[system][0](), SYSTEMS[system][1]()
    hilbert = hamiltonian.hilbert
    matrix = hamiltonian.to_sparse()
    exact = scipy.sparse.linalg.eigsh(matrix, k=1, which="SA")[0][0]
    sizes: dict[str, Any] = {"n_samples": N_SAMPLES, "seed": seed, "sampler_seed": seed + 1}
    state = mc_state(model, hilbert, graph=graph, chunk_size=4096, **sizes)
    driver, log = VMC(hamiltonian, rate, variational_state=state, update=rule), RuntimeLog()
    driver.burn_in(20)
    driver.run(N_STEPS, out=log, show_progress=False)
    psi = nk.vqs.FullSumState(hilbert, model, variables=state.variables).to_array()
    energy = float(np.real(np.conj(psi) @ (matrix @ np.asarray(psi))))
    scales = np.asarray(log.data["info"]["step_scale"].values)
    marks = log.data["suspect"].values if "suspect" in log.data else []
    return {
        "error": (energy - exact) / abs(exact),
        "shortened": int(np.sum(scales < 1)),
        "back": sum("taken_back" in str(mark) for mark in marks),
    }


def measure() -> None:
    """Take the runs that are missing."""
    RUNS.mkdir(parents=True, exist_ok=True)
    cases = itertools.product(SYSTEMS, rules().items(), RATES, range(2))
    for number, (system, (name, rule), rate, seed) in enumerate(cases):
        path = RUNS / f"{number}.json"
        if path.exists():
            continue
        begin = time.perf_counter()
        found = {"system": system, "rule": name, "rate": rate, "seed": seed}
        found |= run(system, rule, rate, seed)
        path.write_text(json.dumps(found | {"seconds": time.perf_counter() - begin}, indent=1))
        sys.stderr.write(f"{found}\n")
        jax.clear_caches()


def table() -> None:
    """Write the table of the runs that there are: both seeds of each."""
    runs = [json.loads(path.read_text()) for path in RUNS.glob("*.json")]
    rows = []
    for system, rate, rule in itertools.product(SYSTEMS, RATES, rules()):
        same = [r for r in runs if (r["system"], r["rate"], r["rule"]) == (system, rate, rule)]
        if same:
            errors = sorted(r["error"] for r in same)
            shortened, back = (sum(r[key] for r in same) for key in ("shortened", "back"))
            rows.append((system, rate, rule, errors[0], errors[-1], shortened, back))
    head = ("system", "rate", "rule", "lower error", "higher error", "shortened", "taken back")
    remarks = (
        f"Relative errors of frozen parameters after {N_STEPS} steps with {N_SAMPLES} samples, by "
        f"full sum; two seeds, of J1-J2 one or none for some rules; diagonal shift {SHIFT}."
    )
    report(Table("lattice_momentum", "SPRING and MARCH on lattices", head, rows, remarks))


if __name__ == "__main__":
    if sys.argv[1:] != ["table"]:
        measure()
    if sys.argv[1:] != ["run"]:
        table()

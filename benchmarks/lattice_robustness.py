"""Random runs with default settings: how many end finite and below the mean-field energy.

Usage: python -m benchmarks.lattice_robustness [ritz | netket | table] [PART OF]

Both libraries take the same 200 runs, drawn once: systems, models, numbers of samples and chains,
samplers, seeds, learning rates within a factor of ten. A run is good if all of its energies are
finite and the mean of its last ten is below that of the best product state. Each run is kept in a
file, so that what was stopped goes on; with `0 4` every fourth is taken.
"""

import json
import sys
import time
import warnings
from typing import Any

import jax
import netket as nk
import numpy as np
from jax.nn import initializers

from benchmarks.report import RESULTS, Table, report
from ritz.lattice import VMC, MetropolisExchange, MetropolisLocal
from ritz.lattice.models import JastrowRBM, ResNet, ViT
from ritz.loggers import RuntimeLog
from ritz.updates import stochastic_reconfiguration

RUNS = RESULTS / "lattice_robustness"
N_RUNS, N_STEPS = 200, 120
DIAG_SHIFT = 0.01
RATES = (0.02, 0.05, 0.1)


def ising(extent: tuple[int, ...], field: float) -> Any:
    """Hamiltonian, graph and the energy of the best product state."""
    graph = nk.graph.Grid(extent)
    n, half = graph.n_nodes, len(extent)
    sine = min(field / (2 * half), 1.0)
    product = -n * (half * (1 - sine**2) + field * sine)
    hilbert = nk.hilbert.Spin(0.5, n)
    return nk.operator.IsingJax(hilbert, graph=graph, h=field, J=-1.0), graph, product


def heisenberg(extent: tuple[int, ...], J2: float = 0.0) -> Any:
    """The same in Pauli matrices, with Marshall's sign rule; the product state is Neel's."""
    graph = nk.graph.Grid(extent)
    n, half = graph.n_nodes, len(extent)
    hilbert = nk.hilbert.Spin(0.5, n, total_sz=0)
    product = -n * half * (1 - J2)
    if J2:
        both = nk.graph.Square(extent[0], max_neighbor_order=2)
        operator = nk.operator.Heisenberg(hilbert, both, J=[1.0, J2], sign_rule=[True, False])
    else:
        operator = nk.operator.Heisenberg(hilbert, graph, sign_rule=True)
    return operator.to_jax_operator(), graph, product


SYSTEMS: dict[str, Any] = {
    "TFIM 16, h=0.5": lambda: ising((16,), 0.5),
    "TFIM 16, h=1": lambda: ising((16,), 1.0),
    "TFIM 16, h=1.5": lambda: ising((16,), 1.5),
    "TFIM 4x4, h=3": lambda: ising((4, 4), 3.0),
    "Heisenberg 16": lambda: heisenberg((16,)),
    "Heisenberg 4x4": lambda: heisenberg((4, 4)),
    "J1-J2 4x4, 0.5": lambda: heisenberg((4, 4), 0.5),
}

MODELS: dict[str, Any] = {
    "RBM": lambda extent: nk.models.RBM(alpha=1),
    "RBM, alpha 4": lambda extent: nk.models.RBM(alpha=4),
    "RBM, complex": lambda extent: nk.models.RBM(alpha=2, param_dtype=complex),
    "RBM, wide start": lambda extent: nk.models.RBM(alpha=2, kernel_init=initializers.normal(0.3)),
    "MLP": lambda extent: nk.models.MLP(hidden_dims=(32, 16), param_dtype=float),
    "Jastrow": lambda extent: nk.models.Jastrow(param_dtype=float),
    "JastrowRBM": lambda extent: JastrowRBM(extent),
    "ResNet": lambda extent: ResNet(extent, depth=1, width=4, kernel_size=3),
    "ResNet, complex": lambda extent: ResNet(
        extent, depth=1, width=4, kernel_size=3, complex_output=True
    ),
    "ViT": lambda extent: ViT(extent, depth=1, width=8),
}


def draws() -> list[dict[str, Any]]:
    """The runs."""
    random = np.random.default_rng(2026)
    found = []
    for number in range(N_RUNS):
        n_samples = int(random.choice([256, 512, 1024]))
        found.append(
            {
                "number": number,
                "system": str(random.choice(list(SYSTEMS))),
                "model": str(random.choice(list(MODELS))),
                "n_samples": n_samples,
                "n_chains": int(random.choice([16, 64, n_samples])),
                "sampler": str(random.choice(["plain", "hamiltonian", "ritz"])),
                "rate": float(random.choice(RATES)),
                "seed": int(random.integers(1_000_000)),
            }
        )
    return found


def state_of(draw: dict[str, Any]) -> tuple[Any, Any, float]:
    """The Hamiltonian, the state, and the energy of the product state."""
    hamiltonian, graph, product = SYSTEMS[draw["system"]]()
    hilbert, n_chains = hamiltonian.hilbert, draw["n_chains"]
    if draw["sampler"] == "hamiltonian":
        sampler: Any = nk.sampler.MetropolisHamiltonian(
            hilbert, hamiltonian=hamiltonian, n_chains=n_chains
        )
    elif draw["sampler"] == "ritz":
        kind: Any = MetropolisExchange if hilbert.constrained else MetropolisLocal
        more = {"graph": graph} if hilbert.constrained else {}
        sampler = kind(hilbert, n_chains=n_chains, **more)
    elif hilbert.constrained:
        sampler = nk.sampler.MetropolisExchange(hilbert, graph=graph, n_chains=n_chains)
    else:
        sampler = nk.sampler.MetropolisLocal(hilbert, n_chains=n_chains)
    model = MODELS[draw["model"]](tuple(int(n) for n in graph.extent))
    state = nk.vqs.MCState(
        sampler,
        model,
        n_samples=draw["n_samples"],
        seed=draw["seed"],
        sampler_seed=draw["seed"] + 1,
    )
    return hamiltonian, state, product


def with_ritz(draw: dict[str, Any]) -> tuple[np.ndarray, float, int, int]:
    """Energies of the steps, that of the product state, steps shortened and taken back."""
    hamiltonian, state, product = state_of(draw)
    rule = stochastic_reconfiguration(state.n_parameters, state.n_samples, diag_shift=DIAG_SHIFT)
    driver, log = VMC(hamiltonian, draw["rate"], variational_state=state, update=rule), RuntimeLog()
    driver.run(N_STEPS, out=log, show_progress=False)
    info = log.data["info"]
    scales = np.asarray(info["step_scale"].values)
    marks = log.data["suspect"].values if "suspect" in log.data else []
    back = ["taken_back" in str(mark) for mark in marks]
    energies = np.full(N_STEPS, np.nan)
    rows = np.asarray(log.data["Energy"]["Mean"]).real
    energies[: len(rows)] = rows
    return energies, product, int(np.sum(scales < 1)), int(np.sum(back))


def with_netket(draw: dict[str, Any]) -> tuple[np.ndarray, float, int, int]:
    """The same with NetKet's driver."""
    hamiltonian, state, product = state_of(draw)
    driver = nk.driver.VMC_SR(
        hamiltonian, nk.optimizer.Sgd(draw["rate"]), diag_shift=DIAG_SHIFT, variational_state=state
    )
    log = nk.logging.RuntimeLog()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        driver.run(N_STEPS, out=log, show_progress=False)
    return np.asarray(log.data["Energy"]["Mean"]).real, product, 0, 0


def measure(library: str, part: int = 0, of: int = 1) -> None:
    """Take the runs that are missing, those of one part."""
    run = {"ritz": with_ritz, "netket": with_netket}[library]
    folder = RUNS / library
    folder.mkdir(parents=True, exist_ok=True)
    for draw in draws()[part::of]:
        path = folder / f"{draw['number']}.json"
        if path.exists():
            continue
        begin = time.perf_counter()
        found: dict[str, Any] = {**draw}
        try:
            energies, product, shortened, back = run(draw)
            finite = bool(np.all(np.isfinite(energies)))
            last = float(np.mean(energies[-10:]))
            found |= {"finite": finite, "energy": last, "product": product}
            found |= {"good": finite and last < product, "shortened": shortened, "back": back}
        except Exception as error:  # a run that fails is a result
            found |= {"finite": False, "good": False, "error": f"{type(error).__name__}: {error}"}
        if draw["number"] % 10 == 9:
            jax.clear_caches()  # a program holds memory maps, of which there are not many
        found["seconds"] = time.perf_counter() - begin
        path.write_text(json.dumps(found, indent=1))
        sys.stderr.write(f"{library} {draw['number']}: {found.get('good')}\n")


def table() -> None:
    """Write the table of the runs that there are."""
    rows: list[tuple[object, ...]] = []
    for library in ("ritz", "netket"):
        runs = [json.loads(path.read_text()) for path in (RUNS / library).glob("*.json")]
        if not runs:
            continue
        good, finite = sum(run["good"] for run in runs), sum(run["finite"] for run in runs)
        back = sum(run.get("back", 0) for run in runs)
        shortened = sum(run.get("shortened", 0) > 0 for run in runs)
        rows.append((library, len(runs), finite, good, shortened, back))
    head = ("library", "runs", "finite", "good", "with shortened steps", "steps taken back")
    remarks = (
        f"{N_RUNS} random runs of {N_STEPS} steps, with SR and a diagonal shift of {DIAG_SHIFT}."
    )
    report(Table("lattice_robustness", "Random runs with defaults", head, rows, remarks))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.isdigit()] or ["ritz", "netket", "table"]
    share = [int(word) for word in sys.argv[1:] if word.isdigit()]
    for word in words:
        table() if word == "table" else measure(word, *share)

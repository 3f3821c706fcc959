"""Update rules at equal time, on lattices and in molecules.

Usage: python -m benchmarks.update_rules [SYSTEM RULE | table]

One run, or the table of those that there are; `measure` takes all of them. Each run trains for so
many seconds, compilation apart; then the parameters are frozen, and judged on fresh samples.
Settings are those of a domain, and the same for all of its systems.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
from flax import linen as nn

from benchmarks.lattice import scored
from benchmarks.molecule_curves import ASSETS, draw
from benchmarks.molecule_stages import judged, pretrained
from benchmarks.report import RESULTS, Table, report
from ritz.lattice import VMC as LatticeVMC
from ritz.lattice import mc_state
from ritz.lattice.ising import ising_chain, ising_chain_energy
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Molecule
from ritz.molecule.presets import preset
from ritz.molecule.vmc import default_rate, default_update
from ritz.updates import KFAC, MARCH, SPRING, SR, AbstractUpdateRule, Gradient, MinSR

RUNS = RESULTS / "update_rules_runs"
"""A file for each run, so that one can be repeated alone."""

Rules = dict[str, tuple[Any, AbstractUpdateRule]]
"""Name -> optimiser (or rate) and rule."""

SHIFT = optax.exponential_decay(0.1, 10, 0.5, end_value=1e-3)
"""Large at first, so that the chains can follow."""

# With a rate of 0.05, SR comes down faster on the chain, and SR and minSR diverge on 6x6 sites; so
# does MARCH with a rate of 0.02 and its default momentum, 0.95.

LATTICE: Rules = {
    "SR": (0.02, SR(SHIFT)),
    "minSR": (0.02, MinSR(SHIFT)),
    "SPRING": (0.02, SPRING(SHIFT, 0.9)),
    "MARCH": (0.02, MARCH(SHIFT, 0.9)),
    "KFAC": (0.05, KFAC(1e-3)),
    "Adam": (optax.adam(3e-3), Gradient()),
}

MOLECULES: Rules = {
    "minSR": (default_rate, MinSR(1e-3)),
    "SPRING": (default_rate, default_update()),
    "KFAC": (default_rate, KFAC(1e-3)),
    "Adam": (optax.adam(1e-3), Gradient()),
}


class Convolutions(nn.Module):
    """Two layers of eight channels on a periodic lattice, then log cosh, summed."""

    extent: int = 6

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Log psi of spins, shape (n, n_sites)."""
        h = x.reshape(-1, self.extent, self.extent, 1).astype(float)
        for _ in range(2):
            h = nn.Conv(8, (3, 3), padding="CIRCULAR", param_dtype=float)(h)
            h = nk.nn.activation.log_cosh(h)
        return jnp.sum(h, axis=(1, 2, 3)) / self.extent


def _ising() -> tuple[Any, Any, float]:
    hamiltonian = ising_chain(40, 1.0)
    state = mc_state(nk.models.RBM(alpha=1), hamiltonian.hilbert, seed=1, sampler_seed=2)
    return hamiltonian, state, ising_chain_energy(40, 1.0)


def _heisenberg() -> tuple[Any, Any, float]:
    graph = nk.graph.Square(6)
    hilbert = nk.hilbert.Spin(0.5, 36, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, sign_rule=True).to_jax_operator()
    state = mc_state(Convolutions(), hilbert, graph=graph, n_samples=512, seed=1, sampler_seed=2)
    return hamiltonian, state, -97.7575895972357


LATTICES: dict[str, Callable[[], tuple[Any, Any, float]]] = {
    "TFIM 40, RBM": _ising,
    "Heisenberg 6x6, convolutions": _heisenberg,
}

SECONDS = {
    "TFIM 40, RBM": (20, 60),
    "Heisenberg 6x6, convolutions": (60, 240),
    "He": (30, 120),
    "LiH": (300, 900),
    "Be": (300, 900),
}
"""The times at which each system is judged."""

DRAWN, PICTURE = ("LiH", "Be"), "update_rules.png"
"""Systems with a picture of their curves."""

N_EVALUATED = 2000
"""Steps of sampling in which a molecule is judged."""


def trained(driver: Any, times: tuple[int, ...], judge: Callable[[], tuple[float, float]]) -> list:
    """Steps, seconds, energy and error at each time.

    The curve up to there has seconds, mean energy and mean variance of stretches of steps.
    """
    begin = time.perf_counter()
    driver.run(1, show_progress=False, out=())
    driver.run(8, show_progress=False, out=())
    compiled, spent, found, length = time.perf_counter() - begin, 0.0, [], 8
    for limit in times:
        curve: list[tuple[float, float, float]] = []
        while spent < limit:
            start, before, log = time.perf_counter(), driver.step_count, RuntimeLog()
            driver.run(length, show_progress=False, out=log)
            seconds = time.perf_counter() - start
            spent += seconds
            rows = log.data["energy" if "energy" in log.data else "Energy"]
            curve += [(spent, float(np.mean(rows["Mean"]).real), float(np.mean(rows["Variance"])))]
            length = max(1, min(length * 2 if seconds < limit / 20 else length, 256))
            if driver.step_count == before:
                break
        energy, error = judge()
        found.append(
            {
                "limit": limit, "seconds": spent, "steps": driver.step_count, "compiled": compiled,
                "energy": energy, "error": error, "curve": curve,
            }
        )  # fmt: skip
    return found


def one(system: str, rule: str) -> dict[str, Any]:
    """A run, with its results at all times."""
    if system in LATTICES:
        hamiltonian, state, exact = LATTICES[system]()
        optimizer, update = LATTICE[rule]
        driver: Any = LatticeVMC(hamiltonian, optimizer, variational_state=state, update=update)
        points = trained(driver, SECONDS[system], lambda: scored(driver))
    else:
        molecule = Molecule(system)
        network = preset("small", molecule)
        optimizer, update = MOLECULES[rule]
        begin = pretrained(molecule, network)
        driver = VMC(molecule, network, optimizer, update=update, **begin)
        exact = molecule.energy or 0.0

        def judge() -> tuple[float, float]:
            return judged(driver, network, N_EVALUATED, n_burn_in=100)[:2]

        points = trained(driver, SECONDS[system], judge)
    return {"system": system, "rule": rule, "exact": exact, "points": points}


def _file(system: str, rule: str) -> Path:
    name = f"{system} {rule}".replace(", ", " ").replace(" ", "_")
    return RUNS / f"{name}.json"


def measure() -> Table:
    """All runs, each in a process of its own."""
    for system in SECONDS:
        for rule in LATTICE if system in LATTICES else MOLECULES:
            subprocess.run([sys.executable, "-m", __name__, system, rule], check=True)
    return table()


def table() -> Table:
    """A row for each run and time, from the files."""
    rows = []
    for system in SECONDS:
        for rule in LATTICE if system in LATTICES else MOLECULES:
            file = _file(system, rule)
            if not file.exists():
                continue
            run = json.loads(file.read_text())
            for point in run["points"]:
                off, error = point["energy"] - run["exact"], point["error"]
                told = [off / abs(run["exact"]), error / abs(run["exact"])]
                if system not in LATTICES:
                    told = [1e3 * off, 1e3 * error]
                milliseconds = 1e3 * point["seconds"] / point["steps"]
                rows.append([system, point["limit"], rule, point["steps"], milliseconds, *told])
    nearest: dict[str, dict[str, tuple[float, float]]] = {}
    for system, limit, rule, *_, distance, error in rows:
        of_time = nearest.setdefault(f"{system}, {limit} s: not beaten by two errors", {})
        of_time[rule] = abs(distance), error
    return Table(
        name="update_rules",
        title="Update rules at equal time",
        header=["system", "seconds", "rule", "steps", "ms a step", "distance", "its error"],
        rows=rows,
        picture=PICTURE,
        findings={what: ", ".join(_unbeaten(rules)) for what, rules in nearest.items()},
        remarks="Distances from the exact energy, or its best estimate: relative on lattices, in "
        "mHa in molecules; of the parameters at that time, on fresh samples. Compilation is not "
        "counted. Networks: RBM with alpha=1, 1,024 samples; two convolutions of 8 channels, 512 "
        'samples; the preset "small", 512 walkers, 300 steps of pretraining before. Rates on '
        "lattices: 0.02, KFAC 0.05, Adam 0.003; diagonal shifts fall from 0.1 to 0.001 (KFAC: "
        "0.001); momentum 0.9. In molecules the defaults, Adam 0.001. One core each.",
    )


def _unbeaten(rules: dict[str, tuple[float, float]]) -> list[str]:
    """The rules from which no other is nearer by two errors of the difference."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return other[0] - one[0] > 2 * float(np.hypot(one[1], other[1]))

    return [name for name, own in rules.items() if not any(beats(x, own) for x in rules.values())]


def curves() -> None:
    """The picture of energies against time in training."""
    found: dict[str, Any] = {}
    for system in DRAWN:
        for rule in MOLECULES:
            file = _file(system, rule)
            if file.exists():
                points = json.loads(file.read_text())["points"]
                # The clock goes on from point to point.
                seconds, energies, _ = np.array([row for p in points for row in p["curve"]]).T
                found.setdefault(system, {})[rule] = seconds, energies
    draw(found, ASSETS / PICTURE, "seconds of training")


def main() -> None:
    """One run, into its file; `table` for the table of those that there are."""
    if sys.argv[1:] == ["table"]:
        curves()
        report(table())
        return
    system, rule = sys.argv[1:]
    RUNS.mkdir(parents=True, exist_ok=True)
    _file(system, rule).write_text(json.dumps(one(system, rule), indent=2) + "\n")


if __name__ == "__main__":
    main()

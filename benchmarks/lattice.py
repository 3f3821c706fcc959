"""A step of lattice VMC against `netket.driver.VMC_SR`, with equal numbers of everything.

Contenders take the same number of steps from the same parameters, in turns. Energies are those of
the parameters that each ends with, on fresh samples.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import netket as nk
import optax
from threadpoolctl import threadpool_limits

from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.lattice import VMC, MetropolisExchange, MetropolisLocal
from ritz.lattice.ising import ising_chain, ising_chain_energy
from ritz.loggers import RuntimeLog
from ritz.updates import SR, AbstractUpdateRule, MinSR

ROUNDS = 5
N_SCORED = 2**14
SHIFT = optax.exponential_decay(0.1, 10, 0.5, end_value=1e-2)
"""Large at first, so that the few chains can follow."""


@dataclasses.dataclass(frozen=True)
class System:
    """One Hamiltonian with all settings that both libraries share."""

    name: str
    hamiltonian: Any
    graph: Any
    exact: float
    n_samples: int
    n_chains: int
    update: Callable[..., AbstractUpdateRule]
    steps: int
    """Steps between two turns."""
    target: float
    """How many times faster Ritz must be."""
    target_single: float | None = None
    """The same with scores in single precision."""
    rate: float = 0.02
    model: Any = dataclasses.field(default_factory=lambda: nk.models.RBM(alpha=1))

    def state(self, ours: bool) -> nk.vqs.MCState:
        """A fresh state, with Ritz's or NetKet's sampler."""
        hilbert = self.hamiltonian.hilbert
        if hilbert.constrained:
            make: Any = MetropolisExchange if ours else nk.sampler.MetropolisExchange
            sampler = make(hilbert, graph=self.graph, n_chains=self.n_chains)
        else:
            make = MetropolisLocal if ours else nk.sampler.MetropolisLocal
            sampler = make(hilbert, n_chains=self.n_chains)
        return nk.vqs.MCState(sampler, self.model, n_samples=self.n_samples, seed=1, sampler_seed=2)

    def ritz(self, ours: bool, **options: Any) -> VMC:
        """Ritz's driver."""
        return self.driver(self.state(ours), **options)

    def driver(self, state: nk.vqs.MCState, **options: Any) -> VMC:
        """Ritz's driver of a state."""
        return VMC(
            self.hamiltonian,
            self.rate,
            variational_state=state,
            update=self.update(SHIFT),
            **options,
        )

    def netket(self) -> nk.driver.VMC_SR:
        """NetKet's driver."""
        return nk.driver.VMC_SR(
            self.hamiltonian,
            optax.sgd(self.rate),
            variational_state=self.state(False),
            diag_shift=SHIFT,
        )


def ising(n: int, n_samples: int, n_chains: int, **options: Any) -> System:
    """Critical transverse-field Ising chain."""
    return System(
        f"TFIM {n}",
        ising_chain(n, 1.0),
        None,
        ising_chain_energy(n, 1.0),
        n_samples,
        n_chains,
        **options,
    )


def heisenberg() -> System:
    """Heisenberg model on the 4 x 4 torus, with Marshall's sign rule."""
    graph = nk.graph.Square(4)
    hilbert = nk.hilbert.Spin(0.5, 16, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, sign_rule=True).to_jax_operator()
    return System("Heisenberg 4x4", hamiltonian, graph, -44.91393283371539, 512, 16, SR, 100, 1.8)


SYSTEMS: dict[str, Callable[[], System]] = {
    "ising10": lambda: ising(10, 512, 16, update=SR, steps=200, target=1.5),
    "ising20": lambda: ising(20, 512, 16, update=SR, steps=100, target=2.0),
    "heisenberg": heisenberg,
    "ising40": lambda: ising(40, 1024, 16, update=MinSR, steps=15, target=1.8, target_single=2.2),
    "ising80": lambda: ising(80, 1024, 16, update=MinSR, steps=5, target=1.8, target_single=2.2),
}


def runner(
    driver: Any, steps: int, threads: int | None = None, callback: Any = None
) -> Callable[[], None]:
    """Takes `steps` steps, as users do, with a log in memory."""
    log = RuntimeLog() if isinstance(driver, VMC) else nk.logging.RuntimeLog()

    def run() -> None:
        with threadpool_limits(threads, user_api="blas"):
            driver.run(steps, out=log, show_progress=False, callback=callback or ())

    return run


def scored(driver: Any) -> tuple[float, float]:
    """Energy and error bar of the present parameters on many fresh samples."""
    state = driver.state
    sampler = nk.sampler.MetropolisSampler(
        state.hilbert, state.sampler.rule, n_chains=1024, sweep_size=state.hilbert.size
    )
    fresh = nk.vqs.MCState(
        sampler,
        state.model,
        variables=state.variables,
        n_samples=N_SCORED,
        n_discard_per_chain=30,
        chunk_size=1024,
        seed=5,
        sampler_seed=6,
    )
    energy = fresh.expect(driver._ham if hasattr(driver, "_ham") else driver.hamiltonian)
    return float(energy.mean.real), float(energy.error_of_mean)


def measure_system(system: System) -> tuple[list[list[Any]], dict[str, float]]:
    """Rows of the table and the ratios that matter."""
    drivers: dict[str, tuple[Any, int | None]] = {
        "NetKet": (system.netket(), None),
        "NetKet, BLAS on 1 thread": (system.netket(), 1),
        "Ritz, NetKet's sampler": (system.ritz(False), None),
        "Ritz": (system.ritz(True), None),
    }
    if system.target_single is not None:
        drivers["Ritz, single-precision scores"] = (system.ritz(True, single_scores=True), None)
    timings = interleaved(
        {name: runner(d, system.steps, threads) for name, (d, threads) in drivers.items()}, ROUNDS
    )
    peer = timings["NetKet"].median
    rows = []
    for name, (driver, _) in drivers.items():
        energy, error = scored(driver)
        per_step = [1e3 * x / system.steps for x in timings[name].spread]
        rows.append(
            [
                system.name,
                name,
                *per_step,
                peer / timings[name].median,
                timings[name].first,
                driver.step_count,
                energy,
                error,
                (energy - system.exact) / abs(system.exact),
            ]
        )
    one_thread = timings["NetKet, BLAS on 1 thread"].median
    same = timings["Ritz, NetKet's sampler"].median
    name, target = system.name, system.target
    ratios = {
        f"{name}: speed against NetKet (target: {target})": peer / timings["Ritz"].median,
        f"{name}: the same with NetKet's sampler, so on the same samples": peer / same,
        f"{name}: NetKet's BLAS on one thread too (target: 1.3)": one_thread
        / timings["Ritz"].median,
        f"{name}: both, one thread and the same samples": one_thread / same,
    }
    if system.target_single is not None:
        ratios[
            f"{system.name}: with scores in single precision (target: {system.target_single})"
        ] = peer / timings["Ritz, single-precision scores"].median
    return rows, ratios


def measure() -> Table:
    """All systems."""
    rows, ratios = [], {}
    for make in SYSTEMS.values():
        more, found = measure_system(make())
        rows += more
        ratios.update(found)
    return Table(
        "lattice",
        "A step of lattice VMC, against netket.driver.VMC_SR",
        [
            "system",
            "driver",
            "ms a step",
            "fastest",
            "slowest",
            "speed",
            "first turn (s)",
            "steps",
            "energy",
            "error bar",
            "relative error",
        ],
        rows,
        "RBM with alpha = 1 in double precision, 16 chains, NetKet's default discards, one sweep "
        "between samples, SGD with one rate and one schedule of the shift for all, a RuntimeLog "
        f"each, no bar. Median of {ROUNDS} turns; speed in multiples of NetKet as it comes. The "
        "first turn has the compilation in it. Where it says NetKet's sampler, samples and "
        "energies are the same; otherwise it is Ritz's sampler with the same settings (whose "
        "exchange moves, for Heisenberg, also pick pairs of equal spins, which do nothing). "
        f"Energies are of the final parameters on {N_SCORED} fresh samples.",
        ratios,
    )

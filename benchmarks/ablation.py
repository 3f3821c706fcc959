"""What each measure brings to a step of lattice VMC: all of them, and all but one."""

from typing import Any

from benchmarks.lattice import SYSTEMS, System, runner
from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.callbacks import LambdaCallback
from ritz.lattice import VMC, mc_state

ROUNDS = 5


def contenders(system: System) -> dict[str, Any]:
    """Drivers with everything, and with one thing left out; runs live where that is left out."""

    def ours(**options: Any) -> VMC:
        hilbert = system.hamiltonian.hilbert
        state = mc_state(
            system.model,
            hilbert,
            n_samples=system.n_samples,
            graph=system.graph,
            seed=1,
            sampler_seed=2,
        )
        return system.driver(state, **options)

    return {
        "everything": ours(),
        "step by step, no blocks": ours(),
        "BLAS with all threads": ours(blas_threads=None),
        "local energies by evaluating the model": ours(local_updates=False),
        "16 chains instead of one a sample": system.ritz(True),
        "16 chains, and NetKet's sampler": system.ritz(False),
        "scores in single precision, besides": ours(single_scores=True),
    }


def live() -> LambdaCallback:
    """Makes every step live."""
    return LambdaCallback(on_step_end=lambda step, log_data, driver: None)


def measure() -> Table:
    """A small and a large system."""
    rows = []
    for name in ("ising10", "ising20", "ising40"):
        system = SYSTEMS[name]()
        drivers = contenders(system)
        timings = interleaved(
            {
                what: runner(d, system.steps, callback=live() if "no blocks" in what else None)
                for what, d in drivers.items()
            },
            ROUNDS,
        )
        reference = timings["everything"].median
        rows += [
            [
                system.name,
                what,
                *(1e3 * x / system.steps for x in timings[what].spread),
                timings[what].median / reference,
            ]
            for what in drivers
        ]
    return Table(
        "ablation",
        "What each measure brings",
        ["system", "driver", "ms a step", "fastest", "slowest", "times everything"],
        rows,
        "The systems of the table above, with one chain a sample where nothing else is said. "
        f"Median of {ROUNDS} turns.",
    )

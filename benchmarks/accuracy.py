"""Relative errors of frozen parameters against exact energies, with the time taken.

The energy of the final parameters is summed over all configurations, not the best of the trace.
The settings (network, schedules, seed) were tuned on these same systems with the exact energies
known, and each system is run from one seed: the table shows what can be reached, not what an
untuned run reaches.
"""

import time
from collections.abc import Callable
from typing import Any

import netket as nk
import optax

from benchmarks import (
    linear_accuracy,
    molecule_accuracy,
    potential_accuracy,
    update_rules,
    update_rules_potentials,
)
from benchmarks.data import has_data
from benchmarks.report import Table, report
from ritz.lattice import VMC
from ritz.lattice.ising import ising_chain, ising_chain_energy
from ritz.updates import SR

SHIFT = optax.exponential_decay(0.1, 10, 0.5, end_value=1e-3)
"""Large at first: the chains follow the wave function by one sweep a step."""

HEISENBERG_4X4 = -44.91393283371539  # exact diagonalisation, Pauli matrices


def ising_20() -> tuple[VMC, float, int, float]:
    """Critical transverse-field Ising chain of 20 spins, RBM alpha = 1."""
    hamiltonian = ising_chain(20, 1.0)
    sampler = nk.sampler.MetropolisLocal(hamiltonian.hilbert, n_chains=1024)
    state = nk.vqs.MCState(
        sampler,
        nk.models.RBM(alpha=1),
        n_samples=1024,
        n_discard_per_chain=0,
        seed=1,
        sampler_seed=2,
    )
    rate = optax.linear_schedule(0.05, 0.005, 800)
    driver = VMC(hamiltonian, rate, variational_state=state, update=SR(SHIFT))
    return driver, ising_chain_energy(20, 1.0), 800, 1e-4


def heisenberg_4x4() -> tuple[VMC, float, int, float]:
    """Heisenberg model on the 4 x 4 torus, RBM with translations, Marshall's sign rule."""
    lattice = nk.graph.Square(4)
    hilbert = nk.hilbert.Spin(0.5, 16, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, lattice, sign_rule=True).to_jax_operator()
    sampler = nk.sampler.MetropolisExchange(hilbert, graph=lattice, n_chains=1024)
    model = nk.models.RBMSymm(symmetries=lattice.translation_group(), alpha=4, param_dtype=complex)
    state = nk.vqs.MCState(
        sampler, model, n_samples=1024, n_discard_per_chain=0, seed=1, sampler_seed=2
    )
    rate = optax.linear_schedule(0.03, 0.005, 600)
    driver = VMC(hamiltonian, rate, variational_state=state, update=SR(SHIFT))
    return driver, HEISENBERG_4X4, 600, 1e-3


CASES: dict[str, Callable[[], tuple[VMC, float, int, float]]] = {
    "TFIM chain 20, h = 1, RBM alpha = 1": ising_20,
    "Heisenberg 4x4, symmetric RBM alpha = 4": heisenberg_4x4,
}


def measure(name: str) -> list[Any]:
    """One row of the table."""
    driver, exact, n_iter, target = CASES[name]()
    start = time.perf_counter()
    driver.run(1, show_progress=False)
    compiled = time.perf_counter()
    driver.run(n_iter - 1)
    done = time.perf_counter()
    state = driver.state
    full = nk.vqs.FullSumState(
        state.hilbert, state.model, variables=state.variables, chunk_size=2**14
    )
    energy = float(full.expect(driver.hamiltonian).mean.real)
    error = (energy - exact) / abs(exact)
    v_score = float(driver._metrics["v_score"])
    return [
        name,
        energy,
        exact,
        error,
        target,
        error <= target,
        v_score,
        n_iter,
        done - compiled,
        compiled - start,
    ]


def main() -> None:
    table = Table(
        "accuracy",
        "Frozen parameters by full summation",
        [
            "system",
            "energy",
            "exact",
            "relative error",
            "target",
            "met",
            "V-score",
            "steps",
            "seconds",
            "first step (s)",
        ],
        [measure(name) for name in CASES],
    )
    report(table)
    report(molecule_accuracy.measure())
    report(update_rules.measure())
    if has_data():
        report(potential_accuracy.measure())
        report(linear_accuracy.measure())
        report(update_rules_potentials.measure())
    else:
        print("Potentials are left out: set RITZ_DATA, see benchmarks/data.py.")


if __name__ == "__main__":
    main()

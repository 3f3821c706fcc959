"""Heisenberg chain of 10 spins: stop when nothing is gained any more, evaluate the average.

Run it with `python examples/heisenberg_chain.py`.
"""

import netket as nk
import optax

from ritz.callbacks import ParameterEMA, PlateauStopping, Timeout
from ritz.lattice import VMC
from ritz.loggers import JsonLog
from ritz.updates import SR

EXACT = -18.061785417968  # Bethe ansatz, Pauli matrices


def main() -> tuple[float, str]:
    """Optimise; returns the energy of the averaged parameters and why the run ended."""
    graph = nk.graph.Chain(10)
    hilbert = nk.hilbert.Spin(0.5, 10, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, sign_rule=True)
    sampler = nk.sampler.MetropolisExchange(hilbert, graph=graph, n_chains=512)
    state = nk.vqs.MCState(sampler, nk.models.RBM(alpha=1), n_samples=512, seed=0, sampler_seed=1)

    shift = optax.exponential_decay(0.1, 20, 0.5, end_value=1e-2)
    driver = VMC(hamiltonian, 0.03, variational_state=state, update=SR(shift))
    average = ParameterEMA(decay=0.95)
    driver.run(
        600,
        out=JsonLog("runs/heisenberg/run"),
        callback=[
            average,
            PlateauStopping("Energy", window=100) | Timeout(per_run=300),
        ],
    )
    with average.swapped(driver):
        energy = driver.estimate(hamiltonian, fullsum=True)
    return float(energy.mean.real), driver.stop_message


if __name__ == "__main__":
    found, reason = main()
    print(f"{reason}\nenergy {found:.5f}, exact {EXACT:.5f}")

"""Quenches of an Ising chain from all spins along x, against exact evolution.

Magnetisations are those of the frozen parameters, summed over all configurations, at the times of
the rows; also where the run itself draws samples.
"""

import itertools
import time
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import netket as nk
import numpy as np

from benchmarks.report import Table, report
from ritz.lattice import TDVP, mc_state

N_SITES, TIME = 10, 2.0
TARGET = 1e-2
"""Largest error of the magnetisation per site up to `TIME`."""


class CorrelationJastrow(nn.Module):
    """Jastrow factor of products of 2, 4, ... spins, with the symmetries of a periodic chain.

    All parameters 0 is the state with all spins along x.
    """

    orders: tuple[int, ...] = (2, 4)

    @nn.compact
    def __call__(self, x: jnp.ndarray) -> jnp.ndarray:
        """Log psi of configurations of shape (..., n_sites)."""
        sums = [
            jnp.prod(x[..., orbit], axis=-1).sum(axis=-1)
            for order in self.orders
            for orbit in _orbits(x.shape[-1], order)
        ]
        features = jnp.stack(sums, axis=-1)
        return features @ self.param("w", nn.initializers.zeros, features.shape[-1:], complex)


def _orbits(n: int, order: int) -> list[np.ndarray]:
    """Sets of `order` sites that translations and reflections turn into one another."""
    left = set(itertools.combinations(range(n), order))
    found = []
    while left:
        one = min(left)
        turned = [[sign * i + k for i in one] for sign in (1, -1) for k in range(n)]
        orbit = {tuple(sorted(i % n for i in sites)) for sites in turned}
        found.append(np.array(sorted(orbit)))
        left -= orbit
    return found


def quench(field: float, n_samples: int | None, **options: Any) -> tuple[float, float, int, float]:
    """Largest errors of magnetisation and energy, steps, and seconds of a quench to `field`.

    Args:
        field: h, with J = 1.
        n_samples: Number of samples; None for a full sum.
        **options: Those of `TDVP`.
    """
    hilbert = nk.hilbert.Spin(0.5, N_SITES)
    hamiltonian = nk.operator.IsingJax(hilbert, nk.graph.Chain(N_SITES), h=field)
    model = CorrelationJastrow()
    full = nk.vqs.FullSumState(hilbert, model, seed=0)
    state = full
    if n_samples is not None:
        state = mc_state(model, hilbert, n_samples=n_samples, sweep_size=2 * N_SITES, seed=1)
    driver = TDVP(hamiltonian, state, mode="holomorphic", **options)
    terms = [nk.operator.spin.sigmax(hilbert, i) for i in range(N_SITES)]
    along_x = (sum(terms[1:], terms[0]) / N_SITES).to_sparse()
    matrix = hamiltonian.to_dense()
    values, vectors = np.linalg.eigh(matrix)
    start = vectors.T @ full.to_array()
    errors, began = [], time.perf_counter()
    for stop in np.arange(0.1, TIME + 0.05, 0.1):
        driver.run(stop - driver.t, show_progress=False)
        full.parameters = state.parameters
        psi = full.to_array()
        exact = vectors @ (np.exp(-1j * values * driver.t) * start)
        magnetisations = [np.vdot(one, along_x @ one).real for one in (psi, exact)]
        energies = [np.vdot(one, matrix @ one).real for one in (psi, exact)]
        errors.append([abs(np.subtract(*pair)) for pair in (magnetisations, energies)])
    seconds = time.perf_counter() - began
    magnetisation, energy = np.max(errors, axis=0)
    return magnetisation, energy, driver.step_count, seconds


SAMPLED = {"integrator": "RK12", "rtol": 3e-3}
FULL = {"integrator": "RK45", "rtol": 1e-4}


def main() -> None:
    """Print the table."""
    rows: list[list[Any]] = []
    for field in (0.25, 2.0):
        for n_samples in (None, 2000):
            options = FULL if n_samples is None else SAMPLED
            found = quench(field, n_samples, **options)
            rows.append([field, n_samples or "full sum", *found])
    remarks = (
        "Time evolution of 10 spins that all pointed along x, with a Jastrow factor of two and "
        "four spins (21 parameters) and exact evolution beside it; the largest errors up to t = 2, "
        "of frozen parameters by full sums. `python -m benchmarks.quench`"
    )
    header = ["field", "samples", "magnetisation error", "energy error", "steps", "seconds"]
    worst = max(row[2] for row in rows)
    findings = {"largest magnetisation error": worst, "met": worst < TARGET}
    report(Table("quench", "Quench of an Ising chain", header, rows, remarks, findings))


if __name__ == "__main__":
    main()

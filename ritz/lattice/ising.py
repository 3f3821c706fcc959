"""The transverse-field Ising chain, whose ground-state energy is known exactly."""

import math

import netket as nk


def ising_chain(n_sites: int, field: float) -> nk.operator.IsingJax:
    """H = - sum_i sz_i sz_(i+1) - field sum_i sx_i on a periodic chain, in Pauli matrices."""
    chain = nk.graph.Chain(n_sites)
    hilbert = nk.hilbert.Spin(0.5, n_sites)
    return nk.operator.IsingJax(hilbert, graph=chain, h=field, J=-1.0)  # pyright: ignore


def ising_chain_energy(n_sites: int, field: float) -> float:
    """The exact ground-state energy of `ising_chain`.

    E = - sum_k sqrt(1 + h^2 - 2 h cos k) over k = (2 n + 1) pi / N, from free fermions (Pfeuty,
    Ann. Phys. 57, 79 (1970)).
    """
    momenta = [(2 * n + 1) * math.pi / n_sites for n in range(n_sites)]
    return -sum(math.sqrt(1 + field**2 - 2 * field * math.cos(k)) for k in momenta)

"""Ground-state energies of lattices that are known exactly, in Pauli matrices, totals."""

CHAINS = {
    8: -14.604373635749,
    10: -18.061785417968,
    12: -21.549563669781,
    16: -28.569185442467,
    20: -35.617546119506,
    24: -42.680058066149,
    32: -56.826109755798,
    40: -70.986091153333,
    64: -113.497205541412,
    100: -177.291828300367,
}
"""Periodic Heisenberg chains, by the Bethe ansatz: sites -> energy."""

SQUARES = {
    (4, 0.0): -44.91393283371539,
    (6, 0.0): -97.7575895972357,
    (4, 0.5): -33.831693405579,
    (6, 0.5): -72.548590160286,
}
"""Periodic J1-J2 models on squares by exact diagonalisation: (side, J2 / J1) -> energy.

6x6 from the data of varbench (Wu et al., arXiv 2302.04919).
"""

HUBBARD: dict[tuple[float, ...], float] = {(4, 2, 4, 4, 8.0): -3.467173437214}
"""Periodic Hubbard models with t = 1 by exact diagonalisation: (extent, n_down, n_up, U) -> energy.

There is one bond along the side of 2.
"""


def heisenberg_energy(extent: list[int], coupling: float, J2: float = 0.0) -> float | None:
    """The energy of a periodic antiferromagnet, 4 J sum S_i . S_j; None where it is not known.

    Args:
        extent: Sites along each direction.
        coupling: J between neighbours.
        J2: J between next neighbours.
    """
    if coupling <= 0:
        return None
    found = None
    if len(extent) == 1 and not J2:
        found = CHAINS.get(extent[0])
    elif len(extent) == 2 and extent[0] == extent[1]:
        found = SQUARES.get((extent[0], J2 / coupling))
    return None if found is None else coupling * found

"""A wave function for a system about which nothing more is said."""

from typing import Any

import numpy as np
from flax import linen as nn
from netket.hilbert import AbstractHilbert, SpinOrbitalFermions
from netket.operator import AbstractOperator

from ritz.lattice.models.jastrow_rbm import JastrowRBM
from ritz.lattice.models.slater_backflow import SlaterBackflow
from ritz.lattice.sign_problem import has_sign_problem, off_diagonal


def default_model(
    hilbert: AbstractHilbert,
    hamiltonian: AbstractOperator,
    extent: Any = None,
    periodic: Any = True,
    sites_per_cell: int = 1,
    alpha: int = 2,
    orbitals: Any = None,
) -> nn.Module:
    """A cheap wave function: `SlaterBackflow` for fermions, otherwise `JastrowRBM`.

    Parameters of a `JastrowRBM` are real where the Hamiltonian has no positive off-diagonal
    elements, so that its ground state is positive (Perron and Frobenius), and complex elsewhere;
    those of a `SlaterBackflow`, whose psi has signs, are real where the Hamiltonian is.

    Args:
        hilbert: The space.
        hamiltonian: The Hamiltonian.
        extent: Number of unit cells along each direction of a lattice; None where there is none.
        periodic: Whether opposite sides are neighbours, along all directions or each.
        sites_per_cell: Number of sites in a unit cell.
        alpha: Hidden units for each cell of a `JastrowRBM`.
        orbitals: With which orbitals a `SlaterBackflow` begins.
    """
    elements: Any = off_diagonal(hamiltonian)
    if isinstance(hilbert, SpinOrbitalFermions):
        kind = complex if np.any(elements.imag) else float
        return SlaterBackflow(hilbert, orbitals=orbitals, param_dtype=kind)
    kind = complex if has_sign_problem(elements) else float
    if extent is None:
        return JastrowRBM((hilbert.size,), periodic=False, alpha=alpha, param_dtype=kind)
    return JastrowRBM(
        extent,
        periodic=periodic,
        sites_per_cell=sites_per_cell,
        alpha=alpha,
        param_dtype=kind,
    )

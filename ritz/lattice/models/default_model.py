"""A wave function for a system about which nothing more is said."""

from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Inexact
from netket.hilbert import AbstractHilbert, SpinOrbitalFermions
from netket.operator import AbstractOperator

from ritz.lattice.models.jastrow_rbm import JastrowRBM
from ritz.lattice.models.slater_backflow import SlaterBackflow
from ritz.lattice.space import some_states


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
    elements: Any = _off_diagonal(hamiltonian)
    if isinstance(hilbert, SpinOrbitalFermions):
        kind = complex if np.any(elements.imag) else float
        return SlaterBackflow(hilbert, orbitals=orbitals, param_dtype=kind)
    kind = float if np.all(elements.real <= 0) and not np.any(elements.imag) else complex
    if extent is None:
        return JastrowRBM((hilbert.size,), periodic=False, alpha=alpha, param_dtype=kind)
    return JastrowRBM(
        extent,
        periodic=periodic,
        sites_per_cell=sites_per_cell,
        alpha=alpha,
        param_dtype=kind,
    )


def _off_diagonal(hamiltonian: Any) -> Inexact[np.ndarray, " n"]:
    """The off-diagonal elements in 64 random rows; parts that are rounding are zero."""
    x = some_states(hamiltonian.hilbert, 64)
    if hasattr(hamiltonian, "to_jax_operator"):
        hamiltonian = hamiltonian.to_jax_operator()
    connected, elements = jax.device_get(hamiltonian.get_conn_padded(x))
    least = 1e-12 * np.abs(elements).max(initial=0)
    off = elements[np.any(connected != np.asarray(x)[:, None], axis=-1)]
    real, imaginary = (np.where(np.abs(part) <= least, 0, part) for part in (off.real, off.imag))
    return real + 1j * imaginary

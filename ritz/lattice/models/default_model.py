"""A wave function for a system about which nothing more is said."""

from typing import Any

import jax
import numpy as np
from flax import linen as nn
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
) -> nn.Module:
    """A cheap wave function: `SlaterBackflow` for fermions, otherwise `JastrowRBM`.

    Its parameters are real where the Hamiltonian has no positive off-diagonal elements, so that its
    ground state is positive (Perron and Frobenius), and complex elsewhere.

    Args:
        hilbert: The space.
        hamiltonian: The Hamiltonian.
        extent: Number of unit cells along each direction of a lattice; None where there is none.
        periodic: Whether opposite sides are neighbours, along all directions or each.
        sites_per_cell: Number of sites in a unit cell.
        alpha: Hidden units for each cell of a `JastrowRBM`.
    """
    if isinstance(hilbert, SpinOrbitalFermions):
        return SlaterBackflow(hilbert)
    kind = float if is_stoquastic(hamiltonian) else complex
    if extent is None:
        return JastrowRBM((hilbert.size,), periodic=False, alpha=alpha, param_dtype=kind)
    return JastrowRBM(
        extent,
        periodic=periodic,
        sites_per_cell=sites_per_cell,
        alpha=alpha,
        param_dtype=kind,
    )


def is_stoquastic(hamiltonian: Any) -> bool:
    """Whether off-diagonal elements are real and not positive, as far as 64 random rows show."""
    x = some_states(hamiltonian.hilbert, 64)
    if hasattr(hamiltonian, "to_jax_operator"):
        hamiltonian = hamiltonian.to_jax_operator()
    connected, elements = jax.device_get(hamiltonian.get_conn_padded(x))
    moved = np.any(connected != np.asarray(x)[:, None], axis=-1)
    scale = np.abs(elements).max(initial=0)
    off = elements[moved]
    return bool(np.all(off.real <= 1e-12 * scale) and np.all(np.abs(off.imag) <= 1e-12 * scale))

"""Sign problems: Hamiltonians whose ground state has signs in the given basis."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact, PyTree
from netket.operator import DiscreteOperator

from ritz.lattice.operators import LogPsi
from ritz.lattice.space import some_states

_logger = logging.getLogger(__name__)


def off_diagonal(hamiltonian: Any) -> Inexact[np.ndarray, " n"]:
    """The off-diagonal elements in 64 random rows; parts that are rounding are zero."""
    x = np.asarray(some_states(hamiltonian.hilbert, 64))
    if hasattr(hamiltonian, "to_jax_operator"):
        hamiltonian = hamiltonian.to_jax_operator()
    connected, elements = jax.device_get(hamiltonian.get_conn_padded(x))
    least = 1e-12 * np.abs(elements).max(initial=0)
    off: Any = elements[np.any(connected != x[:, None], axis=-1)]
    real, imaginary = (np.where(np.abs(part) <= least, 0, part) for part in (off.real, off.imag))
    return real + 1j * imaginary


def has_sign_problem(elements: Any) -> bool:
    """Whether some of these off-diagonal elements are not real numbers of at most 0.

    If none is, the ground state is positive (Perron and Frobenius).

    Args:
        elements: From `off_diagonal`.
    """
    return bool(np.any(elements.real > 0) or np.any(elements.imag))


def warn_of_signs(hamiltonian: Any, log_psi: LogPsi, params: PyTree) -> None:
    """Warn if psi is positive, whatever its parameters, but the ground state is hardly.

    Args:
        hamiltonian: An operator in traceable form.
        log_psi: `(params, samples) -> log psi`.
        params: Its parameters.
    """
    if not isinstance(hamiltonian, DiscreteOperator):
        return
    out = jax.eval_shape(log_psi, params, some_states(hamiltonian.hilbert, 1))
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        return
    elements: Any = off_diagonal(hamiltonian)
    if not has_sign_problem(elements):
        return
    largest = elements[np.argmax(np.maximum(elements.real, np.abs(elements.imag)))]
    shown = largest if largest.imag else largest.real
    _logger.warning(
        "log psi of this model is real, so that psi is positive, but the Hamiltonian has "
        "off-diagonal elements such as %.3g: its ground state then has signs, and the energies of "
        "positive psi stay above it. Use a complex log psi (complex_output=True, or "
        "param_dtype=complex), or a basis without these signs (sign_rule=true of the system, or "
        "ritz.lattice.models.MarshallSign).",
        shown,
    )

"""The mode of a state of NetKet: how log psi depends on its parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from ritz.checks import check_choice
from ritz.lattice.space import some_states
from ritz.updates.claimed_mode import LogPsi, check_mode, phase_is_fixed
from ritz.updates.problem import MODES, default_mode


def checked_mode(mode: str | None, state: Any, log_psi: LogPsi, *, phases_move: bool = True) -> str:
    """`mode`, if the model does not contradict it, or its default for None.

    Args:
        mode: One of `ritz.updates.problem.MODES`, or None.
        state: A state of NetKet.
        log_psi: `(params, samples) -> log psi` of it.
        phases_move: Whether phases are to change; if not, the default for a complex log psi is
            "real" where real parameters do not change its phase, as that of real determinants.

    Raises:
        ValueError: If it is no mode, or the model contradicts it at random parameters.
    """
    if mode is None:
        x = some_states(state.hilbert, 16)
        found = default_mode(log_psi, state.parameters, x)
        if phases_move or found != "complex":
            return found
        return "real" if phase_is_fixed(log_psi, state.parameters, x) else found
    check_choice("mode", mode, MODES)
    if mode != "complex":
        check_mode(mode, log_psi, state.parameters, some_states(state.hilbert, 16))
    return mode


def check_phase(mode: str, state: Any, log_psi: LogPsi) -> None:
    """Refuse a state whose phase cannot change in real time.

    Args:
        mode: From `checked_mode`.
        state: A state of NetKet.
        log_psi: `(params, samples) -> log psi` of it.

    Raises:
        ValueError: If log psi is real or has a phase that the parameters do not change, as that of
            real determinants, or in the mode "real".
    """
    x = some_states(state.hilbert, 16)
    out = jax.eval_shape(log_psi, state.parameters, x)
    is_complex = jnp.issubdtype(out.dtype, jnp.complexfloating)
    if mode == "real" or not is_complex or phase_is_fixed(log_psi, state.parameters, x):
        raise ValueError(
            f"in real time the phase of psi changes, but that of this model cannot (mode={mode!r})"
            "; use a model with complex log psi and mode='complex' or 'holomorphic', such as "
            "netket.models.RBM(param_dtype=complex), or propagation='imaginary'."
        )

"""States that a driver takes, and variables of their models besides the parameters."""

import logging
from typing import Any

import jax
import netket as nk
from flax.errors import ModifyScopeVariableError
from jaxtyping import Array, PyTree
from netket.hilbert import AbstractHilbert

from ritz.estimators.base import LogPsi
from ritz.lattice.local_update import TwoStates
from ritz.lattice.models.symmetrized import Symmetrized

_logger = logging.getLogger(__name__)

_FOLLOWING = (
    'give the state mutable=["batch_stats"] and training_kwargs={"use_running_average": False}, '
    "as the model's `__call__` names it, and let the model use running averages by default"
)


def check_state(state: Any, mixed: bool) -> None:
    """Refuse states that are none of NetKet's, or density matrices in the place of vectors.

    Args:
        state: What was given.
        mixed: Whether a density matrix is wanted.

    Raises:
        TypeError: If it has the wrong type.
        ValueError: If a vector lives on a space that is not doubled, where density matrices are
            wanted.
    """
    is_mixed = isinstance(state, nk.vqs.MCMixedState)
    if not mixed and is_mixed:
        raise TypeError(
            "variational_state must be a netket.vqs.MCState or FullSumState, but MCMixedState, a "
            "density matrix, was given: for the steady state of a Lindbladian use "
            "ritz.lattice.SteadyState."
        )
    if mixed and not is_mixed and not isinstance(state, nk.vqs.FullSumState):
        raise TypeError(
            "variational_state must be a netket.vqs.MCMixedState, or a FullSumState on "
            f"lindbladian.hilbert, but {state!r} was given."
        )
    if not isinstance(state, nk.vqs.MCState | nk.vqs.FullSumState):
        raise TypeError(
            f"variational_state must be a netket.vqs.MCState or FullSumState, but {state!r} was "
            "given."
        )
    if mixed and not isinstance(state.hilbert, nk.hilbert.DoubledHilbert):
        raise ValueError(
            f"a density matrix lives on lindbladian.hilbert, a DoubledHilbert, not {state.hilbert}."
        )


def check_model_state(state: Any) -> None:
    """Refuse models that do not suit the space, or change their variables whenever they are called.

    Raises:
        ValueError: If log psi cannot be evaluated without changing variables, is not one number for
            each configuration, or a symmetry exchanges other states than those of the space.
    """
    if isinstance(state.model, Symmetrized):
        check_inversion(state.model, state.hilbert)
    x = jax.eval_shape(lambda: state.hilbert.random_state(jax.random.key(0), 2))
    try:
        found = jax.eval_shape(state._apply_fun, state.variables, x)
    except ModifyScopeVariableError as error:
        raise ValueError(
            "the model changes its variables whenever it is called, so that log psi of a "
            f"configuration would depend on the others: {_FOLLOWING}."
        ) from error
    if getattr(found, "shape", None) != (2,):
        given = getattr(found, "shape", found)
        raise ValueError(
            f"the model gives {given} for two configurations, an array of shape {x.shape}: it must "
            "give log psi of each, of shape (2,); jnp.squeeze(..., axis=-1) removes a last axis of "
            "length 1, and jnp.sum(..., axis=-1) sums over the sites."
        )
    if state.model_state and not state.mutable:
        _logger.warning(
            "The model has variables besides parameters (%s), which stay as they are; for running "
            "statistics that follow the samples %s.",
            ", ".join(state.model_state),
            _FOLLOWING,
        )


def convolves(log_psi: LogPsi, state: Any) -> bool:
    """Whether log psi of a state has convolutions.

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        state: The state.
    """
    x = state.hilbert.random_state(jax.random.key(0), 1)
    return "conv_general_dilated" in str(jax.make_jaxpr(log_psi)(state.parameters, x))


def check_inversion(model: Symmetrized, hilbert: AbstractHilbert) -> None:
    """Refuse an exchange of states that the space does not have.

    Raises:
        ValueError: If a site has not two states, or these have another sum.
    """
    states = TwoStates.of(hilbert)
    if model.inversion is None or (
        states is not None and states.first + states.second == model.states_sum
    ):
        return
    mend = "leave out inversion."
    if states is not None:
        mend = f"give states_sum={states.first + states.second:g}."
    raise ValueError(
        f"Symmetrized(inversion={model.inversion}, states_sum={model.states_sum}) leads out of the "
        f"space {hilbert}: {mend}"
    )


def followed(state: Any) -> "Following | None":
    """How the variables of a state's model follow the samples; None if they stay as they are."""
    if not state.mutable or not state.model_state:
        return None
    return Following(state._apply_fun, state.mutable, tuple(sorted(state.training_kwargs.items())))


def check_still(state: Any) -> None:
    """Refuse states whose variables besides the parameters are to follow the samples.

    Raises:
        ValueError: With how to make the state.
    """
    if followed(state) is not None:
        raise ValueError(
            f"the state has mutable={state.mutable!r}, but in a time evolution variables besides "
            f"the parameters ({', '.join(state.model_state)}) stay as they are; give the state "
            "neither mutable nor training_kwargs, but variables=state.variables."
        )


class Following:
    """Variables of a model, such as running statistics, that follow the samples of each step.

    Energies, derivatives and samples take the variables as they are. After that the model is
    called once, with the state's `mutable` and `training_kwargs`, on the samples of the step, and
    the next step takes the variables that it leaves. So within a step psi is one function of a
    configuration, and no part of an update is lost.

    Args:
        apply_fun: `(variables, samples, mutable=..., **training) -> (log psi, variables)`.
        mutable: The names of the collections that change.
        training: Further arguments.
    """

    def __init__(self, apply_fun: Any, mutable: Any, training: tuple[tuple[str, Any], ...]):
        names = [mutable] if isinstance(mutable, str) else mutable
        self.apply_fun, self.training = apply_fun, training
        self.mutable = names if isinstance(names, bool) else tuple(names)
        self._key = (apply_fun, self.mutable, training)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Following) and self._key == other._key

    def after(self, params: PyTree, model_state: PyTree, samples: Array) -> PyTree:
        """The variables after a step with these samples, shape (n, n_sites)."""
        mutable = self.mutable if isinstance(self.mutable, bool) else list(self.mutable)
        _, new = self.apply_fun(
            {"params": params, **model_state}, samples, mutable=mutable, **dict(self.training)
        )
        changed = {name: value for name, value in new.items() if name in model_state}
        return jax.tree.map(
            lambda value, old: value.astype(old.dtype), {**model_state, **changed}, {**model_state}
        )

"""Operators of NetKet and other quantities as estimators, and their statistics by chain."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, Inexact, PyTree
from netket.hilbert import AbstractHilbert
from netket.observable import AbstractObservable
from typing_extensions import override

from ritz.estimators import AbstractEstimator
from ritz.estimators.base import LogPsi, Values, as_estimator, evaluate_all, in_double
from ritz.lattice.flips import Flips
from ritz.lattice.operators import (
    check_operator,
    check_space,
    local_energies,
    sparse_matrix,
    traceable,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LocalValues(AbstractEstimator):
    """The local values of an operator, sum_y <x|O|y> psi(y) / psi(x) for each sample x."""

    operator: Any
    """From `ritz.lattice.operators.traceable`; a pytree, as this estimator is."""
    chunk_size: int | None = dataclasses.field(default=None, metadata={"static": True})
    """Number of configurations passed to log psi at once; None for all."""
    flips: Flips | None = dataclasses.field(default=None, metadata={"static": True})
    """The operator with a model's local update, in the place of log psi."""

    @override
    def evaluate(
        self, log_psi: LogPsi, params: PyTree, samples: PyTree, values: Mapping[str, Values]
    ) -> Inexact[Array, " n_samples"]:
        return local_energies(
            log_psi=log_psi,
            variables=params,
            samples=samples,
            operator=self.operator,
            chunk_size=self.chunk_size,
            flips=self.flips,
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """An estimator that is no operator, as a pytree without arrays."""

    estimator: AbstractEstimator = dataclasses.field(metadata={"static": True})


Observable = Any
"""An operator in traceable form, or `Given`."""


def observable_of(given: object, hilbert: AbstractHilbert) -> Observable:
    """What a kernel takes for an operator, an estimator or a function (params, sample) -> value.

    Raises:
        TypeError: If it is none of them.
        ValueError: If it is an operator of another space.
    """
    return given if isinstance(given, Given) else _of(given, hilbert, traceable)


def check_observable(given: object, hilbert: AbstractHilbert) -> None:
    """Refuse what `observable_of` refuses, besides operators without a JAX form."""
    _of(given, hilbert, check_space)


def _of(given: Any, hilbert: AbstractHilbert, use: Any) -> Observable:
    if isinstance(given, AbstractObservable):
        return use(given, hilbert)
    if isinstance(given, AbstractEstimator):
        return Given(given)
    try:
        return Given(as_estimator("", given))
    except TypeError:
        check_operator(given)
        raise


def estimators_of(
    observables: Mapping[str, Observable], chunk_size: int | None
) -> dict[str, AbstractEstimator]:
    """The estimators by name.

    Args:
        observables: Those of a kernel.
        chunk_size: Number of configurations passed to log psi at once; None for all.
    """
    return {
        name: one.estimator if isinstance(one, Given) else LocalValues(one, chunk_size)
        for name, one in observables.items()
    }


def is_by_sample(values: Values) -> bool:
    """Whether there is one number for each sample, of which chains can be told apart."""
    return not isinstance(values, dict | list | tuple) and jnp.ndim(values) == 1


def by_sample(
    estimators: Mapping[str, AbstractEstimator], loss_name: str, log_psi: LogPsi, state: Any
) -> list[str]:
    """The names of the estimators with one number for each sample of a state of NetKet."""

    def values(params: PyTree, x: Array, energies: Array) -> dict[str, Values]:
        return evaluate_all(estimators, log_psi, params, x, {loss_name: energies})

    x = jax.ShapeDtypeStruct((state.n_samples, state.hilbert.size), jnp.result_type(float))
    energies = jax.ShapeDtypeStruct((state.n_samples,), jnp.result_type(float))
    shapes = jax.eval_shape(values, state.parameters, x, energies)
    return [name for name in estimators if is_by_sample(shapes[name])]


def statistics_of(
    estimator: AbstractEstimator, values: Values, shape: tuple[int, ...]
) -> tuple[PyTree, Array | None]:
    """What is logged, and the values by chain if there is one number for each sample.

    Such numbers get NetKet's statistics, which know chains, unless the estimator has its own.

    Args:
        estimator: The estimator.
        values: From `estimator.evaluate`.
        shape: Number of chains, and of samples in each.
    """
    values = in_double(values)
    chains = jnp.reshape(values, shape) if is_by_sample(values) else None
    kind = type(estimator)
    if chains is not None and kind.reduce is AbstractEstimator.reduce:
        return estimator.finalize(nk.stats.statistics(chains)), chains
    return estimator.finalize(estimator.reduce(values)), chains


def summed(observable: Observable) -> Observable:
    """An observable in the form that full sums take: operators as sparse matrices."""
    return observable if isinstance(observable, Given) else sparse_matrix(observable)


def expectation(state: Any, observable: object, fullsum: bool) -> PyTree:
    """The expectation value of an operator or an estimator in a state of NetKet.

    Args:
        state: An `MCState`, whose samples are used, or a `FullSumState`.
        observable: An operator, an estimator or a function (params, sample) -> value.
        fullsum: Whether to sum over all configurations.
    """
    if fullsum and isinstance(state, nk.vqs.MCState):
        hilbert: Any = state.hilbert
        state = nk.vqs.FullSumState(
            hilbert, state.model, variables=state.variables, chunk_size=state.chunk_size
        )
    if isinstance(observable, AbstractObservable):  # NetKet needs no JAX form of it
        return state.expect(observable)
    estimator = observable_of(observable, state.hilbert).estimator
    model_state = state.model_state or {}

    def log_psi(params: PyTree, x: Array) -> Array:
        return state._apply_fun({"params": params, **model_state}, x)

    one = {"obs": estimator}
    if isinstance(state, nk.vqs.MCState):
        samples: Any = state.samples
        flat = samples.reshape(-1, samples.shape[-1])
        values = evaluate_all(one, log_psi, state.parameters, flat)["obs"]
        return statistics_of(estimator, values, samples.shape[:-1])[0]
    states, psi = jnp.asarray(state.hilbert.all_states()), state.to_array()
    values = evaluate_all(one, log_psi, state.parameters, states)["obs"]
    return estimator.finalize(estimator.reduce(in_double(values), jnp.abs(psi) ** 2))

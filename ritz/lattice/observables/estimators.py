"""Operators of NetKet and other quantities as estimators, and their statistics by chain."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, Float, Inexact, PyTree
from netket.hilbert import AbstractHilbert
from netket.observable import AbstractObservable
from typing_extensions import override

from ritz.estimators import AbstractEstimator
from ritz.estimators.base import LogPsi, Values, as_estimator, evaluate_all, in_double
from ritz.lattice.flips import Flips
from ritz.lattice.observables.entropy import Renyi2
from ritz.lattice.observables.functionals import ConnectedCorrelator, Functional, Variance
from ritz.lattice.operators import (
    check_operator,
    check_space,
    check_weighted,
    fingerprint,
    local_energies,
    sparse_matrix,
    traceable,
)
from ritz.lattice.sampling.draws import is_direct
from ritz.lattice.sampling.weights import chain_statistics, importance_weights, unequal_power


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
"""An operator in traceable form, `Given`, or a prepared `Functional`."""


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
    functional = functional_of(given)
    if functional is not None:
        return functional.prepared(hilbert)
    if isinstance(given, AbstractObservable):
        return use(given, hilbert)
    if isinstance(given, AbstractEstimator):
        return Given(given)
    try:
        return Given(as_estimator("", given))
    except TypeError:
        check_operator(given)
        raise


def functional_of(given: Any) -> Functional | None:
    """A functional of Ritz or NetKet, as one of Ritz; None for other observables."""
    if isinstance(given, Functional):
        return given
    if isinstance(given, nk.observable.VarianceObservable):
        is_square = not isinstance(given.operator_squared, nk.operator.Squared)
        return Variance(given.operator, through_square=is_square)
    if isinstance(given, nk.observable.Renyi2EntanglementEntropy):
        return Renyi2([int(site) for site in given.partition], base=2)
    if isinstance(given, nk.observable.ConnectedCorrelator):
        return ConnectedCorrelator(given.op_A, given.op_B)
    return None


def estimators_of(
    observables: Mapping[str, Observable], chunk_size: int | None
) -> dict[str, AbstractEstimator]:
    """The estimators by name, without functionals.

    Args:
        observables: Those of a kernel.
        chunk_size: Number of configurations passed to log psi at once; None for all.
    """
    return {
        name: one.estimator if isinstance(one, Given) else LocalValues(one, chunk_size)
        for name, one in observables.items()
        if not isinstance(one, Functional)
    }


def is_by_sample(values: Values) -> bool:
    """Whether there is one number for each sample, of which chains can be told apart."""
    return not isinstance(values, dict | list | tuple) and jnp.ndim(values) == 1


def series_counts(
    observables: Mapping[str, Observable], loss_name: str, log_psi: LogPsi, state: Any
) -> dict[str, int]:
    """Name -> number of chains, of the energy and the observables with a number for each sample.

    Args:
        observables: Those of a kernel.
        loss_name: Name of the energy.
        log_psi: `(params, samples) -> log psi`, for a batch.
        state: A state of NetKet with samples.
    """
    estimators = estimators_of(observables, None)
    n_chains = 1 if is_direct(state.sampler) else state.sampler.n_chains

    def values(params: PyTree, x: Array, energies: Array) -> dict[str, Values]:
        return evaluate_all(estimators, log_psi, params, x, {loss_name: energies})

    x = jax.ShapeDtypeStruct((state.n_samples, state.hilbert.size), jnp.result_type(float))
    energies = jax.ShapeDtypeStruct((state.n_samples,), jnp.result_type(float))
    shapes = jax.eval_shape(values, state.parameters, x, energies)
    found = {loss_name: n_chains}
    for name, one in observables.items():
        if isinstance(one, Functional):
            found[name] = one.n_series(n_chains)
        elif is_by_sample(shapes[name]):
            found[name] = n_chains
    return found


def statistics_of(
    estimator: AbstractEstimator,
    values: Values,
    shape: tuple[int, ...],
    weights: Float[Array, " n_samples"] | None = None,
) -> tuple[PyTree, Array | None]:
    """What is logged, and the values by chain if there is one number for each sample.

    Such numbers get NetKet's statistics, which know chains, unless the estimator has its own.

    Args:
        estimator: The estimator.
        values: From `estimator.evaluate`.
        shape: Number of chains, and of samples in each.
        weights: Probabilities of the samples, which sum to one; None for equal ones.
    """
    values = in_double(values)
    stats = chains = None
    if is_by_sample(values):
        stats, chains = chain_statistics(jnp.reshape(values, shape), weights)
    if stats is not None and type(estimator).reduce is AbstractEstimator.reduce:
        return estimator.finalize(stats), chains
    return estimator.finalize(estimator.reduce(values, weights)), chains


def summed(observable: Observable) -> Observable:
    """An observable in the form that full sums take: operators as sparse matrices."""
    if isinstance(observable, Functional):
        return observable.summed()
    return observable if isinstance(observable, Given) else sparse_matrix(observable)


def fingerprint_of(observable: Observable) -> object:
    """What saved runs tell of an observable, by which they are compared."""
    if isinstance(observable, Functional):
        return observable.fingerprint
    return observable.estimator if isinstance(observable, Given) else fingerprint(observable)


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
    if isinstance(state, nk.vqs.MCState):
        return _of_samples(state, observable)
    functional = functional_of(observable)
    if functional is not None:
        return functional.prepared(state.hilbert).summed().statistics(state.to_array())
    if isinstance(observable, AbstractObservable):
        return state.expect(observable)
    estimator = observable_of(observable, state.hilbert).estimator
    states, psi = jnp.asarray(state.hilbert.all_states()), state.to_array()
    values = evaluate_all({"obs": estimator}, _log_psi_of(state), state.parameters, states)["obs"]
    return estimator.finalize(estimator.reduce(in_double(values), jnp.abs(psi) ** 2))


def _of_samples(state: Any, observable: object) -> PyTree:
    """The estimate from the samples of an `MCState`."""
    samples, power = state.samples, unequal_power(state)
    weights = None
    if power is not None:
        weights = importance_weights(state.log_value(samples).reshape(-1), power)
    log_psi, flat = _log_psi_of(state), samples.reshape(-1, samples.shape[-1])
    functional = functional_of(observable)
    if functional is not None:
        chains = None if weights is None else weights.reshape(samples.shape[:-1])
        one = functional.prepared(state.hilbert)
        return one.sampled(log_psi, state.parameters, samples, chains, state.chunk_size)[0]
    if isinstance(observable, AbstractObservable):  # NetKet needs no JAX form of it
        if weights is None:
            return state.expect(observable)
        check_weighted(observable)
        return chain_statistics(state.local_estimators(observable).data, weights)[0]
    estimator = observable_of(observable, state.hilbert).estimator
    values = evaluate_all({"obs": estimator}, log_psi, state.parameters, flat)["obs"]
    return statistics_of(estimator, values, samples.shape[:-1], weights)[0]


def _log_psi_of(state: Any) -> LogPsi:
    model_state = state.model_state or {}
    return lambda params, x: state._apply_fun({"params": params, **model_state}, x)

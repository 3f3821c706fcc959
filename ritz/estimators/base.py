"""The contract of estimators: values of samples, their statistics, and what is logged of them."""

import abc
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from ritz.estimators.statistics import statistics

LogPsi: TypeAlias = Callable[[PyTree, PyTree], Inexact[Array, " n_samples"]]
"""`(params, samples) -> log psi`, for a batch."""

Values: TypeAlias = PyTree
"""Values of one quantity: arrays with the samples along their first axis."""


class AbstractEstimator(abc.ABC):
    """Base class of what is estimated from samples, in three steps free of side effects.

    `evaluate` gives a value for each sample, `reduce` the statistics of all samples, `finalize`
    what is logged. Only the first needs to be written.
    """

    uses: tuple[str, ...] = ()
    """Names of the estimators whose values it reads; they are evaluated before it."""

    @abc.abstractmethod
    def evaluate(
        self, log_psi: LogPsi, params: PyTree, samples: PyTree, values: Mapping[str, Values]
    ) -> Values:
        """The value of each sample.

        Args:
            log_psi: `(params, samples) -> log psi`, for a batch.
            params: Parameters of the wave function.
            samples: Samples of |psi|^2, first axis n_samples.
            values: The values of the estimators that `uses` names.

        Returns:
            An array of the shape (n_samples, ...), or a tree of such arrays.
        """

    def reduce(self, values: Values, weights: Float[Array, " n_samples"] | None = None) -> PyTree:
        """Statistics of the values; by default a `Stats` in the place of each array.

        Args:
            values: From `evaluate`.
            weights: Probabilities of the samples; None for equal ones.
        """
        return jax.tree.map(lambda part: statistics(part, weights), values)

    def finalize(self, estimate: PyTree) -> PyTree:
        """What is logged, from the return value of `reduce`; by default just that."""
        return estimate


class Function(AbstractEstimator):
    """An estimator made from a function of one sample.

    Args:
        function: `(params, sample) -> value`, which JAX can trace.
    """

    def __init__(self, function: Callable[[PyTree, PyTree], Values]):
        self.function = function

    def evaluate(
        self, log_psi: LogPsi, params: PyTree, samples: PyTree, values: Mapping[str, Values]
    ) -> Values:
        """The function's value for each sample."""
        return jax.vmap(self.function, in_axes=(None, 0))(params, samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and other.function == self.function

    def __hash__(self) -> int:
        return hash((Function, self.function))


def as_estimator(name: str, given: object) -> AbstractEstimator:
    """`given` as an estimator, if it is one or a function of one sample.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(given, AbstractEstimator):
        return given
    if isinstance(given, type) or not callable(given) or not _takes_two(given):
        shown = f"the class {given.__name__}" if isinstance(given, type) else repr(given)
        raise TypeError(
            f"estimator {name!r} must be a ritz.estimators.AbstractEstimator or a function "
            f"(params, sample) -> value, but {shown} was given."
        )
    return Function(given)


def _takes_two(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # nothing is known of its arguments
        return True
    return True


def in_order(estimators: Mapping[str, AbstractEstimator], known: Sequence[str] = ()) -> list[str]:
    """Names of the estimators, each after those that it uses.

    Args:
        estimators: By name.
        known: Names of values that are there already.

    Raises:
        ValueError: If one uses another that is not there, or they use each other in a circle.
    """
    order: list[str] = []

    def place(name: str, users: tuple[str, ...]) -> None:
        if name in order or name in known:
            return
        if name in users:
            raise ValueError(
                f"estimators use each other in a circle: {' -> '.join([*users, name])}"
            )
        if name not in estimators:
            raise ValueError(
                f"estimator {users[-1]!r} uses the values of {name!r}, which is not estimated; "
                f"add {name}=... to the estimators, which are: "
                f"{', '.join([*known, *estimators])}."
            )
        for used in estimators[name].uses:
            place(used, (*users, name))
        order.append(name)

    for name in estimators:
        place(name, ())
    return order


def used_by(
    names: Iterable[str], estimators: Mapping[str, AbstractEstimator]
) -> dict[str, AbstractEstimator]:
    """The estimators of these names and all that they use, in the order of `estimators`."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in estimators and name not in found:
            found.add(name)
            left.extend(estimators[name].uses)
    return {name: one for name, one in estimators.items() if name in found}


def evaluate_all(
    estimators: Mapping[str, AbstractEstimator],
    log_psi: LogPsi,
    params: PyTree,
    samples: PyTree,
    known: Mapping[str, Values] | None = None,
) -> dict[str, Values]:
    """The values of all estimators on one batch, by name, in the order of `estimators`.

    Args:
        estimators: By name.
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: Parameters of the wave function.
        samples: Samples of |psi|^2, first axis n_samples.
        known: Values that are there already, for estimators that use them.
    """
    values: dict[str, Values] = dict(known or {})
    for name in in_order(estimators, tuple(values)):
        if name in values:
            continue
        estimator = estimators[name]
        used = {other: values[other] for other in estimator.uses}
        values[name] = estimator.evaluate(log_psi, params, samples, used)
    return {name: values[name] for name in estimators}


def in_double(values: Values) -> Values:
    """Values in double precision, where JAX is set to allow it."""

    def cast(part: Array) -> Array:
        return part.astype(jnp.promote_types(part.dtype, jnp.result_type(float)))

    return jax.tree.map(cast, values)

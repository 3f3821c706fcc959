"""Names in rows, and the observables that get some of them."""

from collections.abc import Mapping

from netket.hilbert import AbstractHilbert

from ritz.checks import named
from ritz.estimators.base import in_order
from ritz.lattice.observables.estimators import Observable, estimators_of, observable_of

_ROW_NAMES = (
    "v_score",
    "acceptance",
    "ess",
    "info",
    "wallclock",
    "attempts",
    "block",
    "retries",
    "doubts",
    "suspect",
)


def checked_name(name: str) -> str:
    """`name`, if it is allowed for the energy."""
    if name in _ROW_NAMES:
        raise ValueError(f"the energy cannot be called {name!r}; rows already have this name.")
    return name


def checked_observables(
    observables: Mapping[str, object] | None, hilbert: AbstractHilbert, loss_name: str
) -> dict[str, Observable]:
    """Observables by name, in the form that is compiled.

    Raises:
        TypeError: If they are neither operators nor estimators.
        ValueError: If a name is taken, or an operator does not fit the space.
    """
    if observables is not None and not isinstance(observables, Mapping):
        raise TypeError(
            "observables takes a dict of name -> operator or estimator, but "
            f"{observables!r} was given."
        )
    found = {}
    for name, one in (observables or {}).items():
        if name in (loss_name, *_ROW_NAMES):
            raise ValueError(
                f"an observable cannot be called {name!r}; rows already have this name."
            )
        found[name] = named(f"observables[{name!r}]", lambda: observable_of(one, hilbert))  # noqa: B023
    in_order(estimators_of(found, None), [loss_name])
    return found

"""Names in rows, and the observables that get some of them."""

from collections.abc import Mapping

from netket.hilbert import AbstractHilbert
from netket.operator import AbstractOperator

from ritz.checks import named
from ritz.lattice.operators import traceable

_ROW_NAMES = (
    "v_score",
    "acceptance",
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
    observables: Mapping[str, AbstractOperator] | None, hilbert: AbstractHilbert, loss_name: str
) -> dict[str, AbstractOperator]:
    """Observables by name, in the form that is compiled.

    Raises:
        TypeError: If they are not operators.
        ValueError: If a name is taken, or an operator does not fit the space.
    """
    if observables is not None and not isinstance(observables, Mapping):
        raise TypeError(
            f"observables takes a dict of name -> operator, but {observables!r} was given."
        )
    found = {}
    for name, operator in (observables or {}).items():
        if name in (loss_name, *_ROW_NAMES):
            raise ValueError(
                f"an observable cannot be called {name!r}; rows already have this name."
            )
        found[name] = named(f"observables[{name!r}]", lambda: traceable(operator, hilbert))  # noqa: B023
    return found

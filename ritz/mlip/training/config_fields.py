"""Fields of the training configuration: what each allows, and what it belongs to."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ritz.checks import check_choice, check_count, check_fraction, check_positive, check_seed
from ritz.mlip.arrays import check_dtype
from ritz.mlip.training.optimisers import as_method
from ritz.types import Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config")

Check = Callable[[str, Any], object]
"""Takes the name of a field and its value; raises an error if the value is not allowed."""


def setting(
    default: object,
    check: Check | None,
    group: str,
    *,
    fixed: bool = False,
    make: Callable[[], object] | None = None,
) -> Any:
    """A field of a configuration.

    Args:
        default: Its default.
        check: What refuses values that are not allowed.
        group: What it belongs to, such as "loss" or "memory".
        fixed: Whether results depend on it step by step, so that a run that goes on must have the
            value of the saved one, unless `accept_changes` has "config".
        make: Makes the default, where it is not a constant.
    """
    metadata = {"check": check, "group": group, "fixed": fixed}
    if make is not None:
        return dataclasses.field(default_factory=make, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def config_or_default(name: str, given: Config | None, kind: type[Config]) -> Config:
    """A configuration of the given kind; a default one for None.

    Args:
        name: Its argument, for messages.
        given: The configuration.
        kind: Its class.

    Raises:
        TypeError: If it is anything else, such as a dict.
    """
    if given is None:
        return kind()
    if not isinstance(given, kind):
        label = kind.__name__
        mend = f"; write {label}(**...)" if isinstance(given, Mapping) else ""
        raise TypeError(f"{name} must be a ritz.mlip.{label}, but {given!r} was given{mend}.")
    return given


def check_fields(config: "DataclassInstance") -> None:
    """Check every field of a configuration.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a value is not allowed.
        NotImplementedError: If a value is reserved.
    """
    for field in dataclasses.fields(config):
        check = field.metadata["check"]
        if check is not None:
            check(field.name, getattr(config, field.name))


def fields_where(config: "DataclassInstance", **metadata: object) -> Settings:
    """The fields whose metadata have some values, such as `group="memory"` or `fixed=True`."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if all(field.metadata[key] == value for key, value in metadata.items())
    }


# What fields allow.


def optional(check: Check) -> Check:
    """None, or what another check allows."""
    return lambda name, value: None if value is None else check(name, value)


def count(least: int) -> Check:
    """A whole number of at least `least`."""
    return lambda name, value: check_count(name, value, least)


def one_of(*allowed: str) -> Check:
    """One of the names that are allowed."""
    return lambda name, value: check_choice(name, value, allowed)


def positive(name: str, value: object) -> None:
    """A finite number above zero."""
    check_positive(name, value)


def not_negative(name: str, value: object) -> None:
    """A finite number of at least zero."""
    check_positive(name, value, or_zero=True)


def fraction(name: str, value: object) -> None:
    """A number from 0 to 1."""
    check_fraction(name, value)


def below_one(name: str, value: object) -> None:
    """A number above 0 and below 1."""
    if check_positive(name, value) >= 1:
        raise ValueError(f"{name} must be below 1, but {value!r} was given.")


def percentage_left_out(name: str, value: object) -> None:
    """A percentage below 100, so that something is left."""
    if check_fraction(name, value, 100) == 100:
        raise ValueError(f"{name} must be below 100, or nothing is left to train on.")


def seed(name: str, value: object) -> None:
    """None, or a seed that JAX takes."""
    if value is not None:
        check_seed(name, check_count(name, value, 0))


def precision(name: str, value: DTypeLike) -> None:
    """The name of a precision, or "auto"."""
    if value != "auto":
        check_dtype(name, value)


def optimiser(name: str, value: object) -> None:
    """An optimiser of `ritz.mlip`, or a transformation of optax."""
    as_method(value, name)


def memory_mode(name: str, value: object) -> None:
    """Where data are kept: "gpu", or "cpu" for the memory of the host."""
    check_choice(name, value, ("gpu", "cpu", "mixed"))
    if value == "mixed":
        raise NotImplementedError(
            f"{name}='mixed' is reserved; 'gpu' keeps data on the device and 'cpu' on the host, as "
            "far as memory_limit allows."
        )


def names(name: str, value: Sequence[str]) -> None:
    """Several names in a list."""
    if isinstance(value, str):
        raise ValueError(f"{name} takes names in a list, such as [{value!r}].")


def energies(name: str, value: Mapping[str, float] | None) -> None:
    """None, or finite energies by species."""
    for symbol, energy in (value or {}).items():
        if not isinstance(energy, int | float | np.number) or not np.isfinite(energy):
            raise ValueError(f"{name} must be finite numbers in eV, but {symbol} has {energy!r}.")


def feature_statistics(name: str, value: object) -> None:
    """None, or a mean, and a standard deviation or variance, of features."""
    if value is not None and not (
        isinstance(value, Mapping) and "mean" in value and {"std", "cov"} & set(value)
    ):
        raise ValueError(f"{name} needs arrays under 'mean' and 'std'.")

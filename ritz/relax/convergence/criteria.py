"""One criterion of convergence: a quantity, its reduction to a number, and a threshold."""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ritz.driver.signatures import suggests_fields

Values = np.ndarray | jax.Array
"""Arrays of NumPy on the host, of JAX within a compiled step."""

REDUCTIONS = ("min", "max", "norm", "mean", "sum")
"""Allowed values of `Criterion.reduce_op`."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Criterion:
    """A criterion that is met if a quantity, reduced to one number, is at most `threshold`.

    Values are taken as magnitudes before anything is reduced, so that a force of -10 does not
    count as smaller than 0.05, and [-10, 0, 0] not as one whose maximum is 0.

    Args:
        key: The quantity, such as "fmax", "forces" or "energy_change".
        threshold: What the number must not exceed, in the quantity's own unit.
        reduce_op: "min", "max", "norm", "mean" or "sum" over `reduce_dims`, or None.
        reduce_dims: The dimensions that `reduce_op` reduces, counted as in an array whose first
            dimension runs over all structures (or all atoms), which cannot be among them: -1, or
            1, are the three components of forces.
        custom_op: A function that decides instead. It takes the array, (n_structures, ...) or
            (n_structures, n_atoms, ...) with zeros where a structure has fewer atoms, and returns
            booleans of shape (n_structures,). All other fields but `key` are ignored then.
        signed: Compare the numbers as they are, not their magnitudes.

    All remaining dimensions, including the atoms, are reduced by their maximum.
    """

    key: str
    threshold: float
    reduce_op: str | None = None
    reduce_dims: int | tuple[int, ...] = -1
    custom_op: Callable[[Any], ArrayLike] | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ValueError: With what is allowed.
            TypeError: If `custom_op` cannot be called.
        """
        if not isinstance(self.key, str) or not self.key:
            raise ValueError(f"key must be the name of a quantity, but {self.key!r} was given.")
        number = isinstance(self.threshold, numbers.Real) and not isinstance(self.threshold, bool)
        if not number or math.isnan(self.threshold):
            raise ValueError(
                f"the threshold of {self.key!r} must be a number, but {self.threshold!r} was given."
            )
        if self.threshold < 0 and not self.signed and self.custom_op is None:
            raise ValueError(
                f"magnitudes of {self.key!r} are never at most {self.threshold!r}; give a positive "
                "threshold, or signed=True to compare the numbers as they are."
            )
        if self.reduce_op is not None and self.reduce_op not in REDUCTIONS:
            raise ValueError(
                f"reduce_op must be None or one of {', '.join(REDUCTIONS)}, but "
                f"{self.reduce_op!r} was given."
            )
        if self.custom_op is not None and not callable(self.custom_op):
            raise TypeError(f"custom_op must be a function, but {self.custom_op!r} was given.")
        dims = self.reduce_dims
        dims = (dims,) if isinstance(dims, int) else tuple(dims)
        if not dims or not all(isinstance(d, int) for d in dims) or 0 in dims:
            raise ValueError(
                f"reduce_dims must be whole numbers other than 0 (dimension 0 runs over the "
                f"structures or atoms), but {self.reduce_dims!r} was given."
            )
        object.__setattr__(self, "reduce_dims", dims)

    @classmethod
    def of(cls, given: "CriterionLike") -> "Criterion":
        """Return a criterion unchanged, or make one from a dict of its fields.

        Raises:
            TypeError: If it is neither.
            ValueError: If a field is unknown, missing or wrong.
        """
        if isinstance(given, Criterion):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(
                "a criterion is a dict such as {'key': 'fmax', 'threshold': 0.05}, or a "
                f"ritz.relax.Criterion, but {given!r} was given."
            )
        known = [field.name for field in dataclasses.fields(cls)]
        check_fields("a criterion", given, known)
        missing = [name for name in ("key", "threshold") if name not in given]
        if missing == ["threshold"] and given.get("custom_op") is not None:
            return cls(**{"threshold": 0.0, **given})
        if missing:
            raise ValueError(f"the criterion {dict(given)!r} lacks {' and '.join(missing)}.")
        return cls(**given)

    def evaluate(self, values: Values, atoms: Values | None = None) -> tuple[Values, Values]:
        """Which structures meet the criterion, and which have a NaN value.

        Args:
            values: The quantity, shape (n_structures, ...) or (n_structures, n_atoms, ...).
            atoms: Which places hold an atom, shape (n_structures, n_atoms), for quantities with
                a value per atom; None for others.

        Returns:
            Two arrays of booleans, shape (n_structures,).

        Raises:
            ValueError: If the array lacks a dimension, or `custom_op` returns a wrong shape.
        """
        xp = np if isinstance(values, np.ndarray) else jnp
        n_structures, n_axes = values.shape[0], 1 if atoms is None else 2
        if atoms is not None:
            atoms = atoms.reshape(*atoms.shape, *[1] * (values.ndim - 2))
            values = xp.where(atoms, values, 0)
        failed = xp.any(xp.isnan(values.reshape(n_structures, -1)), axis=-1)
        if self.custom_op is not None:
            met = xp.asarray(self.custom_op(values))
            if met.shape != (n_structures,):
                raise ValueError(
                    f"custom_op of {self.key!r} must return booleans of shape ({n_structures},), "
                    f"one a structure, but its result has shape {met.shape}."
                )
            return met.astype(bool) & ~failed, failed
        if not self.signed:
            values = xp.abs(values)
        if self.reduce_op is not None:
            values = self._reduced(xp, values, n_axes)
        if atoms is not None:  # padding must not be the maximum
            atoms = atoms.reshape(*atoms.shape[:2], *[1] * (values.ndim - 2))
            values = xp.where(atoms, values, -xp.inf)
        values = xp.max(values.reshape(n_structures, -1), axis=-1)
        return (values <= self.threshold) & ~failed, failed

    def _reduced(self, xp: ModuleType, values: Values, n_axes: int) -> Values:
        assert isinstance(self.reduce_dims, tuple)
        n_own = values.ndim - n_axes
        axes = [d + n_axes - 1 if d > 0 else d + values.ndim for d in self.reduce_dims]
        if not all(n_axes <= axis < values.ndim for axis in axes) or len(set(axes)) < len(axes):
            raise ValueError(
                f"reduce_dims of {self.key!r} are {self.reduce_dims}, but it has {n_own} "
                f"dimensions that can be reduced: {_allowed(n_own)}."
            )
        if self.reduce_op == "norm":
            return xp.sqrt(xp.sum(values**2, axis=tuple(axes)))
        return getattr(xp, str(self.reduce_op))(values, axis=tuple(axes))


CriterionLike = Criterion | Mapping[str, Any]
"""A criterion, or a mapping of its fields."""


def _allowed(n_own: int) -> str:
    if not n_own:
        return "leave reduce_op out"
    return ", ".join(str(d) for d in (*range(1, n_own + 1), *range(-n_own, 0)))


def check_fields(what: str, given: Mapping[str, object], known: list[str]) -> None:
    """Refuse unknown fields.

    Raises:
        ValueError: With the nearest known one.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"{what} has no field {name!r}{hint}; the fields are: {', '.join(known)}."
            )

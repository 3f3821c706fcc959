"""Decides when structures, or a whole run, have converged."""

import dataclasses
import functools
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_expected, find
from ritz.checks import check_count
from ritz.driver import AbstractDriver
from ritz.driver.signatures import suggests_names
from ritz.relax.convergence.criteria import Criterion, CriterionLike, Values, check_fields
from ritz.types import Row

DEFAULT_FMAX = 0.05
"""Default threshold of the largest force in eV/Angstrom, as in ASE's optimisers."""

_CHANGE = "_change"


class ConvergenceHook(StopCondition):
    """Criteria that structures, or a run, must meet.

    As `convergence_hook` of an optimiser or integrator, or registered with a `Relaxation`, it acts
    on each structure by itself, within the compiled step: one that meets the criteria gets the
    `target_status`, and one with a NaN in a quantity that is looked at has *failed*.

    Given to the run of any other driver it is a stop condition: the quantities are looked for in
    the row and then among the attributes of the driver's state, and the run stops when they meet
    the criteria, all structures if they are arrays. NaN stops it too, with a message. There
    "energy_change" is how much the loss, and "NAME_change" how much the quantity NAME, has changed
    since the last step. The first axis of an array in a row or state is that of the structures,
    or of the atoms; for a single structure the former may be missing.

    Args:
        criteria: A list of `Criterion` objects or of dicts with their fields, or a single one. By
            default fmax <= 0.05.
        mode: Whether "all" criteria must be met at once, or "any".
        patience: Further evaluations in a row for which they must be met.
        frequency: Steps of a structure between two evaluations.
        source_status: Number of the stage whose structures are examined.
        target_status: Number of the stage that converged structures go to; the number of stages
            means that they leave.

    Raises:
        TypeError: If a criterion is neither a dict nor a `Criterion`.
        ValueError: If there is none, or a field or argument is wrong.
    """

    state_fields = ("_counter", "_last")

    @suggests_names
    def __init__(
        self,
        criteria: Sequence[CriterionLike] | CriterionLike | None = None,
        mode: str = "all",
        patience: int = 0,
        frequency: int = 1,
        source_status: int | None = None,
        target_status: int | None = None,
    ):
        if criteria is None:
            criteria = Criterion("fmax", DEFAULT_FMAX)
        if isinstance(criteria, Criterion):
            self.criteria = (criteria,)
        elif isinstance(criteria, Mapping):
            self.criteria = (Criterion.of(criteria),)
        elif isinstance(criteria, Iterable) and not isinstance(criteria, str):
            self.criteria = tuple(map(Criterion.of, criteria))
        else:
            raise TypeError(f"criteria takes a list of criteria, but {criteria!r} was given.")
        if not self.criteria:
            raise ValueError("criteria is empty; leave it out for fmax <= 0.05.")
        if mode not in ("all", "any"):
            raise ValueError(f"mode must be 'all' or 'any', but {mode!r} was given.")
        self.mode = mode
        self.patience = check_count("patience", patience, 0)
        self.frequency = check_count("frequency", frequency, 1)
        for name, status in (("source_status", source_status), ("target_status", target_status)):
            if status is not None:
                check_count(name, status, 0)
        self.source_status = source_status
        self.target_status = target_status
        self._counter = 0
        self._last: dict[str, np.ndarray] = {}
        self._in_state: tuple[str, ...] = ()
        self._seen: dict[str, object] = {}

    @classmethod
    def from_fmax(cls, threshold: float = DEFAULT_FMAX, **settings: Any) -> "ConvergenceHook":
        """Converged when no force is larger than `threshold`, in eV/Angstrom.

        Args:
            threshold: The largest force.
            settings: Further arguments of `ConvergenceHook`.
        """
        return cls([Criterion("fmax", threshold)], **settings)

    @classmethod
    def of(cls, given: "HookLike") -> "ConvergenceHook":
        """Return a hook unchanged, or make one from a dict of its arguments.

        Raises:
            TypeError: If it is neither.
            ValueError: If an argument is unknown or wrong.
        """
        if isinstance(given, ConvergenceHook):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(
                "convergence_hook takes a ConvergenceHook, or a dict of its arguments such as "
                f"{{'criteria': [...]}}, but {given!r} was given."
            )
        names = ("criteria", "mode", "patience", "frequency", "source_status", "target_status")
        check_fields("a convergence hook", given, list(names))
        return cls(**given)

    @property
    def rule(self) -> "Rule":
        """The hook's settings for compiled steps."""
        return Rule(
            criteria=self.criteria,
            mode=self.mode,
            patience=self.patience,
            frequency=self.frequency,
            source=self.source_status,
            target=self.target_status,
        )

    def __repr__(self) -> str:
        joint = " and " if self.mode == "all" else " or "
        return f"ConvergenceHook({joint.join(map(_told, self.criteria))})"

    # As a stop condition of any driver.

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        super().on_run_start(step, driver)
        state = driver.settled_state
        self._in_state = tuple(c.key for c in self.criteria if hasattr(state, c.key))

    def is_live(self, step: int) -> bool:
        """Live if the driver's state is needed, deferred if the row is enough."""
        return bool(self._in_state)

    @override
    def rearm(self) -> None:
        self._counter = 0

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        evaluated = [self._evaluate(c, log_data, driver) for c in self.criteria]
        if any(result is None for result in evaluated) or step % self.frequency:
            return None
        results = [result for result in evaluated if result is not None]
        failed = functools.reduce(np.logical_or, [failed for _, failed in results])
        if np.all(failed):
            keys = [c.key for c, (_, nan) in zip(self.criteria, results, strict=True) if nan.any()]
            return f"failed: {' and '.join(keys)} is NaN"
        together = np.logical_and if self.mode == "all" else np.logical_or
        met = functools.reduce(together, [met for met, _ in results])
        self._counter = self._counter + 1 if np.all(met | failed) else 0
        if self._counter <= self.patience:
            return None
        told = (" and " if self.mode == "all" else " or ").join(map(_told, self.criteria))
        return f"converged: {told}" + f", {np.sum(failed)} failed" * bool(failed.any())

    def _evaluate(
        self, criterion: Criterion, log_data: Row, driver: AbstractDriver
    ) -> tuple[Values, Values] | None:
        """Whether a criterion is met, or None if the quantity is not logged at this step."""
        value = self._value(criterion.key, log_data, driver)
        if value is None:
            return None
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise ValueError(
                f"{criterion.key!r} must be a number or an array of numbers, but is {value!r}."
            )
        return criterion.evaluate(np.atleast_1d(array))

    def _value(self, key: str, log_data: Row, driver: AbstractDriver) -> Any:
        try:
            return _mean(find(key, log_data, driver.loss_name)[0])
        except LookupError:
            pass
        if key in self._in_state:
            value = getattr(driver.state, key)
            return value() if callable(value) else value
        if key.endswith(_CHANGE):
            now = self._source_of_change(key.removesuffix(_CHANGE), log_data, driver)
            if now is not None:
                last, self._last = self._last.get(key), {**self._last, key: now}
                return np.full(np.shape(now), np.inf) if last is None else now - last
        check_expected(key, log_data, driver)
        return None

    @staticmethod
    def _source_of_change(name: str, log_data: Row, driver: AbstractDriver) -> Any:
        for logged in log_data:
            if re.sub(r"\W", "_", logged).lower() == name.lower():
                return np.real(_mean(log_data[logged]))
        if name == "energy":
            return np.real(_mean(log_data[driver.loss_name]))
        return None


def _told(criterion: Criterion) -> str:
    if criterion.custom_op is not None:
        return f"custom_op of {criterion.key}"
    name = criterion.key
    if criterion.reduce_op:
        name = f"{criterion.reduce_op} of {name}"
    return f"{name} <= {criterion.threshold:g}"


def _mean(value: Any) -> Any:
    """The mean of statistics; other values unchanged."""
    mean = getattr(value, "mean", None)
    return value if mean is None or callable(mean) else mean


@dataclasses.dataclass(frozen=True)
class Rule:
    """The settings of a hook, as static arguments of compiled functions."""

    criteria: tuple[Criterion, ...]
    mode: str
    patience: int
    frequency: int
    source: int | None
    target: int | None

    def evaluate(
        self, quantity: Callable[[str], tuple[jax.Array, jax.Array | None]]
    ) -> tuple[jax.Array, jax.Array]:
        """Which structures meet the criteria now, and which have failed.

        Args:
            quantity: name -> (values, mask of atoms or None), see `Criterion.evaluate`.
        """
        met, failed = zip(*[c.evaluate(*quantity(c.key)) for c in self.criteria], strict=True)
        together = operator.and_ if self.mode == "all" else operator.or_
        return functools.reduce(together, met), functools.reduce(operator.or_, failed)


HookLike = ConvergenceHook | Mapping[str, Any]
"""A hook, or a mapping of its arguments."""

"""Step sizes of an integrator: tolerances, bounds and the controller."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ritz.checks import check_choice, check_count, check_number, check_positive

NORMS = ("qgt", "euclidean")
"""Norms in which the error of a step is measured."""

CONTROLLERS = ("PI", "I")
"""Controllers: proportional-integral, and the standard (integral) one."""

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 5.0
"""Safety factor, and bounds of the ratio of two step sizes (Hairer, Norsett and Wanner, Solving
Ordinary Differential Equations I, section II.4)."""

PROPORTIONAL, INTEGRAL = 0.4, 0.7
"""Exponents of the PI controller times the order (Hairer and Wanner II, section IV.2)."""

LEAST_ERROR = 1e-4
"""Smaller errors, relative to the tolerance, count as this one for the next step."""

ANY_SIZE = (0.0, math.inf)
"""Bounds of the step size that allow any."""


def checked_limits(limits: object, adaptive: bool) -> tuple[float, float]:
    """Smallest and largest step.

    Args:
        limits: Both, as they were given.
        adaptive: Whether step sizes follow the error.

    Raises:
        ValueError: If `limits` are no two numbers, no step keeps them, or step sizes are fixed.
    """
    given: Any = limits
    try:
        least, largest = (float(check_number("dt", one, -math.inf)) for one in given)
        is_range = 0 <= least <= largest and largest > 0 and least < math.inf
    except (TypeError, ValueError):
        is_range, least, largest = False, 0.0, 0.0
    if not is_range:
        raise ValueError(
            "dt_limits must be (smallest, largest) step with 0 <= smallest <= largest, such as "
            f"(1e-5, 0.1), but {limits!r} was given."
        )
    if not adaptive and (least, largest) != ANY_SIZE:
        raise ValueError(
            f"dt_limits={limits!r} bounds the sizes of adaptive steps, but those of this run are "
            "fixed; leave it out, or take an integrator with an error estimate, such as "
            "integrator='RK23', and adaptive=True."
        )
    return least, largest


@dataclasses.dataclass(frozen=True)
class StepSize:
    """How the step size follows from the errors of the steps.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is not allowed.
    """

    adaptive: bool
    atol: float
    rtol: float
    least: float
    """The smallest step, which is taken whatever its error; zero for none."""
    largest: float
    """The largest step; infinite for none."""
    norm: str
    controller: str
    max_trials: int
    """Number of step sizes tried in one step; the last is taken whatever its error."""

    def __post_init__(self) -> None:
        check_positive("atol", self.atol, or_zero=True)
        check_positive("rtol", self.rtol, or_zero=True)
        check_choice("error_norm", self.norm, NORMS)
        check_choice("controller", self.controller, CONTROLLERS)
        check_count("max_trials", self.max_trials, 1)
        if self.adaptive and not self.atol + self.rtol > 0:
            raise ValueError(
                "atol and rtol are both 0, which no step can meet; give rtol=1e-3, for example, or "
                "adaptive=False."
            )

    def bounded(self, dt: Float[Array, ""]) -> Float[Array, ""]:
        """A step size within the bounds."""
        return jnp.clip(dt, self.least, self.largest)

    def tolerance(self, size: ArrayLike) -> ArrayLike:
        """The largest error allowed.

        Args:
            size: Norm of what is integrated: 1, that of the state, in the norm of the quantum
                geometric tensor; that of the parameters in the Euclidean one.
        """
        return self.atol + self.rtol * size

    def retried(self, error: Float[Array, ""], order: int) -> Float[Array, ""]:
        """Ratio of the next trial's step to one that was rejected.

        Args:
            error: Error of the trial in units of the tolerance; infinite if it was not finite.
            order: `Tableau.error_order`.
        """
        return jnp.clip(SAFETY * error ** (-1 / order), SMALLEST, SAFETY)

    def grown(
        self, error: Float[Array, ""], before: Float[Array, ""], order: int
    ) -> Float[Array, ""]:
        """Ratio of the next step to one that was accepted.

        Args:
            error: Its error in units of the tolerance.
            before: That of the step before.
            order: `Tableau.error_order`.
        """
        error, before = jnp.maximum(error, LEAST_ERROR), jnp.maximum(before, LEAST_ERROR)
        if self.controller == "PI":
            ratio = error ** (-INTEGRAL / order) * before ** (PROPORTIONAL / order)
        else:
            ratio = error ** (-1 / order)
        return jnp.clip(SAFETY * ratio, SMALLEST, LARGEST)

"""Explicit Runge-Kutta methods by their Butcher tableaux."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ritz.checks import check_choice

Carried = TypeVar("Carried")

Slope = Callable[[Array, Array, Carried], tuple[Array, Carried]]
"""`(change of y, stage's fraction of the step, carried) -> (dy/dt, carried)`."""


@dataclasses.dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method, with an embedded one of another order if it has one.

    Args:
        name: Its name.
        order: Order of the method: the global error goes with this power of the step.
        coefficients: Lower triangle a_ij, one tuple for each stage but the first.
        weights: b_i.
        embedded: Weights of the embedded method, whose difference estimates the error; empty for
            none.
        embedded_order: Its order.
    """

    name: str
    order: int
    coefficients: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    embedded: tuple[float, ...] = ()
    embedded_order: int = 0

    @property
    def n_stages(self) -> int:
        """Number of evaluations of the slope in a step."""
        return len(self.weights)

    @property
    def error_order(self) -> int:
        """Power of the step with which the estimated error of one step goes."""
        return min(self.order, self.embedded_order) + 1

    @property
    def nodes(self) -> np.ndarray:
        """Fractions c_i of the step at which the slope is evaluated, shape (n_stages,)."""
        return np.array([0.0, *map(sum, self.coefficients)])

    def is_adaptive(self, asked: bool | None) -> bool:
        """Whether step sizes follow the error: by default if there is an estimate of it.

        Raises:
            ValueError: If that was asked for, and there is none.
        """
        if asked and not self.embedded:
            pairs = ", ".join(name for name, one in TABLEAUS.items() if one.embedded)
            raise ValueError(
                f"{self.name} has no estimate of its error, which adaptive=True needs; use one of "
                f"{pairs}."
            )
        return bool(self.embedded) if asked is None else asked

    def slopes(
        self,
        slope: Slope[Carried],
        first: Inexact[Array, " n"],
        step: ArrayLike,
        carried: Carried,
    ) -> tuple[Inexact[Array, "n_stages n"], Carried]:
        """The slopes of all stages of one step; the stages share one compiled body.

        Args:
            slope: The right-hand side.
            first: The slope at the beginning of the step.
            step: Length of the step.
            carried: What `slope` carries from stage to stage, such as a sampler's state.
        """
        found = jnp.zeros((self.n_stages, *first.shape), first.dtype).at[0].set(first)
        if self.n_stages == 1:
            return found, carried
        matrix = np.zeros((self.n_stages, self.n_stages))
        for row, own in enumerate(self.coefficients, 1):
            matrix[row, :row] = own
        rows, nodes = jnp.asarray(matrix), jnp.asarray(self.nodes)

        def stage(i: Array, state: tuple[Array, Carried]) -> tuple[Array, Carried]:
            found, carried = state
            value, carried = slope(combined(rows[i], found, step), nodes[i], carried)
            return found.at[i].set(value.astype(found.dtype)), carried

        return jax.lax.fori_loop(1, self.n_stages, stage, (found, carried))

    def change(self, slopes: Inexact[Array, "n_stages n"], step: ArrayLike) -> Inexact[Array, " n"]:
        """Change of y in the step."""
        return combined(jnp.asarray(self.weights), slopes, step)

    def error(self, slopes: Inexact[Array, "n_stages n"], step: ArrayLike) -> Inexact[Array, " n"]:
        """Estimated error of the change: the difference of the two methods."""
        weights = np.subtract(self.weights, self.embedded)
        return combined(jnp.asarray(weights), slopes, step)


def combined(
    weights: Array, slopes: Inexact[Array, "n_stages n"], step: ArrayLike
) -> Inexact[Array, " n"]:
    """`step` times the weighted sum of slopes."""
    return jnp.einsum("i,in->n", (step * weights).astype(slopes.dtype), slopes)


_BOGACKI_SHAMPINE = ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9))
_DORMAND_PRINCE = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)

TABLEAUS = {
    tableau.name: tableau
    for tableau in (
        Tableau("Euler", 1, (), (1.0,)),
        Tableau("Midpoint", 2, ((1 / 2,),), (0.0, 1.0)),
        Tableau("Heun", 2, ((1.0,),), (1 / 2, 1 / 2)),
        Tableau(
            "RK4",
            4,
            ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
            (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        ),
        Tableau("RK12", 2, ((1.0,),), (1 / 2, 1 / 2), (1.0, 0.0), 1),
        Tableau(
            "RK23",
            3,
            _BOGACKI_SHAMPINE,
            (*_BOGACKI_SHAMPINE[-1], 0.0),
            (7 / 24, 1 / 4, 1 / 3, 1 / 8),
            2,
        ),
        Tableau(
            "RK45",
            5,
            _DORMAND_PRINCE,
            (*_DORMAND_PRINCE[-1], 0.0),
            (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
            4,
        ),
    )
}
"""Methods by name: Euler, Midpoint, Heun and RK4 with fixed steps; with an embedded method the
pairs of Heun and Euler (RK12), of Bogacki and Shampine, Appl. Math. Lett. 2, 321 (1989) (RK23), and
of Dormand and Prince, J. Comput. Appl. Math. 6, 19 (1980) (RK45)."""


def as_tableau(integrator: str | Tableau) -> Tableau:
    """A method by its name, or as it is given.

    Raises:
        ValueError: If no method has this name.
    """
    if isinstance(integrator, Tableau):
        return integrator
    check_choice("integrator", integrator, tuple(TABLEAUS))
    return TABLEAUS[integrator]

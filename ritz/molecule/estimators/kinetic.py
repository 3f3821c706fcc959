"""The kinetic energy, by the forward Laplacian."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping

import folx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count
from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values
from ritz.updates.chunks import mapped

METHODS = ("auto", "dense", "sparse", "hessian")

_MANY = 10
"""Number of electrons from which on "auto" takes sparse derivatives.

On a CPU they are 1.0 to 1.5 times as fast for Ne and 1.3 to 1.8 times for N2, and the program takes
7 to 17 s longer to compile (docs/performance.md); with fewer, only LapNet gains.
"""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Kinetic(AbstractEstimator):
    """-1/2 (lap log psi + (grad log psi)^2), in hartree.

    The Laplacian is carried forward with the function (Li et al., Nat. Mach. Intell. 6, 209, 2024),
    by folx: it costs about 3 n + 2 evaluations of a network for n electrons.

    Args:
        method: "dense" or "sparse" derivatives of the forward Laplacian, "auto" for one of them by
            the number of electrons, or "hessian" for a trace of second derivatives, as a check.
            Functions that pick coordinates by index have dense ones always.
        chunk_size: Number of walkers treated at once; None for all.

    Raises:
        ValueError: If a setting is not allowed.
    """

    method: str = "auto"
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        if self.chunk_size is not None:
            check_count("chunk_size", self.chunk_size, 1)

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Inexact[Array, " n_samples"]:
        is_complex = jnp.issubdtype(
            jax.eval_shape(log_psi, params, samples).dtype, jnp.complexfloating
        )
        parts: list[Callable[[Array], Array]] = [lambda x: jnp.real(log_psi(params, x[None])[0])]
        if is_complex:
            parts.append(lambda x: jnp.imag(log_psi(params, x[None])[0]))

        def one(electrons: Float[Array, "n_electrons 3"]) -> Array:
            found = [self._derivatives(part, electrons) for part in parts]
            slope, laplacian = found[0]
            energy = -(laplacian + jnp.sum(slope**2)) / 2
            if not is_complex:
                return energy
            turn, turning = found[1]
            real = energy + jnp.sum(turn**2) / 2
            return jax.lax.complex(real, -(turning + 2 * jnp.sum(slope * turn)) / 2)

        return mapped(one, samples, self.chunk_size)

    def _derivatives(
        self, function: Callable[[Array], Array], electrons: Float[Array, "n_electrons 3"]
    ) -> tuple[Array, Array]:
        """Gradient, as a vector, and Laplacian of a function of the electrons."""
        if self.method == "hessian":
            flat = electrons.ravel()
            value = jax.grad(lambda x: function(x.reshape(electrons.shape)))
            return value(flat), jnp.trace(jax.jacfwd(value)(flat))
        sparse = self.method == "sparse" or (self.method == "auto" and len(electrons) >= _MANY)
        if sparse:
            # Places of coordinates that are picked by index are unknown while JAX compiles.
            with contextlib.suppress(jax.errors.ConcretizationTypeError):
                return _forward(function, electrons, 6)
        return _forward(function, electrons, 0)


def _forward(
    function: Callable[[Array], Array],
    electrons: Float[Array, "n_electrons 3"],
    sparsity_threshold: int,
) -> tuple[Array, Array]:
    """Gradient and forward Laplacian; derivatives are dense for a threshold of 0."""
    made = folx.forward_laplacian(function, sparsity_threshold=sparsity_threshold)
    found = made(electrons)
    return found.jacobian.dense_array.ravel(), found.laplacian

"""The data of a step for update rules, computed on demand."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact, PyTree

from ritz.driver.processes.division import ONE_DEVICE, Division
from ritz.updates.chunks import over_samples
from ritz.updates.claimed_mode import LogPsi
from ritz.updates.realify import realify, single
from ritz.updates.score_map import (
    DenseScores,
    ScoreMap,
    factored_layers,
    factored_scores,
    removed_by_centring,
)
from ritz.updates.scores import scores

MODES = ("real", "complex", "holomorphic")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One step of a variational optimisation, as update rules see it.

    The loss is the mean of `local_losses` over samples of |psi|^2. Rows of all matrices and
    vectors below belong to samples; in the mode "complex" the real parts of all samples come
    first and their imaginary parts after them, so that there are 2 n_samples real rows.
    """

    log_psi: Callable[[PyTree, PyTree], Inexact[Array, " n_samples"]]
    """`(params, samples) -> log psi`, for a batch. Where several devices share the samples, it is a
    pytree with what arrays it has besides."""
    params: PyTree
    """The parameters at which losses and derivatives are taken."""
    samples: PyTree
    """The samples, first axis n_samples."""
    losses: Inexact[Array, " n_samples"]
    """The local losses, not centred, for example local energies."""
    weights: Float[Array, " n_samples"] | None = None
    """The probability of each sample, summing to one; None for equal ones."""
    mode: str = "complex"
    """"real": log psi is taken as real, its phase as constant. "complex": any log psi.
    "holomorphic": log psi is a holomorphic function of complex parameters."""
    chunk_size: int | None = None
    """Number of samples differentiated at once, on all devices together; None for all."""
    damping_scale: ArrayLike = 1.0
    """Factor of the rule's diagonal shift."""
    single_scores: bool = False
    """Whether `scores` are computed, and multiplied, in single precision."""
    division: Division = ONE_DEVICE
    """The devices that share the samples, along the one axis of a mesh."""

    @property
    def n_samples(self) -> int:
        """Number of samples: the length of the first axis."""
        return self.losses.shape[0]

    @property
    def probabilities(self) -> Array | float:
        """Probabilities of the samples: `weights`, or 1/n_samples."""
        return 1 / self.n_samples if self.weights is None else self.weights

    @functools.cached_property
    def local_losses(self) -> Inexact[Array, " n_samples"]:
        """The local losses less their mean."""
        return self.losses - jnp.sum(self.probabilities * self.losses)

    @functools.cached_property
    def residuals(self) -> Inexact[Array, " n_rows"]:
        """Twice the centred local losses, times the root of each sample's probability.

        Twice, so that `scores().conj().T @ residuals` is the gradient of the loss.
        """
        values = 2 * self.local_losses * jnp.sqrt(self.probabilities)
        if self.mode == "holomorphic":
            return values
        if self.mode == "real":
            return values.real
        return jnp.concatenate([values.real, values.imag])

    @property
    def removed(self) -> Float[Array, "n_rows n_parts"]:
        """Orthonormal directions of the rows that centring has removed from scores and residuals.

        They are the roots of the probabilities, for real and imaginary parts apart.
        """
        weights = jnp.broadcast_to(jnp.asarray(self.probabilities), self.losses.shape)
        return removed_by_centring(jnp.sqrt(weights), self.residuals)

    def scores(self) -> Inexact[Array, "n_rows n_parameters"]:
        """The centred derivatives of log psi, times the root of each sample's probability."""
        return self._scores

    def score_map(self) -> ScoreMap:
        """`scores` as a linear map, which is cheaper than the matrix for some models."""
        return self._score_map

    @functools.cached_property
    def _score_map(self) -> ScoreMap:
        params, probabilities = self._for_scores
        layers = factored_layers(self.log_psi, params, self.samples, self.mode)
        if not layers:
            return DenseScores(self.scores())
        return factored_scores(
            self.log_psi,
            params,
            self.samples,
            probabilities,
            mode=self.mode,
            layers=layers,
            chunk_size=self.chunk_size,
        )

    @property
    def _for_scores(self) -> tuple[PyTree, Array | float]:
        """Parameters and probabilities in the precision of the scores."""
        both = self.params, self.probabilities
        return single(both) if self.single_scores else both

    @functools.cached_property
    def _scores(self) -> Inexact[Array, "n_rows n_parameters"]:
        params, probabilities = self._for_scores
        return scores(
            self.log_psi,
            params,
            self.samples,
            probabilities,
            mode=self.mode,
            chunk_size=self.chunk_size,
        )

    def gradient(self) -> PyTree:
        """The gradient of the loss, from one vector-Jacobian product of each chunk of samples.

        For real parameters the derivatives, 2 Re <O* (E - <E>)>; for complex ones twice the
        derivatives by their conjugates, 2 <O* (E - <E>)>, as in NetKet: the steepest descent.
        """
        cotangent = jax.lax.stop_gradient(2 * self.probabilities * jnp.conj(self.local_losses))

        def part(given: tuple[LogPsi, PyTree], samples: PyTree, cotangent: Array) -> PyTree:
            log_psi, params = given

            def surrogate(params: PyTree) -> Array:
                return jnp.sum((cotangent * log_psi(params, samples)).real)

            return jax.grad(surrogate)(params)

        given, arrays = (self.log_psi, self.params), (self.samples, cotangent)
        gradient = over_samples(self.division, part, given, arrays, self.chunk_size)
        return jax.tree.map(jnp.conj, gradient)

    def to_parameters(self, vector: Inexact[Array, " n_parameters"]) -> PyTree:
        """A vector over the columns of `scores` as a tree like the parameters."""
        form = realify(self.params, self.mode)
        wanted = jax.eval_shape(form.flatten, self.params).dtype
        return form.restore(vector.astype(wanted))

    def to_vector(self, tree: PyTree) -> Inexact[Array, " n_parameters"]:
        """A tree like the parameters as a vector; the inverse of `to_parameters`."""
        return realify(self.params, self.mode).flatten(tree)


def default_mode(log_psi: LogPsi, params: PyTree, samples: PyTree) -> str:
    """The mode for a wave function: "real" if parameters and log psi are, or "complex"."""
    out = jax.eval_shape(log_psi, params, samples)
    is_complex = any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params))
    return "complex" if is_complex or jnp.issubdtype(out.dtype, jnp.complexfloating) else "real"

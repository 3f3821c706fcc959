"""Overlaps of several states, and penalties on them."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from ritz.checks import check_positive
from ritz.estimators.base import in_double
from ritz.estimators.statistics import Stats
from ritz.molecule.multistate.stacking import over_states
from ritz.molecule.wavefunction import LogPsi

OVERLAP_PENALTY = 2.0
"""Default weight of squared overlaps, in hartree. It must exceed the differences of the energies,
and no neutral atom or molecule has an ionisation energy above that of helium, 0.90 hartree."""

LARGEST_OVERLAP = 0.1
"""Squared overlap above which the energies of two states are not to be trusted."""

_SIGMAS = 4.5
"""Standard errors by which a squared overlap must exceed that."""

Weights: TypeAlias = tuple[tuple[float, ...], ...]
"""A symmetric matrix of penalties in hartree; its diagonal is not used."""


def penalty_weights(given: Any, n_states: int) -> Weights:
    """Weights of the penalties of all pairs of states.

    Args:
        given: A number for all pairs, or a symmetric matrix; in hartree.
        n_states: Number of states.

    Raises:
        ValueError: If weights are not positive and finite, or their matrix has another shape or is
            not symmetric.
    """
    if np.ndim(given) == 0:
        check_positive("overlap_penalty", given)
        return ((float(given),) * n_states,) * n_states
    matrix = np.asarray(given, float)
    apart = ~np.eye(n_states, dtype=bool)
    fits = matrix.shape == (n_states, n_states) and np.array_equal(matrix, matrix.T)
    if not fits or not np.all((matrix[apart] > 0) & (matrix[apart] < math.inf)):
        raise ValueError(
            "overlap_penalty takes a positive number of hartree, or a symmetric matrix of such of "
            f"the shape ({n_states}, {n_states}), but {given!r} was given."
        )
    return tuple(tuple(map(float, row)) for row in matrix)


def pairs(n_states: int) -> Iterator[tuple[int, int]]:
    """All pairs of states i < j."""
    return itertools.combinations(range(n_states), 2)


class Overlaps(NamedTuple):
    """Ratios of wave functions on the walkers of each state, of which overlaps are means."""

    ratios: Inexact[Array, "n_states n_states n_walkers"]
    """psi_i / psi_j on the walkers of j, in units e^o_ij with o antisymmetric, which products of
    both directions do not depend on."""
    means: Inexact[Array, "n_states n_states"]
    """<psi_i / psi_j>_j, means over the walkers of j in these units."""
    variances: Float[Array, "n_states n_states"]
    """Variances of these means."""

    @property
    def squared(self) -> Float[Array, "n_states n_states"]:
        """S_ij^2 = |<i|j>|^2 / <i|i><j|j>, without bias, so that noise may make it negative."""
        return jnp.real(self.means * self.means.T)

    @property
    def errors(self) -> Float[Array, "n_states n_states"]:
        """Standard errors of `squared`, of the product of two independent means."""
        sizes = jnp.abs(self.means) ** 2
        first = sizes.T * self.variances
        return jnp.sqrt(first + first.T + self.variances * self.variances.T)

    def penalties(
        self, energies: Inexact[Array, " n_states"], weights: Weights
    ) -> Inexact[Array, "n_states n_walkers"]:
        """What the penalties add to the local energies of the walkers of each state.

        That of a pair is added to the state j with the higher energy: w_ij <psi_j / psi_i>_i
        (psi_i / psi_j)(x), whose mean is w_ij S_ij^2, and whose gradient, as that of an energy, is
        w_ij times the derivative of S_ij^2 by the parameters of j.

        Args:
            energies: Of the states; of equal ones the first is the lower.
            weights: In hartree.
        """
        strength = jnp.asarray(weights) * is_below(energies)
        return jnp.sum((strength * self.means.T)[..., None] * self.ratios, axis=0)

    def rows(self) -> dict[str, Stats]:
        """Squared overlaps by name, `overlap_0_1` for example."""
        n_walkers = self.ratios.shape[-1]
        squared, errors = self.squared, self.errors
        return {
            f"overlap_{i}_{j}": Stats(squared[i, j], errors[i, j], errors[i, j] ** 2 * n_walkers)
            for i, j in pairs(len(squared))
        }

    def are_large(self) -> Bool[Array, ""]:
        """Whether an overlap is too large for the energies to be those of two states."""
        apart = ~np.eye(len(self.means), dtype=bool)
        return jnp.any((self.squared - _SIGMAS * self.errors > LARGEST_OVERLAP) & apart)


def is_below(energies: Inexact[Array, " n_states"]) -> Bool[Array, "n_states n_states"]:
    """Whether state i has a lower energy than state j, or an equal one and i < j."""
    energies = jnp.real(energies)
    first = np.triu(np.ones((len(energies),) * 2, bool), 1)
    low, high = energies[:, None], energies[None]
    return (low < high) | ((low == high) & first)


def overlaps(
    log_psi: LogPsi,
    params: PyTree,
    electrons: Float[Array, "n_states n_walkers n_electrons 3"],
    weights: Float[Array, "n_states n_walkers"] | None = None,
) -> Overlaps:
    """Ratios of all states on the walkers of all states.

    S_ij^2 = <psi_j / psi_i>_i <psi_i / psi_j>_j needs no normalisation (Pathak, Busemeyer,
    Rodrigues and Wagner, J. Chem. Phys. 154, 034101, 2021; Entwistle et al., Nat. Commun. 14, 274,
    2023). The variance of both means is finite.

    Args:
        log_psi: The wave function.
        params: Parameters of the states, stacked.
        electrons: Walkers of the states.
        weights: Probabilities of the walkers of each state; None for equal ones.
    """

    def of_psi(params: PyTree) -> Any:
        return over_states(lambda walkers: log_psi.sign_and_log(params, walkers), electrons)

    # First axis: the state whose psi it is; second: the state whose walkers these are.
    signs, logs = in_double(over_states(of_psi, params))
    n_states, n_walkers = len(logs), logs.shape[-1]
    each = jnp.arange(n_states)
    distances = logs - logs[each, each]
    phases = signs * jnp.conj(signs[each, each])
    # Where psi_i vanishes, the ratio is 0 and has no finite logarithm.
    typical = jnp.mean(jnp.nan_to_num(distances, nan=0, posinf=0, neginf=0), axis=-1)
    unit = (typical - typical.T) / 2
    ratios = phases * jnp.exp(distances - unit[..., None])
    share = 1 / n_walkers if weights is None else weights
    means = jnp.sum(share * ratios, axis=-1)
    squares = jnp.abs(ratios - means[..., None]) ** 2
    return Overlaps(ratios, means, jnp.sum(share * share * squares, axis=-1))

"""The square of the total spin."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, Values
from ritz.estimators.base import LogPsi as AnyLogPsi
from ritz.molecule.wavefunction import LogPsi
from ritz.wording import counted


@suggests_fields
@dataclasses.dataclass(frozen=True)
class SpinSquared(AbstractEstimator):
    """S^2, in units of hbar^2: 0 for singlets, 0.75 for doublets, 2 for triplets.

    S_z (S_z + 1) + n_down - sum_ij psi(i and j exchanged) / psi over i with spin up and j with spin
    down (Huang, Filippi and Umrigar, J. Chem. Phys. 108, 8838, 1998, eq. 6). Needs the signs of
    psi, so the wave function of the driver must be a `LogPsi`, as it is unless it was wrapped.

    Args:
        n_up: Number of electrons with spin up.
        n_down: Number of electrons with spin down.

    Raises:
        ValueError: If these are no numbers of electrons, or others than the samples have.
    """

    n_up: int
    n_down: int

    def __post_init__(self) -> None:
        check_count("n_up", self.n_up, 0)
        check_count("n_down", self.n_down, 0)

    @override
    def evaluate(
        self, log_psi: AnyLogPsi, params: PyTree, samples: Array, values: Mapping[str, Values]
    ) -> Inexact[Array, " n_samples"]:
        if not isinstance(log_psi, LogPsi):
            raise TypeError(
                "SpinSquared needs the sign of psi, which a function log psi of real numbers does "
                f"not tell; it takes a ritz.molecule.LogPsi, but got {log_psi!r}."
            )
        n_electrons = samples.shape[1]
        if self.n_up + self.n_down != n_electrons:
            raise ValueError(
                f"{self} is for {counted(self.n_up + self.n_down, 'electron')}, but the samples "
                f"have {n_electrons}; give SpinSquared(molecule.n_up, molecule.n_down)."
            )
        s_z = (self.n_up - self.n_down) / 2
        constant = s_z * (s_z + 1) + self.n_down
        signs, logs = log_psi.sign_and_log(params, samples)
        pairs = [(i, self.n_up + j) for i in range(self.n_up) for j in range(self.n_down)]
        if not pairs:
            return jnp.full(len(samples), constant, logs.dtype)

        def exchanged(total: Array, pair: Array) -> tuple[Array, None]:
            i, j = pair
            there = samples.at[:, i].set(samples[:, j]).at[:, j].set(samples[:, i])
            sign, log = log_psi.sign_and_log(params, there)
            return total + sign * jnp.conj(signs) * jnp.exp(log - logs), None

        begin = jnp.zeros(len(samples), jnp.result_type(signs, logs))
        total, _ = jax.lax.scan(exchanged, begin, jnp.asarray(np.array(pairs, np.int32)))
        return constant - total


@suggests_fields
@dataclasses.dataclass(frozen=True)
class SpinPenalty(AbstractEstimator):
    """weight (S^2 - s (s + 1)) with s = |n_up - n_down| / 2, in hartree: zero for the spin s.

    All states with these numbers of electrons have at least the spin s, so that the mean is at
    least zero. Added to the energy that is minimised, it keeps higher spins out (as Li et al.,
    Nat. Comput. Sci. 4, 910, 2024, do with another form):
    `estimators={"spin_penalty": SpinPenalty(2, 2, 1.0), "penalised": TotalEnergy(("energy",
    "spin_penalty"))}, energy="penalised"`. The lowest state of a higher spin is the ground state
    of a molecule with more electrons up.

    Args:
        n_up: Number of electrons with spin up.
        n_down: Number of electrons with spin down.
        weight: In hartree; should exceed the energies by which states of higher spin lie lower.

    Raises:
        ValueError: If these are no numbers of electrons, or the weight is not positive.
    """

    n_up: int
    n_down: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_count("n_up", self.n_up, 0)
        check_count("n_down", self.n_down, 0)
        check_positive("weight", self.weight)

    @override
    def evaluate(
        self, log_psi: AnyLogPsi, params: PyTree, samples: Array, values: Mapping[str, Values]
    ) -> Inexact[Array, " n_samples"]:
        spin = abs(self.n_up - self.n_down) / 2
        squared = SpinSquared(self.n_up, self.n_down).evaluate(log_psi, params, samples, values)
        return self.weight * (squared - spin * (spin + 1))

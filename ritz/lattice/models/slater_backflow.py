"""Slater determinants whose orbitals depend on the configuration."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Complex, Inexact, Num
from netket.hilbert import SpinOrbitalFermions

from ritz.lattice.models.backflow_network import BackflowNetwork, DType, jastrow_factor
from ritz.lattice.models.determinants import (
    SignAndLog,
    complex_log,
    log_determinant,
    log_of_sum,
)
from ritz.lattice.models.given_orbitals import checked_orbitals, with_noise
from ritz.lattice.models.occupations import (
    check_sizes,
    check_space,
    fermions_per_spin,
    is_occupied,
    places,
    rows_at,
    rows_of_each,
)
from ritz.lattice.models.parameter_types import check_param_dtype


class SlaterBackflow(nn.Module):
    """Determinants of orbitals that depend on all occupations: neural backflow.

    psi(n) = exp(J(n)) sum_k det [phi_k + f_k(n)] at the occupied sites, with orbitals phi, the
    outputs f of a network and a symmetric Jastrow factor, J = sum_{i<j} v_ij n_i n_j. Luo and
    Clark, Phys. Rev. Lett. 122, 226401 (2019). Without hidden layers (`depth=0`) it is a sum of
    Slater determinants.

    Log psi is complex. Of real parameters the phase is 0 or pi, so that mode "real" holds. Where
    all determinants vanish log psi is -inf, and its derivatives are 0.

    Raises:
        TypeError: If the space is not one of fermions, or `param_dtype` no type of parameters.
        ValueError: If the number of fermions is not fixed, sizes are wrong, or `orbitals` have
            another shape.
    """

    hilbert: SpinOrbitalFermions
    """A space with a fixed number of fermions."""
    n_determinants: int = 1
    """Number of determinants that are added."""
    depth: int = 1
    """Number of hidden layers of the network."""
    width: int = 32
    """Units of each hidden layer."""
    generalized: bool = True
    """Whether orbitals mix spins: one determinant of all fermions. Without it there is a product of
    one for each spin, which costs less and converges worse; the number of each spin must be
    fixed then."""
    jastrow: bool = True
    """Whether there is a Jastrow factor. It begins as 1."""
    orbitals: Any = None
    """With which orbitals to begin, such as `hartree_fock_orbitals` returns: an array of shape
    (n_sites, n_fermions of a spin) for each spin, in the order of the space (down, up), or one
    array for all spins if these have as many fermions; with `generalized` also one of shape
    (hilbert.size, n_fermions). Further determinants begin with random changes of them. Without
    it they are random."""
    param_dtype: DType = float
    """Type of the parameters, real or complex."""

    def __post_init__(self) -> None:
        check_space("SlaterBackflow", self.hilbert)
        check_sizes(n_determinants=self.n_determinants, depth=self.depth, width=self.width)
        if not self.generalized and fermions_per_spin(self.hilbert) is None:
            raise ValueError(
                f"{self.hilbert} does not fix the number of fermions of each spin, so that "
                "determinants must mix spins: leave generalized=True."
            )
        check_param_dtype(self.param_dtype, takes_complex=True)
        if self.orbitals is not None:
            self.orbitals = checked_orbitals(self.hilbert, self.orbitals, self.generalized)
        super().__post_init__()

    def _shapes(self) -> list[tuple[int, int]]:
        """Sites and fermions of each determinant in a product."""
        hilbert: Any = self.hilbert
        if self.generalized:
            return [(hilbert.size, hilbert.n_fermions)]
        return [(hilbert.n_orbitals, n) for n in fermions_per_spin(hilbert) or ()]

    @nn.compact
    def __call__(self, x: Num[Array, "*batch size"]) -> Complex[Array, "*batch"]:
        """Log psi of configurations of occupation numbers."""
        occupied = is_occupied("SlaterBackflow", self.hilbert, x)
        shapes, n_each = self._shapes(), self.n_determinants
        changes: list[Any] = [None] * len(shapes)
        if self.depth:
            sizes = [n_each * rows * columns for rows, columns in shapes]
            network = BackflowNetwork(
                sum(sizes), self.depth, self.width, param_dtype=self.param_dtype
            )
            parts = jnp.split(network(occupied), np.cumsum(sizes)[:-1], axis=-1)
            changes = [p.reshape(-1, n_each, *s) for p, s in zip(parts, shapes, strict=True)]
        signs: Any = 1
        logs: Any = 0
        first = 0
        for number, (shape, change) in enumerate(zip(shapes, changes, strict=True)):
            if shape[1] == 0:
                first += shape[0]
                continue
            within = occupied[:, first : first + shape[0]]
            sign, log = self._determinants(number, shape, within, change)
            signs, logs, first = signs * sign, logs + log, first + shape[0]
        log_psi = complex_log(*log_of_sum(signs, logs))
        if self.jastrow:
            log_psi = log_psi + jastrow_factor(self.param_dtype)(occupied)
        return log_psi.reshape(x.shape[:-1])

    def _determinants(
        self,
        number: int,
        shape: tuple[int, int],
        occupied: Bool[Array, "n sites"],
        change: Inexact[Array, "n k sites m"] | None,
    ) -> SignAndLog:
        """Those of one spin, or of all fermions: shape (n, k)."""
        orbitals = self.param(
            f"orbitals_{number}", self._initial, number, (self.n_determinants, *shape)
        )
        at = places(occupied, shape[1])
        matrices = rows_at(orbitals, at)
        if change is not None:
            matrices = matrices + rows_of_each(change, at)
        return log_determinant(matrices)

    def _initial(self, key: Array, number: int, shape: tuple[int, int, int]) -> Array:
        normal = nn.initializers.normal(shape[1] ** -0.5)(key, shape, self.param_dtype)
        if self.orbitals is None:
            return normal
        return with_noise(self.orbitals[number].wrapped, normal)

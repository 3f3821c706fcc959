"""Pairing wave functions: Pfaffians of pair amplitudes."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Complex, Inexact, Int, Num
from netket.hilbert import SpinOrbitalFermions

from ritz.lattice.models.backflow_network import (
    BackflowNetwork,
    DType,
    jastrow_factor,
    scaled_normal,
)
from ritz.lattice.models.determinants import complex_log, log_of_sum
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
from ritz.lattice.models.pfaffians import log_pfaffian


class Pfaffian(nn.Module):
    """Pairs of fermions in all spin states: psi(n) = exp(J(n)) sum_k Pf [F_k at occupied sites].

    F is an antisymmetric matrix of pair amplitudes between all sites and spins, of singlets and
    triplets, as of BCS theory: Bajdich et al., Phys. Rev. Lett. 96, 130201 (2006). Every Slater
    determinant of an even number of fermions is such a Pfaffian. An odd number has one unpaired
    orbital besides. With hidden layers, F depends on the configuration: F + u(n) w^T - w u(n)^T,
    u being the outputs of a network.

    Log psi is complex. Of real parameters the phase is 0 or pi, so that mode "real" holds. Where
    all Pfaffians vanish log psi is -inf, and its derivatives are 0.

    Raises:
        TypeError: If the space is not one of fermions, or `param_dtype` no type of parameters.
        ValueError: If the number of fermions is not fixed, sizes are wrong, or `orbitals` have
            another shape.
    """

    hilbert: SpinOrbitalFermions
    """A space with a fixed number of fermions."""
    n_pfaffians: int = 1
    """Number of Pfaffians that are added."""
    depth: int = 0
    """Number of hidden layers of the network; 0 for amplitudes without it."""
    width: int = 32
    """Units of each hidden layer."""
    rank: int | None = None
    """Columns of u and w; by default the number of fermions."""
    jastrow: bool = True
    """Whether log psi has a Jastrow factor sum_{i<j} v_ij n_i n_j. It begins as 0."""
    orbitals: Any = None
    """Orbitals as `SlaterBackflow` takes them, with the determinant of which to begin. Without it
    pair amplitudes are random."""
    param_dtype: DType = float
    """Type of the parameters, real or complex."""

    def __post_init__(self) -> None:
        check_space("Pfaffian", self.hilbert)
        rank = 1 if self.rank is None else self.rank
        check_sizes(n_pfaffians=self.n_pfaffians, depth=self.depth, width=self.width, rank=rank)
        check_param_dtype(self.param_dtype, takes_complex=True)
        if self.orbitals is not None:
            self.orbitals = checked_orbitals(self.hilbert, self.orbitals, generalized=True)
        super().__post_init__()

    @property
    def _n_fermions(self) -> int:
        n_fermions: Any = self.hilbert.n_fermions
        return n_fermions

    @nn.compact
    def __call__(self, x: Num[Array, "*batch size"]) -> Complex[Array, "*batch"]:
        """Log psi of configurations of occupation numbers."""
        occupied = is_occupied("Pfaffian", self.hilbert, x)
        at = places(occupied, self._n_fermions)
        matrix = self._shared(at)
        if self.depth:
            matrix = matrix + self._of_configuration(occupied, at)
        log_psi = complex_log(*log_of_sum(*log_pfaffian(matrix)))
        if self.jastrow:
            log_psi = log_psi + jastrow_factor(self.param_dtype)(occupied)
        return log_psi.reshape(x.shape[:-1])

    def _shared(self, at: Int[Array, "n f"]) -> Inexact[Array, "n k m m"]:
        """The matrices of F, with the unpaired orbital as the last row and column."""
        size, n_each = self.hilbert.size, self.n_pfaffians
        rows, columns = np.triu_indices(size, k=1)
        upper = self.param("pairs", self._initial_pairs, (n_each, len(rows)))
        pairs = jnp.zeros((n_each, size, size), upper.dtype).at[:, rows, columns].set(upper)
        pairs = pairs - jnp.swapaxes(pairs, -1, -2)
        matrix = jnp.moveaxis(pairs[:, at[:, :, None], at[:, None, :]], 0, 1)
        if self._n_fermions % 2 == 0:
            return matrix
        orbital = self.param("unpaired", self._initial_unpaired, (n_each, size, 1))
        return _bordered(matrix, rows_at(orbital, at))

    def _of_configuration(
        self, occupied: Bool[Array, "n size"], at: Int[Array, "n f"]
    ) -> Inexact[Array, "n k m m"]:
        """U w^T - w u^T at the occupied sites, and changes of the unpaired orbital."""
        size, n_each, is_odd = self.hilbert.size, self.n_pfaffians, self._n_fermions % 2
        rank = self.rank or self._n_fermions
        features = n_each * size * (rank + is_odd)
        network = BackflowNetwork(features, self.depth, self.width, param_dtype=self.param_dtype)
        outputs = network(occupied).reshape(-1, n_each, size, rank + is_odd)
        outputs = rows_of_each(outputs, at)
        shared = self.param(
            "backflow_pairs", scaled_normal(1.0), (n_each, size, rank), self.param_dtype
        )
        product = outputs[..., :rank] @ jnp.swapaxes(rows_at(shared, at), -1, -2)
        matrix = product - jnp.swapaxes(product, -1, -2)
        return _bordered(matrix, outputs[..., rank:]) if is_odd else matrix

    def _initial_pairs(self, key: Array, shape: tuple[int, int]) -> Array:
        size = self.hilbert.size
        normal = nn.initializers.normal(size**-0.5)(key, shape, self.param_dtype)
        if self.orbitals is None:
            return normal
        orbitals = self.orbitals[0].wrapped
        first, second = self._paired
        product = orbitals[:, first] @ orbitals[:, second].T
        return with_noise((product - product.T)[np.triu_indices(size, k=1)], normal)

    def _initial_unpaired(self, key: Array, shape: tuple[int, int, int]) -> Array:
        normal = nn.initializers.normal(shape[1] ** -0.5)(key, shape, self.param_dtype)
        if self.orbitals is None:
            return normal
        first, second = self._paired
        (alone,) = set(range(self._n_fermions)) - {*first, *second}
        return with_noise(self.orbitals[0].wrapped[:, [alone]], normal)

    @property
    def _paired(self) -> tuple[list[int], list[int]]:
        """Orbitals in pairs: first of different spins, then those that remain, but one if odd."""
        numbers = fermions_per_spin(self.hilbert) or (self._n_fermions,)
        first: list[int] = []
        second: list[int] = []
        if len(numbers) == 2:
            n_pairs = min(numbers)
            first, second = list(range(n_pairs)), list(range(numbers[0], numbers[0] + n_pairs))
        rest = [i for i in range(self._n_fermions) if i not in {*first, *second}]
        n_pairs = len(rest) // 2
        return first + rest[:n_pairs], second + rest[n_pairs : 2 * n_pairs]


def _bordered(
    matrix: Inexact[Array, "n k f f"], column: Inexact[Array, "n k f 1"]
) -> Inexact[Array, "n k f+1 f+1"]:
    """An antisymmetric matrix with one more row and column."""
    corner = jnp.zeros_like(column[..., :1, :])
    below = jnp.concatenate([-jnp.swapaxes(column, -1, -2), corner], axis=-1)
    return jnp.concatenate([jnp.concatenate([matrix, column], axis=-1), below], axis=-2)

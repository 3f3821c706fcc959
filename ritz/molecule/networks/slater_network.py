"""Base class of wave functions: determinants of orbitals that see all electrons."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from ritz.checks import check_choice, check_count
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.determinants import log_sum_of_determinants
from ritz.molecule.networks.envelopes import BottleneckEnvelope, IsotropicEnvelope, NuclearCusp
from ritz.molecule.networks.features import norm
from ritz.molecule.networks.jastrow import ElectronCusp, LearnedJastrow

ENVELOPES = ("isotropic", "bottleneck")


class SlaterNetwork(nn.Module):
    """psi = exp(J) sum_k prod_s det(orbitals), with orbitals that depend on all electrons.

    An orbital k of electron i is a linear function of the electron's features, times an envelope
    that decays, times exp(-sum_I Z_I a_I r_iI / (a_I + r_iI)), which has the slope -Z_I at each
    nucleus, and 0 at pseudopotentials without a pole. J has the slopes 1/4 and 1/2 where electrons
    of equal and of different spin meet. Everything else is flat there, so that all cusps are exact,
    at every parameter.

    A subclass implements `electron_features`.
    """

    molecule: Molecule
    """The molecule."""
    n_determinants: int = 16
    """Number of determinants, or of products of them."""
    full_determinant: bool = True
    """Whether a determinant is over all electrons, not one for each spin."""
    envelope: str = "isotropic"
    """Either "isotropic" or "bottleneck", which shares exponents between orbitals."""
    jastrow: bool = False
    """Whether there is a learned factor besides that of the cusps."""
    cusps: bool = True
    """Whether the factors of the cusps are there."""
    dtype: np.dtype | type = jnp.float32
    """Type of the numbers."""
    n_exponents: int = 8
    """Number of exponentials for each nucleus in the envelope "bottleneck"."""

    def setup(self) -> None:
        """Make the layers that all networks share.

        Raises:
            ValueError: If a setting is not allowed.
        """
        check_molecule(self.molecule)
        check_count("n_determinants", self.n_determinants, 1)
        check_choice("envelope", self.envelope, ENVELOPES)
        check_count("n_exponents", self.n_exponents, 1)
        charges, n_core = self.molecule.numbers, self.molecule.n_core
        heads, envelopes = [], []
        for places, n_orbitals in self._groups():
            heads.append(
                nn.Dense(
                    self.n_determinants * n_orbitals,
                    dtype=self.dtype,
                    param_dtype=self.dtype,
                    kernel_init=nn.initializers.variance_scaling(0.1, "fan_in", "normal"),
                    bias_init=self._first_orbitals(places, n_orbitals),
                )
            )
            shells = tuple(self._shells(n_orbitals)) * self.n_determinants
            if self.envelope == "isotropic":
                made = IsotropicEnvelope(charges, shells, self.dtype, n_core)
            else:
                made = BottleneckEnvelope(charges, shells, self.n_exponents, self.dtype, n_core)
            envelopes.append(made)
        self.heads, self.envelopes = heads, envelopes
        cusps = self.molecule.cusp_charges
        self.nuclear_cusp = NuclearCusp(cusps, self.dtype) if self.cusps else None
        self.electron_cusp = ElectronCusp(self.molecule.n_up, self.dtype) if self.cusps else None
        self.learned_jastrow = LearnedJastrow(dtype=self.dtype) if self.jastrow else None
        self.make_layers()

    def make_layers(self) -> None:
        """Make the layers of a subclass; called at the end of `setup`."""

    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        """Features of each electron, which change places when electrons of equal spin do.

        Args:
            electrons: Positions in bohr, those with spin up first.
            nuclei: Positions in bohr.
        """
        raise NotImplementedError(f"{type(self).__name__} must define electron_features.")

    def _groups(self) -> list[tuple[slice, int]]:
        """For each spin that has electrons, their places, and how many orbitals they need."""
        n_up, n = self.molecule.n_up, self.molecule.n_electrons
        spins = [slice(0, n_up), slice(n_up, n)]
        sizes = [n if self.full_determinant else places.stop - places.start for places in spins]
        return [(s, k) for s, k in zip(spins, sizes, strict=True) if s.stop > s.start]

    def _shells(self, n_orbitals: int) -> list[int]:
        """For each orbital of a determinant, its place in the order of filling."""
        n_up = self.molecule.n_up
        if not self.full_determinant:
            return list(range(n_orbitals))
        return [k if k < n_up else k - n_up for k in range(n_orbitals)]

    def _first_orbitals(self, places: slice, n_orbitals: int) -> Callable[..., Array]:
        """Biases with which each electron begins in the orbitals of its own spin."""
        of_spin = np.ones(n_orbitals)
        if self.full_determinant:
            of_spin = np.isin(np.arange(n_orbitals), np.arange(places.start, places.stop))
        begin = np.tile(of_spin, self.n_determinants)
        return lambda _key, _shape, dtype: jnp.asarray(begin, dtype)

    def orbitals(
        self, electrons: Float[Array, "n_electrons 3"]
    ) -> list[Inexact[Array, "n_determinants n n_orbitals"]]:
        """The orbitals of each spin that has electrons: rows are electrons, columns orbitals."""
        nuclei = jnp.asarray(self.molecule.coordinates, electrons.dtype)
        return self._orbitals(electrons, nuclei, self.electron_features(electrons, nuclei))

    def _orbitals(
        self,
        electrons: Float[Array, "n_electrons 3"],
        nuclei: Float[Array, "n_nuclei 3"],
        features: Float[Array, "n_electrons width"],
    ) -> list[Array]:
        distances = norm(electrons[:, None] - nuclei)
        cusp, scale = self.nuclear_cusp, 1.0
        if cusp is not None:
            scale = cusp.scale
        matrices = []
        groups = zip(self._groups(), self.heads, self.envelopes, strict=True)
        for (places, n_orbitals), head, envelope in groups:
            values = head(features[places]) * envelope(distances[places], scale)
            if cusp is not None:
                values = values * jnp.exp(cusp(distances[places]))[:, None]
            shape = len(values), self.n_determinants, n_orbitals
            matrices.append(jnp.moveaxis(values.reshape(shape), 1, 0))
        return matrices

    @override
    def __call__(
        self,
        electrons: Float[Array, "n_electrons 3"],
        nuclei: Float[Array, "n_nuclei 3"] | None = None,
    ) -> tuple[Array, Array]:
        """Sign and log |psi|.

        Args:
            electrons: Positions in bohr, those with spin up first.
            nuclei: Positions in bohr, of which derivatives may be taken; None for those of the
                molecule.
        """
        electrons = electrons.astype(self.dtype)
        places = self.molecule.coordinates if nuclei is None else nuclei
        nuclei = jnp.asarray(places, self.dtype)
        features = self.electron_features(electrons, nuclei)
        blocks = self._orbitals(electrons, nuclei, features)
        if self.full_determinant:
            blocks = [jnp.concatenate(blocks, axis=1)]
        sign, log_psi = log_sum_of_determinants(blocks)
        if self.electron_cusp is not None:
            log_psi = log_psi + self.electron_cusp(electrons)
        if self.learned_jastrow is not None:
            log_psi = log_psi + self.learned_jastrow(features)
        return sign, log_psi


def mean_by_spin(values: Float[Array, "n_electrons ..."], n_up: int) -> list[Array]:
    """Means over the electrons of each spin that has some."""
    parts = [values[:n_up], values[n_up:]]
    return [jnp.mean(part, axis=0) for part in parts if len(part)]


@functools.lru_cache
def spins(n_up: int, n_electrons: int) -> np.ndarray:
    """+1 for electrons with spin up, -1 for the others."""
    return np.where(np.arange(n_electrons) < n_up, 1.0, -1.0)

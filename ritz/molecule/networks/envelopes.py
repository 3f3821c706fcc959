"""Envelopes: how orbitals decay far from nuclei, and their cusps at them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.molecule.networks.features import flat_distance
from ritz.molecule.slater import slater_exponent


def inverse_softplus(value: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    """X with softplus(x) = value."""
    value = np.asarray(value, float)
    return value + np.log(-np.expm1(-value))


def _with_cores(charges: tuple[int, ...], n_core: tuple[int, ...]) -> list[tuple[int, int]]:
    """The charge and the number of core electrons of each atom."""
    return list(zip(charges, n_core or (0,) * len(charges), strict=True))


class NuclearCusp(nn.Module):
    """The factor exp(-sum_I Z_I a_I r_I / (a_I + r_I)) of each electron's orbitals.

    Its slope at nucleus I is -Z_I, as Kato's theorem demands, for every positive a_I. What else
    orbitals are made of is flat there.

    Args:
        charges: Z_I of the pole -Z_I / r of the potential; 0 where a pseudopotential has none.
        dtype: Type of the numbers.
    """

    charges: tuple[float, ...]
    dtype: np.dtype | type = jnp.float32

    def setup(self) -> None:
        """Make the parameters: a_I begins at 1 / Z_I, or 1 bohr where there is no cusp."""
        charges = np.array(self.charges, float)
        begin = inverse_softplus(1 / np.where(charges > 0, charges, 1))
        self.raw_scale = self.param("scale", lambda _: jnp.asarray(begin, self.dtype))

    @property
    def scale(self) -> Float[Array, " n_nuclei"]:
        """a_I of each nucleus in bohr: how far its cusp reaches; positive."""
        return jax.nn.softplus(self.raw_scale)

    @override
    def __call__(
        self, distances: Float[Array, "n_electrons n_nuclei"]
    ) -> Float[Array, " n_electrons"]:
        """Logarithm of the factor of each electron."""
        charges = jnp.asarray(self.charges, self.dtype)
        a = self.scale
        return -jnp.sum(charges * a * distances / (a + distances), axis=-1)


class IsotropicEnvelope(nn.Module):
    """sum_I pi_I exp(-sigma_I s_I) for each orbital, s the flat distance to nucleus I.

    With s = r^2 / (a + r), sigma = Z and the factor `NuclearCusp`, orbitals begin as hydrogen's
    1s orbitals exactly; other shells by Slater's rules.

    Args:
        charges: Of the nuclei.
        shells: For each orbital, its place in the order of filling, outside the cores.
        dtype: Type of the numbers.
        n_core: Electrons of each core that a pseudopotential replaces; empty for none.
    """

    charges: tuple[int, ...]
    shells: tuple[int, ...]
    dtype: np.dtype | type = jnp.float32
    n_core: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, "n_electrons n_nuclei"],
        scale: Float[Array, " n_nuclei"] | float,
    ) -> Float[Array, "n_electrons n_orbitals"]:
        """The envelope of each orbital at each electron."""
        atoms = _with_cores(self.charges, self.n_core)
        begin = np.array([[slater_exponent(z, k, n) for z, n in atoms] for k in self.shells])
        sigma = self.param("sigma", lambda _: jnp.asarray(inverse_softplus(begin), self.dtype))
        pi = self.param("pi", nn.initializers.ones, begin.shape, self.dtype)
        far = flat_distance(distances, scale)
        decay = jnp.exp(-jax.nn.softplus(sigma) * far[:, None])
        return jnp.sum(pi * decay, axis=-1)


class BottleneckEnvelope(nn.Module):
    """A few exponentials for each nucleus, of which all orbitals are linear combinations.

    Cheaper than `IsotropicEnvelope` for many orbitals (Gao and Günnemann, arXiv 2205.14962 use a
    few exponents likewise).

    Args:
        charges: Of the nuclei.
        shells: For each orbital, its place in the order of filling, outside the cores.
        n_exponents: Number of exponentials for each nucleus.
        dtype: Type of the numbers.
        n_core: Electrons of each core that a pseudopotential replaces; empty for none.
    """

    charges: tuple[int, ...]
    shells: tuple[int, ...]
    n_exponents: int = 8
    dtype: np.dtype | type = jnp.float32
    n_core: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, "n_electrons n_nuclei"],
        scale: Float[Array, " n_nuclei"] | float,
    ) -> Float[Array, "n_electrons n_orbitals"]:
        """The envelope of each orbital at each electron."""
        last = max(self.shells)
        atoms = _with_cores(self.charges, self.n_core)
        ends = [(slater_exponent(z, last, n), slater_exponent(z, 0, n)) for z, n in atoms]
        begin = np.stack(
            [np.geomspace(low, max(z0, 1.01 * low), self.n_exponents) for low, z0 in ends]
        )
        sigma = self.param("sigma", lambda _: jnp.asarray(inverse_softplus(begin), self.dtype))
        n_orbitals, n_functions = len(self.shells), begin.size
        pi = self.param(
            "pi",
            nn.initializers.constant(1 / self.n_exponents),
            (n_functions, n_orbitals),
            self.dtype,
        )
        far = flat_distance(distances, scale)
        decay = jnp.exp(-jax.nn.softplus(sigma) * far[..., None])
        return decay.reshape(len(distances), -1) @ pi

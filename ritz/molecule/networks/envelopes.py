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


class NuclearCusp(nn.Module):
    """The factor exp(-sum_I Z_I a_I r_I / (a_I + r_I)) of each electron's orbitals.

    Its slope at nucleus I is -Z_I, as Kato's theorem demands, for every positive a_I. What else
    orbitals are made of is flat there.

    Args:
        charges: Z_I.
        dtype: Type of the numbers.
    """

    charges: tuple[int, ...]
    dtype: np.dtype | type = jnp.float32

    def setup(self) -> None:
        """Make the parameters: a_I begins at 1 / Z_I."""
        begin = inverse_softplus(1 / np.array(self.charges, float))
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
        shells: For each orbital, its place in the order of filling.
        dtype: Type of the numbers.
    """

    charges: tuple[int, ...]
    shells: tuple[int, ...]
    dtype: np.dtype | type = jnp.float32

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, "n_electrons n_nuclei"],
        scale: Float[Array, " n_nuclei"] | float,
    ) -> Float[Array, "n_electrons n_orbitals"]:
        """The envelope of each orbital at each electron."""
        begin = np.array([[slater_exponent(z, k) for z in self.charges] for k in self.shells])
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
        shells: For each orbital, its place in the order of filling.
        n_exponents: Number of exponentials for each nucleus.
        dtype: Type of the numbers.
    """

    charges: tuple[int, ...]
    shells: tuple[int, ...]
    n_exponents: int = 8
    dtype: np.dtype | type = jnp.float32

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, "n_electrons n_nuclei"],
        scale: Float[Array, " n_nuclei"] | float,
    ) -> Float[Array, "n_electrons n_orbitals"]:
        """The envelope of each orbital at each electron."""
        last = max(self.shells)
        ends = [(slater_exponent(z, last), slater_exponent(z, 0)) for z in self.charges]
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

"""The layers of MACE: sums over neighbours, their products, energies."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from flax import linen as nn
from jaxtyping import Array, Float

from ritz.mlip.models.couplings import e3nn, message_paths, symmetric_products
from ritz.potentials import AtomicGraph

Features = dict[int, Array]
"""By degree l: components and channels of atoms, (n_atoms, 2 l + 1, n_channels)."""

_LINEAR = nn.initializers.variance_scaling(1.0, "fan_in", "normal")

_SILU = 1.6790
"""One over the root mean square of silu(x) for normal x, which keeps numbers of the order of 1."""


class MACENetwork(nn.Module):
    """The network of `MACE`, which has the meaning of the numbers."""

    cutoff: float
    species: tuple[str, ...]
    n_neighbors: float
    n_channels: int
    l_hidden: int
    l_max: int
    correlation: int
    n_layers: int
    n_radial: int
    radial_hidden: tuple[int, ...]
    readout_hidden: int

    @nn.compact
    def __call__(self, structure: AtomicGraph) -> Float[Array, " n_atoms"]:
        """An energy for each atom."""
        distances = jnp.sqrt(structure.squared_distances())
        units: Any = jnp.where(structure.pairs[..., None], structure.vectors, 0)
        harmonics = _harmonics(units / distances[..., None], self.l_max)
        radial = self._radial(jnp.where(structure.pairs, distances, self.cutoff))
        elements = self._elements(structure).astype(radial.dtype)
        features = {0: nn.Dense(self.n_channels, use_bias=False, name="embed")(elements)[:, None]}
        energies: Any = 0
        for layer in range(self.n_layers):
            last = layer == self.n_layers - 1
            degrees = (0,) if last else tuple(range(self.l_hidden + 1))
            sums = self._sums(f"sum_{layer}", structure, features, harmonics, radial)
            messages = self._products(f"product_{layer}", sums, elements, degrees)
            features = self._updated(f"update_{layer}", messages, features, elements)
            scalars = features[0][:, 0]
            if last:
                scalars = nn.silu(nn.Dense(self.readout_hidden, name="readout_hidden")(scalars))
            energies += nn.Dense(1, name=f"readout_{layer}")(scalars)[:, 0]
        n = len(self.species)
        scale = self.param("scale", nn.initializers.ones, (n,)).astype(radial.dtype)
        shift = self.param("shift", nn.initializers.zeros, (n,)).astype(radial.dtype)
        return energies * (elements @ scale) + elements @ shift

    def _elements(self, structure: AtomicGraph) -> Array:
        """Ones where an atom is of a species, (n_atoms, n_species)."""
        known = jnp.array([atomic_numbers[symbol] for symbol in self.species])
        return structure.numbers[:, None] == known

    def _radial(
        self, distances: Float[Array, "atoms n_neighbors"]
    ) -> Float[Array, "atoms n_neighbors n_radial"]:
        """Radial Bessel functions times a polynomial that ends at the cutoff.

        Both as in Gasteiger, Groß and Günnemann, arXiv 2003.03123; two derivatives vanish at the
        cutoff.
        """
        orders = jnp.arange(1, self.n_radial + 1) * jnp.pi
        x = jnp.minimum(distances / self.cutoff, 1)
        envelope = 1 - x**6 * (28 - 48 * x + 21 * x**2)
        waves = jnp.sin(x[..., None] * orders) * (np.sqrt(2) * envelope / x)[..., None]
        return waves.astype(distances.dtype)

    def _sums(
        self,
        name: str,
        structure: AtomicGraph,
        features: Features,
        harmonics: Features,
        radial: Float[Array, "atoms n_neighbors n_radial"],
    ) -> Float[Array, "atoms components n_channels"]:
        """Sums over neighbours of all paths, mixed, with the degrees one after another."""
        n = self.n_channels
        paths = message_paths(self.l_max, max(features), self.l_max)
        hidden = radial
        for layer, width in enumerate(self.radial_hidden):
            hidden = _SILU * nn.silu(_linear(width, f"{name}_radial_{layer}")(hidden))
        weights = _linear(len(paths) * n, f"{name}_radial")(hidden)
        around = {
            degree: _linear(n, f"{name}_in_{degree}")(feature)[structure.neighbors]
            for degree, feature in features.items()
        }
        found: dict[int, list[Array]] = {}
        for place, path in enumerate(paths):
            weight = weights[..., None, place * n : (place + 1) * n]
            coupled = jnp.einsum(
                "ajx,xyz->ajyz", harmonics[path.direction], path.coefficients.astype(radial.dtype)
            )
            summed = jnp.einsum("ajyz,ajyk->azk", coupled, weight * around[path.feature])
            found.setdefault(path.message, []).append(summed / self.n_neighbors)
        mixed = [
            _linear(n, f"{name}_out_{degree}")(jnp.concatenate(parts, axis=-1))
            for degree, parts in found.items()
        ]
        return jnp.concatenate(mixed, axis=1)

    def _products(
        self,
        name: str,
        sums: Float[Array, "atoms components n_channels"],
        elements: Float[Array, "atoms n_species"],
        degrees: tuple[int, ...],
    ) -> Features:
        """Products of up to `correlation` sums, with a weight for each element and coupling."""
        found: dict[int, Any] = dict.fromkeys(degrees, 0)
        components = jnp.swapaxes(sums, 0, 1)
        for n_factors in range(1, self.correlation + 1):
            listed = symmetric_products(self.l_max, n_factors, degrees)
            factors = (_picked(components, places) for places in listed.components.T)
            product = functools.reduce(jnp.multiply, factors)
            for degree, couplings in listed.couplings.items():
                shape = (len(self.species), couplings.shape[1], self.n_channels)
                weights = self.param(
                    f"{name}_{n_factors}_{degree}", nn.initializers.normal(1 / shape[1]), shape
                ).astype(sums.dtype)
                coupled = jnp.einsum("pcm,pak->cmak", couplings.astype(sums.dtype), product)
                found[degree] += jnp.einsum("cmak,as,sck->amk", coupled, elements, weights)
        return found

    def _updated(
        self, name: str, messages: Features, features: Features, elements: Array
    ) -> Features:
        """Messages mixed among channels, plus features mixed by weights of the element."""
        n = self.n_channels
        found = {}
        for degree, message in messages.items():
            found[degree] = _linear(n, f"{name}_{degree}")(message)
            if degree in features:
                by_element = features[degree][:, :, None] * elements[:, None, :, None]
                flat = by_element.reshape(*by_element.shape[:2], -1)
                found[degree] += _linear(n, f"{name}_{degree}_kept")(flat)
        return found


def _linear(width: int, name: str) -> nn.Dense:
    return nn.Dense(width, use_bias=False, kernel_init=_LINEAR, name=name)


def _picked(
    components: Float[Array, "components atoms n_channels"], places: np.ndarray
) -> Float[Array, "n_products atoms n_channels"]:
    """Some components, by a product with ones and zeros, whose derivative is fast on CPUs."""
    ones = np.eye(len(components))[places]
    return jnp.einsum("pc,cak->pak", ones.astype(components.dtype), components)


def _harmonics(units: Float[Array, "atoms n_neighbors 3"], l_max: int) -> Features:
    """Real spherical harmonics by degree, whose squares sum to 2 l + 1, in e3nn's order."""
    library = e3nn()
    found = library.spherical_harmonics(
        library.Irreps.spherical_harmonics(l_max), units, normalize=False, normalization="component"
    ).array
    return {degree: found[..., degree**2 : (degree + 1) ** 2] for degree in range(l_max + 1)}

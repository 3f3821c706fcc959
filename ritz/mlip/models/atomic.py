"""Networks of the features of atoms, one for each species."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.mlip.arrays import AnyArray
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.models.abstract_model import (
    SMALLEST,
    AbstractModel,
    Batch,
    GroupCapacity,
    Normalisation,
    Prediction,
    Widths,
)
from ritz.potentials import AtomicGraph
from ritz.updates import linear

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
}
"""Activation functions by name."""

Hidden = tuple[tuple[int, str], ...]
"""The hidden layers of a network: how many nodes each has, and its activation."""

Architecture = tuple[tuple[str, Hidden], ...]
"""The networks by species, in the descriptor's order."""


def checked_architecture(
    arch: Mapping[str, Sequence[tuple[int, str]]], species: Sequence[str]
) -> Architecture:
    """The architecture, in the order of `species`.

    Raises:
        TypeError: If it is no mapping from species to pairs (nodes, activation).
        ValueError: If a species is missing or unknown, or a layer is not allowed.
    """
    if not isinstance(arch, Mapping):
        raise TypeError(
            "arch maps each species to its hidden layers, such as {'O': [(20, 'tanh')]}, but "
            f"{arch!r} was given."
        )
    if set(arch) != set(species):
        raise ValueError(
            f"arch has networks for {sorted(arch)}, but the descriptor has the species "
            f"{list(species)}; give one for each."
        )
    return tuple((symbol, _hidden(symbol, arch[symbol])) for symbol in species)


def _hidden(symbol: str, layers: Sequence[tuple[int, str]]) -> Hidden:
    found = []
    for layer in layers:
        try:
            nodes, activation = layer
        except (TypeError, ValueError):
            raise TypeError(
                f"a layer is a pair such as (20, 'tanh'), but {layer!r} was given for {symbol}."
            ) from None
        check_count(f"the number of nodes of a layer of {symbol}", nodes, 1)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"the activation of a layer of {symbol} must be one of {', '.join(ACTIVATIONS)}, "
                f"but {activation!r} was given."
            )
        found.append((int(nodes), activation))
    return tuple(found)


Layer = dict[str, AnyArray]
"""A linear map: `weights` of shape (inputs, outputs) and `bias`."""

Networks = dict[str, list[Layer]]
"""The layers of each species' network, the output layer last."""


def init_networks(key: Key[Array, ""], arch: Architecture, n_features: int) -> Networks:
    """Random networks; weights are within +-1 / sqrt(inputs), biases are zero."""
    networks: Networks = {}
    for symbol, hidden in arch:
        sizes = [n_features, *(nodes for nodes, _ in hidden), 1]
        layers = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            key, own = jax.random.split(key)
            weights = jax.random.uniform(own, (fan_in, fan_out), minval=-1, maxval=1) / jnp.sqrt(
                fan_in
            )
            layers.append({"weights": weights, "bias": jnp.zeros(fan_out)})
        networks[symbol] = layers
    return networks


def evaluate_network(
    layers: list[Layer], hidden: Hidden, features: Float[Array, "*batch n_features"]
) -> Float[Array, " *batch"]:
    """The output of a network."""
    x = features
    for layer, (_, activation) in zip(layers[:-1], hidden, strict=True):
        x = ACTIVATIONS[activation](linear(x, layer["weights"], layer["bias"]))
    return linear(x, layers[-1]["weights"], layers[-1]["bias"])[..., 0]


@dataclasses.dataclass(frozen=True)
class AtomicModel(AbstractModel):
    """A sum of networks of the atoms' features, one network for each species; hashable.

    Inputs are normalised features, and tables their derivatives.
    """

    arch: Architecture
    descriptor: AbstractDescriptor

    @property
    @override
    def species(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.descriptor.species

    @property
    @override
    def cutoff(self) -> float:  # type: ignore[override]
        return self.descriptor.cutoff

    @property
    @override
    def n_features(self) -> int:  # type: ignore[override]
        return self.descriptor.n_features

    @property
    @override
    def min_distance(self) -> float:  # type: ignore[override]
        return self.descriptor.min_cutoff

    @override
    def init(self, key: Key[Array, ""]) -> Networks:
        return init_networks(key, self.arch, self.n_features)

    def features(
        self, chunk: Chunk, widths: Widths = (0, 0)
    ) -> Float[np.ndarray, "atoms n_features"]:
        """The features that the descriptor computes, in float64."""
        if chunk.features is None:
            chunk.features = self.descriptor.features_of(chunk.pairs, widths)
        return chunk.features[chunk.order]

    def widths(self, chunk: Chunk, with_forces: bool) -> Widths:
        """Lengths of the rows, as the descriptor counts them; those that are known are taken."""
        if chunk.known_widths is not None:
            return chunk.known_widths
        if chunk.features is not None and not with_forces:
            return 0, 0
        return self.descriptor.widths_of(chunk.pairs)

    def row_bytes(self, widths: Widths, with_forces: bool, itemsize: int) -> int:
        """Features, and their derivatives with the partners of all neighbours."""
        size = self.n_features * itemsize
        if with_forces:
            size += self.descriptor.table_bytes(widths, itemsize) + 3 * itemsize
        return size

    def inputs(
        self, chunk: Chunk, normalisation: Normalisation | None, widths: Widths, dtype: str
    ) -> np.ndarray:
        """Features; normalised ones in the precision of training."""
        features = self.features(chunk, widths)
        if normalisation is None:
            return features
        scaled = (features - normalisation.mean) / np.maximum(normalisation.std, SMALLEST)
        return scaled.astype(dtype)

    @override
    def tables(self, chunk: Chunk, widths: Widths, dtype: str, with_stress: bool) -> PyTree:
        return self.descriptor.tables(chunk, widths, dtype, with_stress)

    @override
    def example(self) -> tuple[np.ndarray, tuple[int, ...]]:
        return np.zeros((len(self.arch), self.n_features)), (1,) * len(self.arch)

    @override
    def places_of(self, parameter: str, atoms: Sequence[int]) -> slice:
        bounds = np.cumsum([0, *atoms]).tolist()
        kind = self.species.index(parameter.partition("/")[0])
        return slice(bounds[kind], bounds[kind + 1])

    def predict(
        self,
        params: Networks,
        normalisation: Normalisation,
        batch: Batch,
        capacity: GroupCapacity,
    ) -> Prediction:
        """Energies of a batch, and forces if it has what they need."""
        bounds = np.cumsum([0, *capacity.atoms])
        energies, by_feature = [], []
        for kind, (symbol, hidden) in enumerate(self.arch):
            own = batch.inputs[bounds[kind] : bounds[kind + 1]]

            def network(features: Array, symbol: str = symbol, hidden: Hidden = hidden) -> Array:
                return evaluate_network(params[symbol], hidden, features)

            if batch.tables is None:
                energies.append(network(own))
            else:
                values, pullback = jax.vjp(network, own)
                energies.append(values)
                by_feature += pullback(jnp.ones_like(values))
        each = jnp.where(batch.valid, jnp.concatenate(energies), 0) / normalisation.e_scaling
        total = jax.ops.segment_sum(each, batch.slot, len(batch.ids))
        if batch.tables is None:
            return Prediction(total)
        scale = 1 / (normalisation.e_scaling * jnp.maximum(normalisation.std, SMALLEST))
        slopes = jnp.concatenate(by_feature) * scale
        slopes = jnp.where(batch.valid[:, None], slopes, 0)
        return Prediction(
            total,
            *self.descriptor.forces(slopes, batch.tables, batch.begins, capacity.stress),
        )

    def atomic_energies(
        self,
        params: Networks,
        normalisation: Normalisation,
        structure: AtomicGraph,
        kinds: Int[Array, " n_atoms"],
    ) -> Float[Array, " n_atoms"]:
        """The outputs of the networks, in eV."""
        dtype = structure.vectors.dtype
        features = self.descriptor.features(
            structure.vectors, structure.pairs, kinds[structure.neighbors], kinds
        )
        features = jnp.asarray(normalisation.features(features), dtype)
        total = jnp.zeros(len(kinds), dtype)
        for kind, (symbol, hidden) in enumerate(self.arch):
            energy = evaluate_network(params[symbol], hidden, features)
            total = jnp.where(kinds == kind, energy / normalisation.e_scaling, total)
        return total

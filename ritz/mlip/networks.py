"""Feed-forward networks of atoms, one for each species."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ritz.checks import check_count
from ritz.mlip.types import AnyArray

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
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
        x = ACTIVATIONS[activation](x @ layer["weights"] + layer["bias"])
    return (x @ layers[-1]["weights"] + layers[-1]["bias"])[..., 0]

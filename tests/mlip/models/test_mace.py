"""MACE: symmetries of its energies, derivatives, ends of the neighbourhood, training, files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ritz.mlip import MACE, GraphPotential, Structure, load_potential, mean_neighbors
from ritz.mlip.models.abstract_model import Normalisation
from ritz.mlip.models.couplings import message_paths, symmetric_products
from ritz.potentials import AtomicGraph
from ritz.testing import check_potential
from tests.mlip.systems import ATOMS, config, random_structure, tio2

CUTOFF = 4.0
N, WIDTH = 5, 6


def mace(**numbers) -> MACE:
    """A small network with tensors between its layers."""
    usual = {"n_channels": 3, "l_hidden": 1, "l_max": 2, "n_radial": 3, "radial_hidden": (4,)}
    return MACE(cutoff=CUTOFF, species=["Ti", "O"], **{**usual, **numbers})


def graph_of(positions: np.ndarray, numbers: np.ndarray, dtype: str = "float64") -> AtomicGraph:
    """A cluster, with rows that are longer than its number of neighbours."""
    n = len(positions)
    vectors, neighbors = np.zeros((n, WIDTH, 3), dtype), np.tile(np.arange(n)[:, None], (1, WIDTH))
    pairs = np.zeros((n, WIDTH), bool)
    for i in range(n):
        near = [j for j in range(n) if j != i
                and np.linalg.norm(positions[j] - positions[i]) < CUTOFF + 0.1]  # fmt: skip
        for k, j in enumerate(near):
            vectors[i, k], neighbors[i, k], pairs[i, k] = positions[j] - positions[i], j, True
    nowhere = np.full((n, 3), np.nan, dtype)
    return AtomicGraph(
        *(nowhere, np.full((3, 3), np.nan, dtype), np.zeros(3, bool), numbers, np.ones(n, bool)),
        jnp.asarray(neighbors), jnp.asarray(vectors), jnp.asarray(pairs),
    )  # fmt: skip


@functools.cache
def compiled(dtype: str = "float64"):
    """Parameters, and energies of atoms with the slopes of their sum, compiled once."""
    network = mace()
    with jax.enable_x64(dtype == "float64"):
        params = network.init(jax.random.key(3), graph_of(*cluster(), dtype=dtype))
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

    @jax.jit
    def each(vectors, graph):
        found = network.apply(params, graph._replace(vectors=vectors))
        return jnp.sum(found), found

    return jax.jit(jax.value_and_grad(each, has_aux=True))


def cluster() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 0.0]])
    return corners + rng.uniform(-0.3, 0.3, (N, 3)), np.array([22, 8, 8, 22, 8])


def energies(positions, numbers, dtype: str = "float64") -> np.ndarray:
    with jax.enable_x64(dtype == "float64"):
        graph = graph_of(positions, numbers, dtype)
        (_, each), slopes = compiled(dtype)(graph.vectors, graph)
    assert each.dtype == dtype and np.all(np.isfinite(slopes))
    return np.asarray(each)

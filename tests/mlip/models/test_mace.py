"""MACE: symmetries of its energies, derivatives, ends of the neighbourhood, training, files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ritz.mlip import MACE, Adam, GraphPotential, Structure, load_potential, mean_neighbors
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
    return MACE(cutoff=CUTOFF, species=["Ti", "O"], n_neighbors=2, **{**usual, **numbers})


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
    nowhere = jnp.full((), jnp.nan, dtype)
    return AtomicGraph(
        positions=jnp.broadcast_to(nowhere, (n, 3)),
        cell=jnp.broadcast_to(nowhere, (3, 3)),
        pbc=jnp.zeros(3, bool),
        numbers=jnp.asarray(numbers),
        mask=jnp.ones(n, bool),
        neighbors=jnp.asarray(neighbors),
        vectors=jnp.asarray(vectors),
        pairs=jnp.asarray(pairs),
    )


def cluster() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 0.0]])
    return corners + rng.uniform(-0.3, 0.3, (N, 3)), np.array([22, 8, 8, 22, 8])


def parameters(network: MACE, dtype: str):
    """Random ones, in a way that compiles nothing."""
    rng, graph = np.random.default_rng(0), graph_of(*cluster(), dtype=dtype)
    shapes = jax.eval_shape(network.network.init, jax.random.key(0), graph)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(dtype), shapes)


@functools.cache
def compiled(dtype: str):
    """Energies of atoms, and the slopes of their sum."""
    network = mace()
    params = parameters(network, dtype)

    def total(vectors, graph):
        found = network.apply(params, graph._replace(vectors=vectors))
        return jnp.sum(found), found

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def evaluated(positions, numbers, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Energies of atoms and forces."""
    with jax.enable_x64(dtype == "float64"):
        graph = graph_of(positions, numbers, dtype)
        (_, each), slopes = compiled(dtype)(graph.vectors, graph)
    assert each.dtype == dtype and np.all(np.isfinite(slopes))
    forces = np.sum(np.asarray(slopes), axis=1)
    np.subtract.at(forces, np.asarray(graph.neighbors), np.asarray(slopes))
    return np.asarray(each), forces


def apart(distance: float) -> np.ndarray:
    """Two atoms at a distance, and three others alone."""
    return np.array([[0, 0, 0], [0, distance, 0], [50, 0, 0], [100, 0, 0], [150, 0, 0.0]])


def test_energies_turn_with_nothing():
    positions, numbers = cluster()
    turn = Rotation.from_rotvec([0.3, 0.5, 0.2]).as_matrix()
    order = np.array([3, 1, 4, 0, 2])
    each, forces = evaluated(positions, numbers)
    assert np.ptp(each[[1, 2, 4]]) > 1e-3, "the neighbourhood matters"
    for moved, mapped in (
        (positions @ turn.T, forces @ turn.T),
        (-positions, -forces),
        (positions + np.array([1.0, -2.0, 0.5]), forces),
    ):
        found = evaluated(moved, numbers)
        np.testing.assert_allclose(found[0], each, atol=1e-12)
        np.testing.assert_allclose(found[1], mapped, atol=1e-12)
    found = evaluated(positions[order], numbers[order])
    np.testing.assert_allclose(found[0], each[order], atol=1e-12)
    np.testing.assert_allclose(found[1], forces[order], atol=1e-12)


def test_forces_are_slopes_in_double_precision():
    positions, numbers = cluster()
    _, forces = evaluated(positions, numbers)
    step = np.zeros((N, 3))
    step[2] = [1e-5, -2e-5, 1e-5]
    ahead, back = (np.sum(evaluated(positions + s * step, numbers)[0]) for s in (1, -1))
    assert (back - ahead) / 2 == pytest.approx(np.sum(forces * step), rel=1e-6)


@pytest.mark.medium
def test_single_precision_agrees_with_double():
    positions, numbers = cluster()
    graph, params = graph_of(positions, numbers, "float32"), parameters(mace(), "float32")
    found = jax.jit(mace().apply)(params, graph)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, evaluated(positions, numbers)[0], rtol=1e-4, atol=1e-5)


def test_energies_end_smoothly_at_the_cutoff():
    numbers = np.array([22, 8, 8, 22, 8])
    alone, _ = evaluated(apart(40.0), numbers)
    assert alone[0] == alone[3] and alone[1] == alone[2] == alone[4] and alone[0] != alone[1]
    for gap, most in ((0.2, 1e-2), (0.02, 1e-5), (0.002, 1e-8)):  # as the third power of the gap
        found, forces = evaluated(apart(CUTOFF - gap), numbers)
        energy = np.abs(found - alone).max()
        assert 0 < energy < most and 0 < np.abs(forces).max() < 10 * most / gap
        np.testing.assert_array_equal(found[2:], alone[2:])
    beyond, forces = evaluated(apart(CUTOFF + 0.05), numbers)
    np.testing.assert_array_equal(beyond, alone)
    assert not np.any(forces)


@pytest.mark.medium
@pytest.mark.parametrize("n_factors", [1, 2, 3])
def test_couplings_turn_as_harmonics(n_factors):
    from ritz.mlip.models.couplings import e3nn

    turn = Rotation.from_rotvec([0.3, 0.5, 0.2]).as_matrix()
    big = [np.asarray(e3nn().Irrep(degree, 1).D_from_matrix(turn)) for degree in range(3)]
    listed = symmetric_products(2, n_factors, (0, 1))
    factor = np.random.default_rng(0).normal(size=9)
    turned = np.concatenate([big[d] @ factor[d**2 : (d + 1) ** 2] for d in range(3)])
    for degree, couplings in listed.couplings.items():
        before, after = (
            np.einsum("p,pcm->cm", np.prod(x[listed.components], axis=1), couplings)
            for x in (factor, turned)
        )
        np.testing.assert_allclose(after, before @ big[degree].T, atol=1e-6)
        assert np.linalg.matrix_rank(couplings.reshape(len(couplings), -1)) >= couplings.shape[1]


def test_paths_are_those_that_keep_parity():
    degrees = [(p.direction, p.feature, p.message) for p in message_paths(2, 1, 2)]
    assert degrees == [
        (0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (2, 1, 1), (1, 1, 2), (2, 0, 2)
    ]  # fmt: skip
    assert all(np.sum(p.coefficients**2) == pytest.approx(2 * p.message + 1)
               for p in message_paths(2, 1, 2))  # fmt: skip


@pytest.mark.parametrize(
    ("size", "expected"), [("small", (32, 0, 2)), ("medium", (64, 1, 3)), ("large", (128, 2, 3))]
)
def test_sizes_by_one_word(size, expected):
    made = MACE(size)
    assert (made.n_channels, made.l_hidden, made.l_max) == expected
    assert MACE(size, n_channels=8) == MACE(size, n_channels=8) != made
    module = GraphPotential(made, ["Si"]).module
    assert isinstance(module, MACE) and module.species == ("Si",)
    assert made.n_neighbors == pytest.approx(26.2, abs=0.1)


def test_number_of_neighbours():
    cell = Structure(np.zeros((1, 3)), ["Si"], cell=3.0 * np.eye(3))
    assert mean_neighbors([cell], 3.1) == 6
    alone = Structure(np.zeros((1, 3)), ["Si"])
    assert mean_neighbors([cell, alone], 3.1) == 3
    with pytest.raises(ValueError, match="no atom has a neighbour within 3.1 Angstrom"):
        mean_neighbors([alone], 3.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": "tiny"}, ValueError, "size must be 'small', 'medium' or 'large', but 'tiny'"),
        ({"cutoff": "far"}, TypeError, "cutoff must be a positive number"),
        ({"n_channels": 0}, ValueError, "n_channels must be a whole number of at least 1"),
        ({"l_hidden": 3, "l_max": 2}, ValueError, "l_hidden must be at most l_max, 2"),
        ({"radial_hidden": 16}, TypeError, "radial_hidden are whole numbers, such as"),
        ({"radial_hidden": [0]}, ValueError, "radial_hidden\\[0\\] must be a whole number"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors must be a positive number"),
        ({"n_channel": 4}, TypeError, "n_channels"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MACE(**arguments)


def test_species_are_those_of_the_potential():
    with pytest.raises(ValueError, match="the network is for Ti, O, not for Si"):
        GraphPotential(mace(), ["Ti", "Si"])
    with pytest.raises(ValueError, match="give the species"):
        MACE().init(jax.random.key(0), graph_of(*cluster()))


@pytest.mark.medium
def test_every_size_gives_energies():
    graph = graph_of(*cluster(), dtype="float32")
    for size in ("small", "medium"):
        network = MACE(size, CUTOFF, n_channels=2, species=["Ti", "O"])
        each = jax.jit(network.apply)(parameters(network, "float32"), graph)
        assert each.shape == (N,) and np.all(np.isfinite(each))


@pytest.fixture(scope="module")
def trained():
    network = MACE(cutoff=CUTOFF, n_channels=4, l_max=1, correlation=2, radial_hidden=(4,))
    made = GraphPotential(network, ["Ti", "O"], dtype="float64")
    settings = {"force_weight": 0.5, "method": Adam(mu=0.01, batchsize=6)}
    return made, made.train(tio2(), config(iterations=15, atomic_energies=ATOMS, **settings))


@pytest.mark.slow
def test_it_is_trained_and_used(trained, tmp_path):
    made, out = trained
    for name in ("RMSE_train", "RMSE_force_train"):
        assert out.errors[name].iloc[-1] < out.errors[name].iloc[0], name
    structure = tio2(1)[0]
    found = made.predict(structure, eval_forces=True)
    assert found.forces is not None
    np.testing.assert_allclose(np.sum(found.forces[0], axis=0), 0, atol=1e-12)
    made.save(tmp_path / "made.npz")
    again = load_potential(tmp_path / "made.npz")
    assert isinstance(again, GraphPotential) and again.module == made.module
    np.testing.assert_array_equal(again.predict(structure).total_energy, found.total_energy)


@pytest.mark.slow
def test_conformance(trained):
    made, _ = trained
    check_potential(made.frozen(), tio2(1)[0].to_ase())


@pytest.mark.medium
def test_isolated_atoms_and_cells_are_evaluated_together():
    made = GraphPotential(mace(), ["Ti", "O"], dtype="float64")
    made.parameters = made.first_parameters(0)
    made.normalisation = Normalisation(np.zeros(0), np.zeros(0), 1.0, 0.0)
    cell = random_structure(1, n=6)
    alone = Structure(np.zeros((1, 3)), ["O"])
    found = made.predict([cell, alone], eval_forces=True)
    assert found.forces is not None and found.stress is not None and cell.cell is not None
    np.testing.assert_array_equal(found.forces[1], np.zeros((1, 3)))
    turn = Rotation.from_rotvec([0.3, 0.5, 0.2]).as_matrix()
    turned = Structure(cell.positions @ turn.T, cell.species, cell=cell.cell @ turn.T)
    other = made.predict([turned, alone], eval_forces=True)
    assert other.stress is not None
    np.testing.assert_allclose(other.total_energy, found.total_energy, atol=1e-10)
    np.testing.assert_allclose(other.stress[0], turn @ found.stress[0] @ turn.T, atol=1e-10)

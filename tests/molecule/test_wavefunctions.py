"""Networks are antisymmetric, have exact cusps, and their Laplacian is that of the Hessian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.molecule import (
    FermiNet,
    Kinetic,
    LapNet,
    LogPsi,
    Molecule,
    Potential,
    Psiformer,
    SlaterNetwork,
)
from ritz.molecule.networks.determinants import determinant, log_sum_of_determinants

SMALL = {"n_determinants": 2, "dtype": jnp.float64}


def networks(molecule):
    return [
        FermiNet(molecule, hidden=((8, 4), (8, 4)), **SMALL),
        FermiNet(
            molecule, hidden=((8, 4),), full_determinant=False, envelope="bottleneck",
            jastrow=True, **SMALL,
        ),
        Psiformer(molecule, n_layers=1, n_heads=2, head_width=4, **SMALL),
        LapNet(molecule, n_layers=2, n_heads=2, head_width=4, **SMALL),
    ]  # fmt: skip


def made(network, seed=0):
    """A wave function with random parameters, none of which is special."""
    n = network.molecule.n_electrons
    params = network.init(jax.random.key(seed), jnp.ones((n, 3)))["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    return LogPsi(network), jax.tree.unflatten(tree, moved)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.medium
@pytest.mark.parametrize("which", range(4))
def test_psi_changes_its_sign_when_equal_spins_are_exchanged(which):
    molecule = Molecule("B")  # three up, two down
    log_psi, params = made(networks(molecule)[which])
    x = jax.random.normal(jax.random.key(2), (5, 3))
    swaps = {(0, 2): -1, (3, 4): -1, (0, 1): -1}
    batch = [x, *(x.at[jnp.array([i, j])].set(x[jnp.array([j, i])]) for i, j in swaps)]
    cycled = x[jnp.array([1, 2, 0, 3, 4])]
    sign, log = jax.jit(log_psi.sign_and_log)(params, jnp.stack([*batch, cycled]))
    np.testing.assert_allclose(log, log[0], rtol=1e-12)
    np.testing.assert_array_equal(sign / sign[0], [1, *swaps.values(), 1])


@pytest.mark.medium
@pytest.mark.parametrize("which", range(4))
def test_cusps_at_nuclei_and_between_electrons_are_exact(which):
    """Slopes of the spherical average: -Z at nuclei, 1/2 and 1/4 where electrons meet."""
    molecule = Molecule("LiH")
    log_psi, params = made(networks(molecule)[which])
    psi = jax.jit(lambda x: jnp.prod(jnp.stack(_exp(log_psi.sign_and_log(params, x))), axis=0))
    x = np.random.default_rng(3).normal(size=(4, 3)) + 0.3
    sphere = np.concatenate([np.eye(3), -np.eye(3)])
    h = 1e-4

    def around(electron, centre):
        """Configurations with an electron at the distances 0, h and 2 h from `centre`."""
        there = np.tile(x, (3, 6, 1, 1))
        there[:, :, electron] = centre + np.arange(3)[:, None, None] * h * sphere
        return there

    def together():
        """Two electrons with spin up, that far and twice as far from each other, and so on."""
        there = np.tile(x, (3, 6, 1, 1))
        apart = np.arange(1, 4)[:, None, None] * h * np.array([0.6, 0.0, 0.8]) / 2
        there[:, :, 0], there[:, :, 1] = x[0] - apart, x[0] + apart
        return there

    centres = [(0, place) for place in molecule.coordinates] + [(3, x[0])]
    batch = np.stack([*(around(*given) for given in centres), together()])
    values = np.asarray(psi(batch.reshape(-1, 4, 3))).reshape(4, 3, 6).mean(-1)
    averages = values[:3]
    slopes = (4 * averages[:, 1] - averages[:, 2] - 3 * averages[:, 0]) / (2 * h) / averages[:, 0]
    np.testing.assert_allclose(slopes, [-3, -1, 0.5], rtol=1e-3)
    odd = values[3] / np.arange(1, 4)  # psi vanishes at zero distance
    begin = 3 * odd[0] - 3 * odd[1] + odd[2]
    slope = (-5 * odd[0] + 8 * odd[1] - 3 * odd[2]) / (2 * h) / begin
    assert slope == pytest.approx(0.25, rel=1e-3)


def _exp(sign_and_log):
    return sign_and_log[0], jnp.exp(sign_and_log[1])


@pytest.mark.medium
@pytest.mark.parametrize("which", range(4))
def test_the_forward_laplacian_is_the_trace_of_the_hessian(which):
    log_psi, params = made(networks(Molecule("Li"))[which])
    x = jax.random.normal(jax.random.key(4), (2, 3, 3))
    found = [
        jax.jit(lambda method=method: Kinetic(method).evaluate(log_psi, params, x, {}))()
        for method in ("hessian", "dense", "sparse")
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)
    chunked = jax.jit(lambda: Kinetic("dense", chunk_size=1).evaluate(log_psi, params, x, {}))()
    np.testing.assert_allclose(chunked, found[0], rtol=1e-9)


def local_energy(molecule, psi, x):
    log_psi = LogPsi(psi)
    kinetic = jax.jit(lambda: Kinetic().evaluate(log_psi, {}, x, {}))()
    return kinetic + Potential(molecule).evaluate(log_psi, {}, x, {})


def one_s(charge):
    return lambda params, x: (jnp.ones(()), -charge * jnp.sum(jnp.linalg.norm(x, axis=-1)))


def two_p(params, x):
    value = x[0, 2] * jnp.exp(-jnp.linalg.norm(x[0]) / 2)
    return jnp.sign(value), jnp.log(jnp.abs(value))


@pytest.mark.parametrize(("molecule", "psi", "energy"), [
    (Molecule("H"), one_s(1), -0.5),
    (Molecule("H"), two_p, -0.125),
    (Molecule([("Li", (0, 0, 0))], charge=2, spin=1), one_s(3), -4.5),
])  # fmt: skip
def test_the_local_energy_of_exact_functions_is_constant(molecule, psi, energy):
    x = jax.random.normal(jax.random.key(5), (64, 1, 3))
    np.testing.assert_allclose(local_energy(molecule, psi, x), energy, atol=1e-6)


@pytest.mark.medium
def test_a_hydrogen_atom_begins_nearly_exact_and_is_finite_everywhere():
    network = FermiNet(Molecule("H"), hidden=((8, 4),), **SMALL)
    log_psi = LogPsi(network)
    params = network.init(jax.random.key(0), jnp.ones((1, 3)))["params"]
    flat = jax.tree.map(jnp.zeros_like, params["heads_0"]["kernel"])
    params = {**params, "heads_0": {**params["heads_0"], "kernel": flat}}
    places = [[0.0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.9], [20.0, 0, 0], [80.0, 0, 0]]
    x = jnp.array(places)[:, None]
    energies = local_energy(network.molecule, lambda _, e: log_psi.one(params, e), x)
    assert np.all(np.isfinite(energies))
    np.testing.assert_allclose(energies[2:], -0.5, atol=1e-9)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(log_psi(p, x))))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.medium
@pytest.mark.parametrize("which", range(4))
def test_electrons_on_top_of_each_other_are_finite(which):
    molecule = Molecule("He")
    log_psi, params = made(networks(molecule)[which])
    x = jnp.array([[[0.3, 0.1, 0.2]] * 2, [[0.0, 0, 0], [1.0, 0, 0]], [[0.0, 0, 0]] * 2])
    energy = jax.jit(lambda: Kinetic().evaluate(log_psi, params, x, {}))()
    energy = energy + Potential(molecule).evaluate(log_psi, params, x, {})
    assert np.all(np.isfinite(energy))


def atomic(molecule):
    """A function as invariant as the molecule: each electron in the sum of all atoms' 1s."""
    charges = jnp.asarray(molecule.charges, float)

    def psi(params, x):
        distances = jnp.linalg.norm(x[:, None] - molecule.coordinates, axis=-1)
        first, second = np.triu_indices(len(x), 1)
        pairs = jnp.linalg.norm(x[first] - x[second], axis=-1)
        log = jnp.sum(jax.nn.logsumexp(-charges * distances, axis=-1))
        return jnp.ones(()), log - 0.3 * jnp.sum(1 / (1 + pairs))

    return psi


def with_other_order(params, order):
    """Parameters of a Fermi net with one hidden layer whose nuclei are renumbered."""
    n = len(order)

    def rows(kernel, n_times):
        blocks = kernel[: 4 * n * n_times].reshape(n_times, n, 4, -1)[:, order]
        return kernel.at[: 4 * n * n_times].set(blocks.reshape(4 * n * n_times, -1))

    layer = params["single_layers_0"]
    new = {
        "each": {**layer["each"], "kernel": rows(layer["each"]["kernel"], 1)},
        "shared": {"kernel": rows(layer["shared"]["kernel"], 2)},
    }
    by_nucleus = {
        name: jax.tree.map(lambda leaf: leaf[..., order], value)
        for name, value in params.items()
        if name.startswith(("envelopes", "nuclear_cusp"))
    }
    return {**params, "single_layers_0": new, **by_nucleus}


@pytest.mark.medium
@pytest.mark.parametrize("is_network", [False, True])
def test_local_energies_depend_neither_on_place_nor_on_the_order_of_atoms(is_network):
    """Walkers move with the molecule; the function is turned too, to which no network is blind."""
    random, order = np.random.default_rng(0), np.array([1, 0])
    turn = np.eye(3) if is_network else np.linalg.qr(random.normal(size=(3, 3)))[0]
    away = np.array([1.5, -0.7, 0.4])
    first = Molecule([("He", (0, 0, 0)), ("H", (0, 0, 1.46))], unit="bohr", charge=1)
    atoms = list(zip(first.symbols, first.coordinates @ turn + away, strict=True))
    second = Molecule([atoms[k] for k in order], unit="bohr", charge=1)
    x = random.normal(size=(4, 2, 3))
    if is_network:
        made_of = [FermiNet(m, hidden=((6, 4),), **SMALL) for m in (first, second)]
        params = made(made_of[0])[1]
        both = params, with_other_order(params, order)
        psis = [
            lambda _, e, network=network, params=params: LogPsi(network).one(params, e)
            for network, params in zip(made_of, both, strict=True)
        ]
    else:
        psis = [atomic(first), atomic(second)]
    energies = local_energy(first, psis[0], jnp.asarray(x))
    moved = local_energy(second, psis[1], jnp.asarray(x @ turn + away))
    np.testing.assert_allclose(moved, energies, rtol=1e-9)


@pytest.mark.parametrize("n", range(1, 7))
def test_sums_of_determinants(n):
    random = np.random.default_rng(n)
    blocks = [random.normal(size=(3, n, n)), random.normal(size=(3, 2, 2))]
    exact = np.sum(np.linalg.det(blocks[0]) * np.linalg.det(blocks[1]))
    sign, log = log_sum_of_determinants([jnp.asarray(b) for b in blocks])
    np.testing.assert_allclose(sign * jnp.exp(log), exact, rtol=1e-10)
    _, log = log_sum_of_determinants([jnp.asarray(b) * 1e-200 for b in blocks])
    np.testing.assert_allclose(log, np.log(abs(exact)) - (n + 2) * np.log(1e200), rtol=1e-10)
    if n <= 4:
        np.testing.assert_allclose(determinant(blocks[0]), np.linalg.det(blocks[0]), rtol=1e-10)
    phase, log = log_sum_of_determinants([jnp.asarray(blocks[0]) * (1 + 1j)])
    exact = np.sum(np.linalg.det(blocks[0] * (1 + 1j)))
    np.testing.assert_allclose(phase * jnp.exp(log), exact, rtol=1e-10)


def test_a_network_without_features_is_told():
    with pytest.raises(NotImplementedError, match="SlaterNetwork must define electron_features"):
        SlaterNetwork(Molecule("H")).init(jax.random.key(0), jnp.ones((1, 3)))


@pytest.mark.parametrize(("kind", "settings", "told"), [
    (FermiNet, {"hidden": [[0, 0]]}, "a width in hidden must be a whole number of at least 1"),
    (FermiNet, {"hidden": [[8, 4.5]]}, "a width in hidden must be a whole number of at least 1"),
    (FermiNet, {"hidden": []}, r"hidden takes the widths .* such as \[\[256, 32\], .*but \[\]"),
    (FermiNet, {"hidden": [8, 4]}, r"hidden takes the widths of the two streams"),
    (FermiNet, {"hidden": 8}, r"hidden takes the widths of the two streams"),
    (FermiNet, {"n_exponents": 0}, "n_exponents must be a whole number of at least 1"),
    (Psiformer, {"n_layers": 0}, "n_layers must be a whole number of at least 1"),
    (Psiformer, {"n_heads": 0}, "n_heads must be a whole number of at least 1"),
    (LapNet, {"n_layers": 0}, "n_layers must be a whole number of at least 1"),
    (Psiformer, {"head_width": 0}, "head_width must be a whole number of at least 1"),
])  # fmt: skip
def test_sizes_of_networks_are_checked(kind, settings, told):
    with pytest.raises(ValueError, match=told):
        kind(Molecule("He"), **settings).init(jax.random.key(0), jnp.ones((2, 3)))


@pytest.mark.medium
def test_the_number_of_exponents_is_a_setting_of_the_network():
    for settings, n in (({}, 8), ({"n_exponents": 3}, 3)):
        network = FermiNet(
            Molecule("LiH"), hidden=((4, 2),), envelope="bottleneck", **SMALL, **settings
        )
        log_psi, params = made(network)
        assert params["envelopes_0"]["sigma"].shape == (2, n)
        assert np.isfinite(log_psi(params, jax.random.normal(jax.random.key(1), (1, 4, 3))))


def test_sparse_derivatives_of_picked_coordinates_are_dense():
    def psi(params, x):
        return jnp.sign(x[0, 2]), jnp.log(jnp.abs(x[0, 2])) - jnp.linalg.norm(x)

    x = jax.random.normal(jax.random.key(0), (3, 2, 3))
    sparse, dense = (
        jax.jit(functools.partial(Kinetic(method).evaluate, LogPsi(psi), {}, values={}))(x)
        for method in ("sparse", "dense")
    )
    np.testing.assert_allclose(sparse, dense, rtol=1e-12)

"""Forces are derivatives of energies, by quadrature where those are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.molecule import (
    Dipole,
    FermiNet,
    Forces,
    Kinetic,
    LapNet,
    LogPsi,
    Molecule,
    Potential,
    PseudopotentialEnergy,
)
from ritz.molecule.estimators.space_warp import node_factor, warp_weights
from ritz.testing import check_estimator

LENGTH = 2.0
ATOMS = [("H", (0, 0, -LENGTH / 2)), ("H", (0, 0, LENGTH / 2))]
ION = Molecule(ATOMS, unit="bohr", charge=1, spin=1)
SLOPES = np.array([1.0, 1.3])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def two_functions(params, electrons, nuclei=None):
    """A sum of a 1s function at each nucleus, which is far from exact."""
    places = jnp.asarray(ION.coordinates if nuclei is None else nuclei)
    distances = jnp.linalg.norm(electrons[0] - places, axis=-1)
    value = jnp.sum(params * jnp.exp(-SLOPES * distances))
    return jnp.sign(value), jnp.log(jnp.abs(value))


def quadrature(length, params, n=80):
    """Points in a plane with the probabilities of their circles, and the energy."""
    far, w_far = np.polynomial.laguerre.laggauss(n)
    eta, w_eta = np.polynomial.legendre.leggauss(n)
    xi, eta = np.meshgrid(1 + far / length, eta, indexing="ij")
    volume = np.outer(w_far * np.exp(far), w_eta) * (xi**2 - eta**2)
    r = length / 2 * np.stack([xi + eta, xi - eta])  # from the nuclei at -length/2 and length/2
    a = SLOPES[:, None, None]
    parts = np.asarray(params)[:, None, None] * np.exp(-a * r)
    psi = parts.sum(axis=0)
    h_psi = -((a**2 - 2 * a / r) * parts).sum(axis=0) / 2 - psi * (1 / r).sum(axis=0)
    norm = np.sum(volume * psi**2)
    x = length / 2 * np.sqrt((xi**2 - 1) * (1 - eta**2))
    points = np.stack([x, np.zeros_like(x), length / 2 * xi * eta], axis=-1).reshape(-1, 1, 3)
    energy = np.sum(volume * psi * h_psi) / norm + 1 / length
    return points, (volume * psi**2 / norm).ravel(), energy


def exact_force(params, h=1e-3):
    """Minus the derivative of the variational energy with respect to the bond length."""
    return -(quadrature(LENGTH + h, params)[2] - quadrature(LENGTH - h, params)[2]) / (2 * h)


def force(params, **settings):
    points, weights, energy = quadrature(LENGTH, params)
    log_psi, params, x = LogPsi(two_functions), jnp.asarray(params), jnp.asarray(points)
    local = Kinetic("dense").evaluate(log_psi, params, x, {})
    local = local + Potential(ION).evaluate(log_psi, params, x, {})
    np.testing.assert_allclose(np.sum(weights * local), energy, rtol=1e-8)
    forces = Forces(ION, **settings)
    values = forces.evaluate(log_psi, params, x, {"energy": local})
    return forces.reduce(values, jnp.asarray(weights))


@pytest.mark.medium
def test_the_space_warp_gives_the_derivative_of_the_energy():
    params = [1.0, 0.7]
    exact = exact_force(params)
    found = force(params)
    np.testing.assert_allclose(found.mean[:, 2], [-exact, exact], atol=1e-6)
    other = force(params, estimator="zero_variance").mean[:, 2]
    assert np.all(np.abs(other - np.array([-exact, exact])) > 0.02)  # without Pulay's term


@pytest.mark.medium
def test_the_bias_near_nodes_is_of_the_third_order():
    params = [1.0, -0.7]
    exact = exact_force(params)
    errors = [abs(force(params, node_distance=d).mean[1, 2] - exact) for d in (0.0, 0.4, 0.8)]
    assert errors[0] < 1e-4 and errors[1] < 0.02
    assert errors[2] > 4 * errors[1]


def test_the_polynomial_near_nodes_has_no_bias_of_lower_order():
    x = (np.arange(4000) + 0.5) / 4000  # distances from a node at 0, in units of node_distance
    slopes = jnp.zeros((4000, 1, 3)).at[:, 0, 0].set(1 / (0.1 * x))
    factors = jax.vmap(lambda slope: node_factor(slope, 0.1))(slopes)
    assert np.mean(factors) == pytest.approx(1, abs=1e-6)
    assert factors[0] == pytest.approx(9 * x[0] ** 2, rel=1e-3)
    assert node_factor(slopes[-1] / 2, 0.1) == 1


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["space_warp", "zero_variance_zero_bias", "zero_variance"])
def test_the_force_on_an_exact_hydrogen_atom_is_zero_at_each_sample(kind):
    def psi(params, electrons, nuclei=None):
        place = jnp.zeros(3) if nuclei is None else nuclei[0]
        return jnp.ones(()), -jnp.linalg.norm(electrons[0] - place)

    x = jax.random.normal(jax.random.key(0), (16, 1, 3))
    forces = Forces(Molecule("H"), kind)
    values = forces.evaluate(LogPsi(psi), {}, x, {"energy": jnp.full(16, -0.5)})
    np.testing.assert_allclose(values["force"], 0, atol=1e-10)
    np.testing.assert_allclose(forces.reduce(values).mean, 0, atol=1e-10)


HYDRIDE = Molecule([("He", (0, 0, 0)), ("H", (0, 0, 1.46))], unit="bohr", charge=1)
SMALL = {"n_determinants": 1, "dtype": jnp.float64}


@pytest.mark.medium
@pytest.mark.parametrize("network", [
    FermiNet(HYDRIDE, hidden=((6, 4),), **SMALL),
    LapNet(HYDRIDE, n_layers=1, n_heads=1, head_width=4, **SMALL),
])  # fmt: skip
def test_forces_of_networks_add_up_to_zero_and_are_derivatives(network):
    molecule = network.molecule
    log_psi = LogPsi(network)
    x = jax.random.normal(jax.random.key(1), (3, 2, 3))
    params = network.init(jax.random.key(0), x[0])["params"]
    forces = Forces(molecule, node_distance=0)
    values = jax.jit(lambda x: forces.evaluate(log_psi, params, x, {}))(x)
    assert values["force"].shape == (3, 2, 3)
    np.testing.assert_allclose(np.sum(values["force"], axis=1), 0, atol=1e-8)
    np.testing.assert_allclose(np.sum(values["log_slope"], axis=1), 0, atol=1e-8)

    @jax.jit
    def warped(shift):
        """log |psi| + log J / 2 with the hydrogen nucleus and its electrons moved by shift."""
        nuclei = jnp.asarray(molecule.coordinates)
        new = nuclei.at[1, 2].add(shift)

        def follow(r):
            return r.at[2].add(shift * warp_weights(r[None], nuclei)[0, 1])

        jacobian = jnp.linalg.det(jax.vmap(jax.jacfwd(follow))(x[0]))
        log = log_psi.with_nuclei(new)(params, jax.vmap(follow)(x[0])[None])[0]
        return log + jnp.sum(jnp.log(jacobian)) / 2

    slope = (warped(1e-5) - warped(-1e-5)) / 2e-5
    assert values["log_slope"][0, 1, 2] == pytest.approx(float(slope), abs=1e-7)


@pytest.mark.medium
def test_forces_are_finite_where_particles_meet():
    molecule = Molecule("H2")
    network = FermiNet(molecule, hidden=((6, 4),), n_determinants=1)
    log_psi, places = LogPsi(network), molecule.coordinates
    x = jnp.asarray([[places[0]] * 2, [places[0], places[1]], [[0.1, 0, 0.3]] * 2], jnp.float32)
    params = network.init(jax.random.key(0), x[0])["params"]
    for kind in ("space_warp", "zero_variance"):
        evaluate = functools.partial(Forces(molecule, kind).evaluate, log_psi, values={})
        values = jax.jit(evaluate)(params, x)
        assert all(np.all(np.isfinite(part)) for part in jax.tree.leaves(values)), kind


@pytest.mark.medium
def test_forces_do_what_every_estimator_must():
    log_psi = LogPsi(two_functions)
    x = jax.random.normal(jax.random.key(0), (5, 1, 3))
    check_estimator(Forces(ION, chunk_size=2), log_psi, jnp.asarray([1.0, 0.7]), x)
    energy = Potential(ION)
    check_estimator(
        Forces(ION, "zero_variance_zero_bias"), log_psi, jnp.asarray([1.0, 0.7]), x,
        {"energy": energy},
    )  # fmt: skip


@pytest.mark.medium
def test_what_forces_refuse():
    with pytest.raises(ValueError, match="estimator must be 'auto', 'space_warp'"):
        Forces(ION, "hellmann")
    with pytest.raises(ValueError, match=r"node_distance must be a number of at least 0, but -1"):
        Forces(ION, node_distance=-1)
    with pytest.raises(ValueError, match="chunk_size must be a whole number of at least 1"):
        Forces(ION, chunk_size=0)
    fixed = LogPsi(lambda params, x: two_functions(params, x))
    x, params = jnp.ones((2, 1, 3)), jnp.ones(2)
    with pytest.raises(ValueError, match=r"no argument for their positions; define it as \(par"):
        Forces(ION, "space_warp").evaluate(fixed, params, x, {})
    assert set(Forces(ION).evaluate(fixed, params, x, {})) == {"force"}


@pytest.mark.parametrize("estimator", [Forces, Potential, PseudopotentialEnergy, Dipole])
def test_a_name_in_the_place_of_a_molecule_is_told(estimator):
    with pytest.raises(TypeError, match=r"Molecule\('LiH'\), but 'H2' was given"):
        estimator("H2")

"""The atomic cluster expansion: harmonics, couplings, invariants, features."""

import itertools

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from ritz.mlip import ACEDescriptor, Adam, ANNPotential
from ritz.mlip.descriptors.invariants import (
    degrees_of,
    parts_of,
    products_of,
    sizes_of,
    symmetric_invariants,
)
from ritz.mlip.descriptors.spherical_harmonics import coupling_of, real_spherical_harmonics
from tests.mlip.systems import ATOMS, config, tio2


def directions(n, seed=0):
    found = np.random.default_rng(seed).normal(size=(n, 3))
    return found / np.linalg.norm(found, axis=1)[:, None]


def harmonics(units, degree):
    """Real harmonics of one l from SciPy's complex ones, with squares that sum to 2 l + 1."""
    theta, phi = np.arccos(units[:, 2]), np.arctan2(units[:, 1], units[:, 0])
    columns = []
    for m in range(-degree, degree + 1):
        value = sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m * np.sqrt(2 if m else 1)
        columns.append(value.imag if m < 0 else value.real)
    return np.sqrt(4 * np.pi) * np.stack(columns, axis=-1)


@pytest.mark.parametrize("degree", range(6))
def test_harmonics_are_those_of_scipy(degree):
    units = directions(7)
    found = np.asarray(real_spherical_harmonics(units, 5), float)
    own = found[:, degree**2 : (degree + 1) ** 2]
    np.testing.assert_allclose(own, harmonics(units, degree), atol=2e-5)  # single precision
    np.testing.assert_allclose(np.sum(own**2, axis=1), 2 * degree + 1, rtol=1e-5)


@pytest.mark.parametrize(
    "degrees", [(0, 1, 1), (1, 1, 1), (1, 2, 2), (2, 2, 3), (1, 2, 3), (3, 3, 4)]
)
def test_couplings_do_not_change_under_rotations(degrees):
    tensor = coupling_of(*degrees)
    assert np.sum(tensor**2) == pytest.approx(1)
    units, turn = directions(3), Rotation.random(random_state=1).as_matrix()

    def coupled(points):
        parts = [harmonics(points[k : k + 1], degree)[0] for k, degree in enumerate(degrees)]
        return np.einsum("abc,a,b,c->", tensor, *parts)

    assert coupled(units @ turn.T) == pytest.approx(coupled(units))
    assert coupled(-units) == pytest.approx((-1) ** sum(degrees) * coupled(units))


def rotation_of(degree, turn):
    """The matrix of a rotation on the harmonics of one l."""
    units = directions(4 * (2 * degree + 1))
    before, after = harmonics(units, degree), harmonics(units @ turn.T, degree)
    return np.linalg.lstsq(before, after, rcond=None)[0]


def number_by_brute_force(channels):
    """Dimension of what two rotations and all exchanges of equal densities leave as it is."""
    degrees = [channel[2] for channel in channels]
    shape = [2 * degree + 1 for degree in degrees]
    size = int(np.prod(shape))
    constraints = []
    for seed in (1, 2):
        turn = Rotation.random(random_state=seed).as_matrix()
        whole = np.eye(1)
        for degree in degrees:
            whole = np.kron(whole, rotation_of(degree, turn))
        constraints.append(whole - np.eye(size))
    numbers = np.arange(size).reshape(shape)
    for first, second in itertools.combinations(range(len(channels)), 2):
        if channels[first] == channels[second]:
            exchanged = np.swapaxes(numbers, first, second).ravel()
            constraints.append(np.eye(size)[exchanged] - np.eye(size))
    return size - np.linalg.matrix_rank(np.concatenate(constraints), tol=1e-8)


@pytest.mark.parametrize(
    "degrees",
    [(0,), (2, 2), (1, 1, 2), (2, 2, 2), (1, 1, 1, 1), (2, 2, 2, 2), (1, 1, 2, 2), (1, 2, 2, 3)],
)
@pytest.mark.parametrize("equal", [True, False])
def test_there_are_as_many_invariants_as_by_brute_force(degrees, equal):
    channels = tuple((0, 0 if equal else n, degree) for n, degree in enumerate(degrees))
    found = symmetric_invariants(channels)
    assert len(found) == number_by_brute_force(channels) > 0
    table = np.stack([one.ravel() for one in found])
    np.testing.assert_allclose(table @ table.T, np.eye(len(found)), atol=1e-12)


def test_features_are_sums_over_all_groups_of_neighbours():
    descriptor = ACEDescriptor(["Ti", "O"], 4.0, (2, 2, 3, 2), nearest=1.8)
    rng = np.random.default_rng(3)
    vectors, kinds = directions(5) * rng.uniform(1.5, 3.8, (5, 1)), np.array([0, 1, 1, 0, 1])
    found = descriptor.features(vectors[None], np.ones((1, 5), bool), kinds[None], np.zeros(1, int))

    n_radial, order = sizes_of(descriptor.degrees)
    r = np.linalg.norm(vectors, axis=1)
    end = (2 / (1 + 4.0 / 1.8)) ** 2
    x = 2 * ((2 / (1 + r / 1.8)) ** 2 - end) / (4 - end) - 1
    fade = (np.cos(np.pi * r / 4.0) + 1) / 2
    radial = [np.polynomial.chebyshev.chebval(x, [0] * n + [1]) * fade for n in range(n_radial)]
    angular = [harmonics(vectors / r[:, None], degree) for degree in range(order + 1)]
    parts = list(zip(*parts_of(descriptor.degrees), strict=True))
    expected = []
    for products in products_of(2, descriptor.degrees):
        sums = np.zeros(products.n_features)
        for places, factor, owner in zip(*products[:3], strict=True):
            for group in itertools.product(range(5), repeat=len(places)):
                value = factor
                for neighbour, density in zip(group, places, strict=True):
                    element, part = divmod(density, len(parts))
                    n, lm = parts[part]
                    degree = int(np.sqrt(lm))
                    own = angular[degree][neighbour, lm - degree**2]
                    value *= (kinds[neighbour] == element) * radial[n][neighbour] * own
                sums[owner] += value
        expected.append(sums)
    np.testing.assert_allclose(found[0], np.concatenate(expected), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("error", "arguments", "told"),
    [
        (TypeError, {"degrees": 8}, r"degrees are whole numbers, such as \(10, 8, 6\)"),
        (ValueError, {"degrees": "huge"}, "or one of 'small', 'medium', 'large', not 'huge'"),
        (ValueError, {"degrees": (4,) * 5}, "products of one to 4 densities, .* but 5 were given"),
        (ValueError, {"degrees": (4, -1)}, r"degrees\[1\] must be a whole number of at least 0"),
        (ValueError, {"nearest": 6.0}, "nearest must be below the cutoff 5, not 6 Angstrom"),
        (ValueError, {"cutoff": 0.0}, "cutoff must be"),
    ],
)
def test_what_is_not_possible_is_told(error, arguments, told):
    with pytest.raises(error, match=told):
        ACEDescriptor(["Cu"], **arguments)


@pytest.mark.parametrize(("size", "most"), [("small", 150), ("medium", 500), ("large", 1300)])
def test_sizes_by_a_word(size, most):
    for species in (["Cu"], ["Ti", "O"], ["Ga", "In", "As", "P"]):
        descriptor = ACEDescriptor(species, degrees=size)
        assert most / 4 < descriptor.n_features <= most
        assert descriptor.degrees == ACEDescriptor(species[::-1], degrees=size).degrees
        assert ACEDescriptor.from_header(descriptor.header()) == descriptor


def test_distances_are_those_of_the_structures():
    copper = bulk("Cu", a=3.6, cubic=True)
    found = ACEDescriptor.for_structures([copper, copper * 2])
    assert found.species == ("Cu",) and found.degrees == degrees_of("medium", 1)
    assert found.nearest == pytest.approx(3.6 / np.sqrt(2), abs=1e-3)
    assert found.cutoff == pytest.approx(2.1 * 3.6 / np.sqrt(2), abs=1e-3)
    given = ACEDescriptor.for_structures(copper, 2.7, (3, 2), species=["Cu", "O"])
    assert (given.species, given.cutoff, given.nearest) == (("Cu", "O"), 2.7, 2.16)
    with pytest.raises(ValueError, match="there are no structures"):
        ACEDescriptor.for_structures([])


@pytest.mark.medium
def test_a_network_of_the_invariants_is_trained_on_forces():
    descriptor = ACEDescriptor(["Ti", "O"], 4.0, (4, 4, 3))
    potential = ANNPotential({"Ti": [(8, "tanh")], "O": [(8, "tanh")]}, descriptor)
    settings = config(iterations=25, method=Adam(mu=0.01, batchsize=6), atomic_energies=ATOMS)
    errors = potential.train(tio2(), settings).errors
    assert errors["RMSE_force_train"].iloc[-1] < 0.7 * errors["RMSE_force_train"].iloc[0]

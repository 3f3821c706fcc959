import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip import ChebyshevDescriptor, Structure
from ritz.mlip.descriptors.basis_functions import cosine_cutoff, cosine_of_squares
from tests.mlip.systems import DATA, random_structure, reference, tio2


def test_features_are_those_of_aenet():
    descriptor = ChebyshevDescriptor(**reference()["descriptor"])
    known = [entry for entry in reference()["structures"] if "features" in entry]
    assert len(known) == 4
    for entry, structure in zip(known, tio2(4), strict=True):
        found = descriptor.featurize(structure)
        assert found.shape == (24, 30)
        np.testing.assert_allclose(found, entry["features"], rtol=0, atol=1e-10)
    assert DATA.name == "tio2"


def cut(d, rc):
    return (np.cos(np.pi * d / rc) + 1) / 2 if d < rc else 0.0


def test_both_forms_of_the_cosine_agree():
    """One is a function of distances, the other a power series in their squares."""
    d = jnp.concatenate([jnp.linspace(1e-6, 5, 401), jnp.array([4 - 1e-9, 4.0, 4 + 1e-9])])
    value, by_square = cosine_of_squares(d**2, 4.0)
    expected, by_distance = jax.jvp(lambda x: cosine_cutoff(x, 4.0), (d,), (jnp.ones_like(d),))
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(2 * d * by_square, by_distance, rtol=0, atol=1e-14)


def t(n, x):
    return np.cos(n * np.arccos(np.clip(x, -1, 1)))


def neighbors(descriptor, structure, i):
    """Vectors, distances and weights of all images that are near atom i."""
    s = dict(zip(descriptor.species, descriptor.species_weights, strict=True))
    shifts = np.array(list(itertools.product(range(-6, 7), repeat=3))) @ structure.box
    found = []
    for j, shift in itertools.product(range(len(structure)), shifts):
        v = structure.positions[j] + shift - structure.positions[i]
        d = np.linalg.norm(v)
        if d >= descriptor.min_cutoff and 1e-9 < d < descriptor.cutoff:
            found.append((v, d, s[structure.species[j]]))
    return found


def by_definition(descriptor, structure):
    """Sums over pairs and triples of all images that may be near."""
    rows = []
    for i in range(len(structure)):
        near = neighbors(descriptor, structure, i)
        radial = np.zeros((2, descriptor.rad_order + 1))
        angular = np.zeros((2, descriptor.ang_order + 1))
        for (_, d, w), n in itertools.product(near, range(descriptor.rad_order + 1)):
            value = t(n, 2 * d / descriptor.rad_cutoff - 1) * cut(d, descriptor.rad_cutoff)
            radial[:, n] += np.array([1, w]) * value
        for (v, d, w), (u, e, x) in itertools.combinations(near, 2):
            both = cut(d, descriptor.ang_cutoff) * cut(e, descriptor.ang_cutoff)
            for n in range(descriptor.ang_order + 1):
                angular[:, n] += np.array([1, w * x]) * t(n, v @ u / (d * e)) * both
        parts = [radial[0], angular[0], radial[1], angular[1]]
        rows.append(np.concatenate(parts[: 2 + 2 * descriptor.is_weighted]))
    return np.array(rows)


@pytest.mark.parametrize("species", [("H",), ("H", "C", "O")])
def test_features_by_definition_on_skewed_cells(species):
    descriptor = ChebyshevDescriptor(species, 2, 3.0, 3, 2.5, min_cutoff=0.6)
    structure = random_structure(3, species, n=4, skew=0.8)
    found = descriptor.featurize(structure)
    assert found.shape == (4, 7 * (1 if len(species) == 1 else 2))
    np.testing.assert_allclose(found, by_definition(descriptor, structure), atol=1e-10)


def test_weights_of_species():
    weights = {
        n: list(ChebyshevDescriptor(["H", "C", "N", "O", "F"][:n], 1, 3, 1, 3).species_weights)
        for n in (2, 3, 4, 5)
    }
    assert weights == {2: [-1, 1], 3: [-1, 0, 1], 4: [-2, -1, 1, 2], 5: [-2, -1, 0, 1, 2]}


def test_it_does_not_matter_where_the_cell_begins():
    descriptor = ChebyshevDescriptor(["Ti", "O"], 4, 4.0, 3, 3.0)
    structure = random_structure(1)
    moved = Structure(
        structure.positions + np.random.default_rng(0).integers(-3, 4, (7, 3)) @ structure.cell,
        structure.species, cell=structure.cell,
    )  # fmt: skip
    np.testing.assert_allclose(
        descriptor.featurize(structure), descriptor.featurize(moved), atol=1e-10
    )
    np.testing.assert_array_equal(
        descriptor.featurize(structure.to_ase()), descriptor.featurize(structure)
    )


@pytest.mark.medium
@pytest.mark.parametrize("species", [("H",), ("H", "C")])
def test_local_derivatives_are_those_of_the_features(species):
    descriptor = ChebyshevDescriptor(species, 3, 4.0, 4, 3.5, min_cutoff=0.3)
    rng = np.random.default_rng(0)
    vectors = jnp.asarray(rng.normal(size=(3, 8, 3)) * 2)
    pairs = jnp.asarray(rng.random((3, 8)) < 0.8)
    kinds = rng.integers(0, len(species), (3, 8))
    weights = descriptor.weights_of(kinds)
    found = descriptor.local_derivatives(vectors, pairs, kinds, kinds[:, 0], 8)
    angular = jax.vmap(jax.jacfwd(descriptor.angular))(vectors, pairs, weights)
    np.testing.assert_allclose(found.angular, jnp.moveaxis(angular, -1, -2), atol=1e-12)
    radial = jax.vmap(jax.jacfwd(descriptor.radial))(vectors, pairs, weights)[:, :4]
    np.testing.assert_allclose(
        found.slopes[:, :, None] * found.units[:, None], jnp.moveaxis(radial, -1, -2), atol=1e-12
    )


def test_alone_and_at_the_edges():
    descriptor = ChebyshevDescriptor(["H"], 2, 3.0, 2, 2.0, min_cutoff=0.5)
    assert not np.any(descriptor.featurize(Structure([[0.0, 0, 0]], ["H"])))
    pair = [Structure([[0.0, 0, 0], [d, 0, 0]], ["H", "H"]) for d in (0.4999, 0.5, 3.0)]
    first = [descriptor.featurize(structure)[0, 0] for structure in pair]
    assert first[0] == 0 and first[1] > 0.9 and first[2] == 0


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"write \['Ti'\]"):
        ChebyshevDescriptor("Ti", 1, 3, 1, 3)
    with pytest.raises(ValueError, match="different chemical symbols"):
        ChebyshevDescriptor(["Xx"], 1, 3, 1, 3)
    with pytest.raises(ValueError, match="rad_cutoff must be a positive number"):
        ChebyshevDescriptor(["H"], 1, -3, 1, 3)
    with pytest.raises(ValueError, match="min_cutoff must be below"):
        ChebyshevDescriptor(["H"], 1, 3, 1, 3, min_cutoff=4)
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        ChebyshevDescriptor(["H"], 1, 3, 1, 3, dtype="int8")
    with pytest.raises(ValueError, match="structure 0 has atoms of Ti, but the descriptor"):
        ChebyshevDescriptor(["O"], 1, 3, 1, 3).featurize(tio2(1)[0].to_ase())

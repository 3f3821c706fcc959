import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip import (
    G2,
    G4,
    G5,
    Adam,
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    HDF5StructureDataset,
    MLIPCalculator,
    Structure,
    SymmetryFunction,
    SymmetryFunctions,
    load_potential,
)
from ritz.relax import relax
from tests.mlip.systems import ARCH, ATOMS, config, leaves, random_structure, tio2

LISTS = {
    "Ti": [
        G2("O", 0.4, 1.0, 3.5),
        G4(("Ti", "O"), 0.02, -1, 2, 3.0),
        G2("Ti", 0.9, r_c=3.0),
        G5(("O", "O"), 0.05, 1, 1, 3.2),
    ],
    "O": [
        G2("Ti", 0.3, 1.5, 3.5),
        G5(("O", "Ti"), 0.03, 1, 3.5, 3.0),
        G4(("O", "O"), 0.1, 1, 1, 3.4),
        G4(("Ti", "Ti"), 0.04, -1, 4, 3.0),
    ],
}
"""With cutoffs, exponents and elements that differ, and more functions of one kind than another."""


def descriptor(**settings) -> SymmetryFunctions:
    return SymmetryFunctions(LISTS, **settings)


def cut(r, r_c, name):
    if r >= r_c:
        return 0.0
    return (np.cos(np.pi * r / r_c) + 1) / 2 if name == "cosine" else np.tanh(1 - r / r_c) ** 3


def images(structure, i, reach):
    """Element and vector of every atom within reach of atom i."""
    periodic = [range(-4, 5) if p else range(1) for p in structure.pbc]
    for j, shift in itertools.product(range(len(structure)), itertools.product(*periodic)):
        v = structure.positions[j] + np.array(shift) @ structure.box - structure.positions[i]
        if 1e-9 < np.linalg.norm(v) < reach:
            yield structure.species[j], v


def value(f, around, name):
    """By the formulas of the papers, as loops over neighbours and pairs of them."""
    if f.kind == "G2":
        lengths = [np.linalg.norm(v) for element, v in around if element == f.elements[0]]
        return sum(np.exp(-f.eta * (r - f.r_s) ** 2) * cut(r, f.r_c, name) for r in lengths)
    total = 0.0
    for (a, u), (b, v) in itertools.combinations(around, 2):
        if sorted((a, b)) != sorted(f.elements):
            continue
        r, s, t = np.linalg.norm(u), np.linalg.norm(v), np.linalg.norm(u - v)
        term = (1 + f.lambda_ * (u @ v) / (r * s)) ** f.zeta * np.exp(-f.eta * (r**2 + s**2))
        term *= cut(r, f.r_c, name) * cut(s, f.r_c, name)
        if f.kind == "G4":
            term *= np.exp(-f.eta * t**2) * cut(t, f.r_c, name)
        total += 2 ** (1 - f.zeta) * term
    return total


def by_definition(structure, name):
    rows = []
    for i, element in enumerate(structure.species):
        around = list(images(structure, i, 3.5))
        radial = [value(f, around, name) for f in LISTS[element] if f.kind == "G2"]
        angular = [value(f, around, name) for f in LISTS[element] if f.kind != "G2"]
        rows.append(np.pad(radial, (0, 2 - len(radial))).tolist()
                    + np.pad(angular, (0, 3 - len(angular))).tolist())  # fmt: skip
    return np.array(rows)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["cosine", "tanh3"])
def test_features_by_definition(name):
    d = descriptor(cutoff_function=name)
    assert (d.n_features, d.n_radial, d.cutoff, d.near_cutoff) == (5, 2, 3.5, 3.4)
    crystal = random_structure(5, n=6, skew=0.5)
    cluster = random_structure(6, n=6)
    cluster = Structure(0.3 * cluster.positions, cluster.species)
    slab = random_structure(7, n=6, skew=0.3)
    slab = Structure(0.5 * slab.positions, slab.species, cell=slab.cell, pbc=(True, False, True))
    for structure in (crystal, cluster, slab):
        assert set(structure.species) == {"Ti", "O"}
        found = d.featurize(structure)
        expected = by_definition(structure, name)
        assert np.count_nonzero(expected) >= 15
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        descriptor(cutoff_function=name, dtype="float32").featurize(crystal),
        by_definition(crystal, name), rtol=1e-6, atol=1e-6,
    )  # fmt: skip


@pytest.mark.medium
def test_neighbours_in_a_line_and_at_the_cutoff():
    """The base of the power is zero, and so is the angular derivative."""
    line = Structure([[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0], [3.4, 0, 0]], ["O"] * 4)
    for zeta in (1, 1.5, 16):
        d = SymmetryFunctions({"O": [G5(("O", "O"), 0.1, 1, zeta, 3.4)]})
        assert d.featurize(line)[0, 0] == pytest.approx(0, abs=1e-12)
        rows = d.file_rows([line], with_features=False, with_derivatives=True)
        assert all(np.all(np.isfinite(values)) for values, _ in rows.derivatives)


@pytest.mark.medium
def test_more_neighbours_than_a_tile_in_any_order_and_in_batches():
    """Rows as calculators and relaxation have them: not sorted, longer than need be, stacked."""
    functions = [
        G2("O", 0.4, 1.0, 3.0), G4(("O", "O"), 0.05, -1, 4, 3.0), G5(("O", "Ti"), 0.1, 1, 2, 2.0)
    ]  # fmt: skip
    d = SymmetryFunctions({"Ti": functions, "O": functions[:2]})
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 3, 29, 3)) * 1.5
    pairs = rng.random((2, 3, 29)) < 0.8
    kinds, centres = rng.integers(0, 2, (2, 3, 29)), np.array([[0, 1, 1], [1, 0, 0]])
    with jax.enable_x64(True):
        rows = tuple(map(jnp.asarray, (vectors, pairs, kinds, centres)))
        found = jax.jit(jax.vmap(d.features))(*rows)
        weights = jnp.asarray(rng.normal(size=(4, 2, 3, 3)))

        def pulled(weights, *rows):
            return jax.vjp(lambda v: d.features(v, *rows[1:]), rows[0])[1](weights)[0]

        slopes = jax.jit(jax.vmap(jax.vmap(pulled), in_axes=(0, None, None, None, None)))(
            weights, *rows
        )
        local = jax.jit(functools.partial(d.local_derivatives, near=29))
        each = [local(*(part[n] for part in rows)) for n in range(2)]
    for n in range(2):
        for atom in range(3):
            around = [
                (d.species[k], v)
                for v, p, k in zip(vectors[n, atom], pairs[n, atom], kinds[n, atom], strict=True)
                if p
            ]
            own = d.functions[centres[n, atom]][1]
            expected = [value(f, around, "cosine") for f in own]
            np.testing.assert_allclose(found[n, atom, : len(own)], expected, rtol=1e-10)
        along = each[n].slopes[:, :, None] * each[n].units[:, None]
        jacobian = np.concatenate([along, each[n].angular], axis=1)
        expected = np.einsum("maf,afxk->makx", weights[:, n], jacobian)
        np.testing.assert_allclose(slopes[:, n], expected, rtol=1e-10, atol=1e-12)


def test_grid():
    d = SymmetryFunctions.on_grid(["Ti", "O", "H"], 5.0, 6, angular_r_c=4.0, zetas=(1, 4))
    assert d.species == ("Ti", "O", "H")
    assert (d.n_radial, d.n_features, d.near_cutoff) == (18, 18 + 6 * 4, 4.0)
    first, last = d.functions[1][1][6], d.functions[1][1][11]
    assert (first.r_s, last.r_s, first.elements) == (0.5, 4.5, ("O",))
    assert first.eta == pytest.approx(1 / (2 * 0.8**2))
    again = type(d).from_header(json.loads(json.dumps(d.header())))
    assert again == d and hash(again) == hash(d) and "42 of Ti" in repr(d)


def settings(**more):
    return config(iterations=8, force_weight=0.3, method=Adam(mu=0.005, batchsize=6), **more)


@pytest.fixture(scope="module")
def trained():
    potential = ANNPotential(ARCH, descriptor())
    result = potential.train(tio2(), settings(atomic_energies=ATOMS))
    return potential, result


@pytest.mark.medium
def test_training_lowers_errors_of_energies_and_forces(trained):
    _, result = trained
    first, last = result.errors.iloc[0], result.errors.iloc[-1]
    assert last["RMSE_train"] < first["RMSE_train"]
    assert last["RMSE_force_train"] < first["RMSE_force_train"]


@pytest.mark.medium
@pytest.mark.parametrize("way", ["streamed", "file", "cached"])
def test_however_data_are_kept_bits_are_the_same(trained, way, tmp_path):
    potential, more = ANNPotential(ARCH, descriptor()), {}
    data = {"structures": tio2()}
    if way == "streamed":
        more = {"memory_limit": 1e-6, "atomic_energies": ATOMS}
    elif way == "cached":
        more = {"cache_persist_dir": str(tmp_path), "atomic_energies": ATOMS}
    else:
        file = HDF5StructureDataset(tmp_path / "data.h5", descriptor(), ATOMS)
        file.build_database(tio2(), persist_features=True, persist_force_derivatives=True)
        assert file.has_features and file.has_force_derivatives
        assert not HDF5StructureDataset(
            file.path, descriptor(cutoff_function="tanh3")
        ).has_features  # fmt: skip
        data = {"dataset": file}
    potential.train(**data, config=settings(**more))
    for a, b in zip(leaves(potential), leaves(trained[0]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.medium
def test_calculator_predictions_and_files(trained, tmp_path):
    potential, structure = trained[0], tio2(1)[0]
    found = potential.predict([structure], eval_forces=True)
    atoms = structure.to_ase()
    atoms.calc = MLIPCalculator(potential)
    assert atoms.get_potential_energy() == pytest.approx(found.total_energy[0], abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), found.forces[0], atol=1e-10)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), found.stress[0], atol=1e-10)
    potential.save(tmp_path / "potential.npz")
    again = load_potential(tmp_path / "potential.npz")
    assert again.descriptor == potential.descriptor
    np.testing.assert_array_equal(again.predict([structure]).total_energy, found.total_energy)


@pytest.mark.slow
def test_larger_structures_and_relaxation(trained):
    potential, structure = trained[0], tio2(1)[0]
    found = potential.predict([structure], eval_forces=True)
    many = structure.to_ase().repeat((1, 1, 3))  # more atoms than are evaluated at once
    many.calc = MLIPCalculator(potential)
    assert many.get_potential_energy() == pytest.approx(3 * found.total_energy[0], abs=1e-6)
    np.testing.assert_allclose(many.get_forces()[:24], found.forces[0], atol=1e-10)
    relaxed = relax(structure.to_ase(), potential, fmax=0.01, max_steps=3)
    assert relaxed.energy < found.total_energy[0]


@pytest.mark.medium
def test_aenet_has_no_such_files(trained, tmp_path):
    with pytest.raises(ValueError, match="SymmetryFunctions cannot be written as .nn.ascii"):
        trained[0].to_aenet_ascii(tmp_path / "aenet")
    assert not (tmp_path / "aenet").exists()


@pytest.mark.slow
def test_committee(tmp_path):
    committee = CommitteePotential(ARCH, descriptor())
    members = CommitteeConfig(num_members=2, output_dir=str(tmp_path))
    committee.train(tio2(), config(iterations=2, atomic_energies=ATOMS), members)
    again = CommitteePotential.from_directory(tmp_path)
    found = again.predict(tio2(2)).to_dataframe()
    assert np.all(found["energy_std"] > 0)
    assert again.descriptor == descriptor()


@pytest.mark.medium
def test_atoms_without_neighbours_and_arrays_of_numpy():
    rows = (
        np.zeros((2, 0, 3)),
        np.zeros((2, 0), bool),
        np.zeros((2, 0), np.int8),
        np.zeros(2, np.int8),
    )
    assert not np.any(descriptor().features(*rows))
    local = descriptor().local_derivatives(*rows, 0)
    assert local.angular.shape == (2, 3, 3, 0)


def test_bad_arguments():
    with pytest.raises(TypeError, match="lists by element"):
        SymmetryFunctions([G2("O", 0.1)])
    with pytest.raises(TypeError, match="lists by element"):
        SymmetryFunctions({"O": []})
    with pytest.raises(TypeError, match="lists by element"):
        SymmetryFunctions({"O": G2("O", eta=0.1)})
    with pytest.raises(TypeError, match="G4 has two elements, such as .*; 'OO' was given"):
        G4("OO", 0.1, 1, 1)
    with pytest.raises(TypeError, match=r"G2 has one element; \(\('O',\),\) was given"):
        G2(("O",), 0.1)
    with pytest.raises(ValueError, match=r"must be cosine or tanh3, not \['cosine'\]"):
        SymmetryFunctions({"O": [G2("O", 0.1)]}, cutoff_function=["cosine"])
    with pytest.raises(TypeError, match="zetas is a list of numbers, but 3 was given"):
        SymmetryFunctions.on_grid(["O"], zetas=3)
    with pytest.raises(TypeError, match="species is a list of chemical symbols, but 3 was given"):
        SymmetryFunctions.on_grid(3)
    with pytest.raises(ValueError, match="species must be different chemical symbols"):
        SymmetryFunctions.on_grid([["O"]])
    with pytest.raises(ValueError, match="neighbours Ti, but lists of functions for O only"):
        SymmetryFunctions({"O": [G2("Ti", 0.1)]})
    with pytest.raises(ValueError, match="must be cosine or tanh3, not 'tanh'"):
        SymmetryFunctions({"O": [G2("O", 0.1)]}, cutoff_function="tanh")
    with pytest.raises(ValueError, match="lambda_ of G4 must be 1 or -1 and zeta at least 1"):
        G4(("O", "O"), 0.1, 0.5, 1)
    with pytest.raises(ValueError, match="eta of G2 must be a number of at least 0"):
        G2("O", -1)
    with pytest.raises(ValueError, match="G5 has two elements"):
        G5(("O",), 0.1, 1, 1)
    with pytest.raises(ValueError, match="r_c must be above 1, but 0.5 was given"):
        SymmetryFunctions.on_grid(["O"], 0.5)
    with pytest.raises(ValueError, match="kind must be"):
        SymmetryFunction("G3", ("O",), 0.1, 3.0)
    with pytest.raises(ValueError, match="structure 0 has atoms of H, but"):
        descriptor().featurize(Structure([[0.0, 0, 0]], ["H"]))

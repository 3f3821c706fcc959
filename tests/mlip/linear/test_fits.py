"""Potentials that are linear in their features, fitted in closed form."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip import ACEDescriptor, ANNPotential, FitConfig, StructureDataset, load_potential
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.linear.design import design_rows
from ritz.mlip.linear.normal_equations import ENERGY, FORCES, Choice, Moments, Problem
from ritz.mlip.models.abstract_model import Normalisation
from tests.mlip.systems import ATOMS, descriptor, random_structure, tio2

REACH = (["Ti", "O"], 4.0, 0.8)
LINEAR = {"Ti": [], "O": []}


def known_potential(of=None, seed=0):
    """A linear potential with random weights, of features as they are."""
    found = ANNPotential(LINEAR, of or descriptor())
    n = found.descriptor.n_features
    rng = np.random.default_rng(seed)
    found.parameters = {
        symbol: [{"weights": rng.normal(size=(n, 1)) / 10, "bias": rng.normal(size=1)}]
        for symbol in found.species
    }
    found.normalisation = Normalisation(np.zeros(n), np.ones(n), 1.0, 0.0)
    return found


def labelled(potential, structures):
    """The structures with the energies, forces and stresses that a potential gives."""
    found = potential.predict(structures, eval_forces=True)
    return [
        dataclasses.replace(s, energy=float(e), forces=f, stress=stress)
        for s, e, f, stress in zip(
            structures, found.total_energy, found.forces, found.stress, strict=True
        )
    ]


@functools.cache
def structures():
    """Those of some random ones whose atoms are far enough apart for all features."""
    found = (random_structure(seed, n=5, skew=0.2) for seed in itertools.count())
    apart = (s for s in found if Chunk([s], *REACH).pairs.dropped == {})
    return list(itertools.islice(apart, 24))


@functools.cache
def expansion():
    return ACEDescriptor(["Ti", "O"], 4.0, (3, 3, 2), nearest=1.9)


@pytest.mark.parametrize("of", [descriptor, expansion], ids=["Chebyshev", "expansion"])
def test_rows_give_energies_forces_and_stress(of):
    potential, some = known_potential(of()), structures()[:3]
    found = potential.predict(some, eval_forces=True)
    chunk = Chunk(some, potential.species, of().cutoff, of().min_cutoff)
    rows = design_rows(of(), chunk, with_forces=True, with_virials=True)
    layers = [potential.parameters[symbol][0] for symbol in potential.species]
    weights = np.concatenate([layer["weights"][:, 0] for layer in layers])
    biases = chunk.counts @ np.concatenate([layer["bias"] for layer in layers])
    np.testing.assert_allclose(rows.energies @ weights + biases, found.total_energy, rtol=1e-9)
    np.testing.assert_allclose(
        rows.forces @ weights, np.concatenate(found.forces), rtol=1e-8, atol=1e-9
    )
    volumes = np.array([s.volume for s in some])[:, None, None]
    np.testing.assert_allclose(rows.virials @ weights / volumes, found.stress, rtol=1e-8, atol=1e-9)


@pytest.mark.medium
def test_derivatives_of_the_expansion_are_those_of_one_feature_after_another():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2, 6, 3)) * 1.4
    pairs = np.arange(6) < np.array([[6], [4]])
    kinds, centres = rng.integers(0, 2, (2, 6)), np.zeros(2, int)
    vectors = np.where(pairs[..., None], vectors, 0)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (vectors, pairs, kinds, centres))
        found = expansion().pair_derivatives(*arrays, 6)
        usual = super(ACEDescriptor, expansion()).pair_derivatives
        expected = usual(vectors, pairs, kinds, centres, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "settings",
    [{}, {"force_weight": 0.0}, {"force_weight": 0.3, "stress_weight": 0.2}],
    ids=["forces", "energies", "stress"],
)
def test_what_is_linear_is_found(settings: dict[str, Any]):
    truth = known_potential()
    train, test = structures()[:20], structures()[20:]
    potential = ANNPotential(LINEAR, descriptor())
    config = FitConfig(folds=4, atomic_energies={}, **settings)
    out = potential.fit(
        train_dataset=StructureDataset(labelled(truth, train), descriptor()),
        test_dataset=StructureDataset(labelled(truth, test), descriptor()),
        config=config,
    )
    assert out.stats["final_RMSE_train"] < 1e-5
    if config.force_weight:
        assert out.stats["final_RMSE_test"] < 1e-5
        assert out.stats["final_RMSE_force_test"] < 1e-5
        assert out.stats["left_out_RMSE_force"] < 1e-5
    found, expected = (p.predict(test, eval_forces=True) for p in (potential, truth))
    if config.force_weight:  # energies alone do not tell them
        assert found.stress is not None and expected.stress is not None
        np.testing.assert_allclose(found.stress, expected.stress, atol=1e-5)


def test_noise_is_not_fitted():
    """With hardly more rows than columns, what is left out asks for regularisation."""
    rng = np.random.default_rng(5)
    truth = rng.normal(size=30) / 10

    def noisy(n):
        rows = rng.normal(size=(n, 30))
        return rows, rows @ truth + rng.normal(size=n), np.ones(n)

    folds = [{FORCES: Moments.zero(30)} for _ in range(5)]
    for fold in folds:
        fold[FORCES].add(*noisy(9))
    new = Moments.zero(30)
    new.add(*noisy(2000))
    fit = Problem(folds, np.zeros(30, bool), {FORCES: 1.0})
    chosen = fit.fit(None, {})
    errors = [new.mean_square(fit.fit(p, {}).weights) for p in (1e-13, chosen.choice.penalty, 1e3)]
    assert errors[1] < 0.5 * errors[0] and errors[1] <= errors[2] * 1.05
    assert chosen.choice.penalty >= 0.1


def test_a_fitted_potential_is_saved(tmp_path):
    potential, train = ANNPotential(LINEAR, descriptor()), tio2(6)
    potential.fit(train, FitConfig(folds=2, testpercent=0, atomic_energies=ATOMS))
    potential.save(tmp_path / "linear.npz")
    again = load_potential(tmp_path / "linear.npz").predict(train[:2]).total_energy
    np.testing.assert_array_equal(again, potential.predict(train[:2]).total_energy)


def rows_of(seed, n=40, columns=6):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, columns))
    return rows, rows @ np.arange(columns) + 0.1 * rng.normal(size=n), rng.uniform(0.5, 2, n)


def problem(columns=6, folds=3):
    parts = [[rows_of(10 * fold + k, columns=columns) for k in range(2)] for fold in range(folds)]
    moments = []
    for part in parts:
        fold_moments = {name: Moments.zero(columns) for name in (ENERGY, FORCES)}
        for name, rows in zip(fold_moments, part, strict=True):
            fold_moments[name].add(*rows)
        moments.append(fold_moments)
    shares = {ENERGY: 0.5, FORCES: 0.5}
    return parts, Problem(moments, np.zeros(columns, bool), shares)


def solved(parts, choice):
    """The same by least squares of all rows, with rows for the penalty."""
    rows, values, weights = map(np.concatenate, zip(*(part[1] for part in parts), strict=True))
    scales = np.sqrt(weights @ rows**2 / weights.sum())
    blocks = [rows * np.sqrt(weights)[:, None], np.diag(scales * np.sqrt(choice.penalty))]
    blocks[1] *= np.sqrt(weights.sum())
    right = [values * np.sqrt(weights), np.zeros(len(scales))]
    rows, values, weights = map(np.concatenate, zip(*(part[0] for part in parts), strict=True))
    blocks.append(rows * np.sqrt(weights)[:, None] / choice.ratios[ENERGY])
    right.append(values * np.sqrt(weights) / choice.ratios[ENERGY])
    return np.linalg.lstsq(np.concatenate(blocks), np.concatenate(right), rcond=None)[0]


def test_solutions_and_left_out_errors_are_those_of_least_squares():
    parts, fit = problem()
    choice = Choice(0.02, {ENERGY: 0.3})
    np.testing.assert_allclose(fit.solve(fit.total, choice), solved(parts, choice), rtol=1e-9)
    squares = []
    for left_out in range(3):
        rest = [part for place, part in enumerate(parts) if place != left_out]
        weights = solved(rest, choice)
        rows, values, factors = parts[left_out][1]
        squares.append((factors @ (rows @ weights - values) ** 2, factors.sum()))
    total, count = np.sum(squares, axis=0)
    found = fit.left_out_errors(choice)[FORCES]
    assert found == pytest.approx(np.sqrt(total / count), rel=1e-9)


def test_labels_that_one_fold_alone_has():
    """Where it is left out, the others are fitted to what they have."""
    parts, _ = problem()
    folds = []
    for place, part in enumerate(parts):
        moments = {name: Moments.zero(6) for name in (ENERGY, FORCES)}
        moments[ENERGY].add(*part[0])
        if place == 1:
            moments[FORCES].add(*part[1])
        folds.append(moments)
    fit = Problem(folds, np.zeros(6, bool), {ENERGY: 0.5, FORCES: 0.5})
    found = fit.left_out_errors(Choice(1e-6, {ENERGY: 1.0}))
    assert 0.05 < found[FORCES] < 0.2 and 0.05 < found[ENERGY] < 0.2  # the noise is 0.1


def test_the_search_ends_where_no_neighbour_is_better():
    _, fit = problem()
    choice, left_out = fit.fit(None, {})[1:]
    assert dict(left_out) == fit.left_out_errors(choice)
    best = fit._score(left_out)
    for factor in (0.1, 10):
        moved = choice._replace(penalty=choice.penalty * factor)
        assert fit._scored(moved, True)[0] >= best
    for factor in (10**-0.5, 10**0.5):
        moved = choice._replace(ratios={ENERGY: choice.ratios[ENERGY] * factor})
        assert fit._scored(moved, True)[0] >= best


def test_what_cannot_be_fitted_is_told():
    deep = ANNPotential({"Ti": [], "O": [(4, "tanh")]}, descriptor())
    with pytest.raises(ValueError, match=r"network of O has hidden layers.* arch=\{'Ti': \[\]"):
        deep.fit(tio2(4))
    linear = ANNPotential(LINEAR, descriptor())
    with pytest.raises(ValueError, match="folds=5 need as many structures, but 3 struct"):
        linear.fit(tio2(3), FitConfig(atomic_energies=ATOMS))
    with pytest.raises(ValueError, match="folds must be a whole number of at least 2"):
        FitConfig(folds=1)
    with pytest.raises(TypeError, match="config must be a ritz.mlip.FitConfig"):
        linear.fit(tio2(4), {"folds": 3})  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    dependent = Moments.zero(12)
    rows = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 12))
    dependent.add(rows, rows.sum(axis=1), np.ones(50))
    fit = Problem([{FORCES: dependent}] * 2, np.zeros(12, bool), {FORCES: 1.0})
    with pytest.raises(ValueError, match="regularisation=0 is too small for these features"):
        fit.fit(0.0, {})
    np.testing.assert_allclose(rows @ fit.fit(None, {}).weights, rows.sum(axis=1), atol=1e-4)

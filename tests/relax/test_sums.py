"""Repulsion of nuclei, and sums of potentials."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from ritz.potentials.potential import evaluate
from ritz.relax import (
    ZBL,
    AbstractPotential,
    AtomicGraph,
    LennardJones,
    Morse,
    Potential,
    SumPotential,
)
from ritz.testing import check_potential
from tests.relax.systems import argon


def screened(first: int, second: int, distance: float) -> float:
    """Energy of two nuclei, in eV, without an end."""
    x = distance * (first**0.23 + second**0.23) / 0.46850
    phi = (0.18175 * math.exp(-3.19980 * x) + 0.50986 * math.exp(-0.94229 * x)
           + 0.28022 * math.exp(-0.40290 * x) + 0.02817 * math.exp(-0.20162 * x))  # fmt: skip
    return 14.399645 * first * second / distance * phi


def graph_of(atoms: Atoms) -> AtomicGraph:
    """A cluster in which all atoms are neighbours, with a place and entries that are empty."""
    n = len(atoms) + 1
    positions = np.append(atoms.positions, np.zeros((1, 3)), axis=0)
    mask = np.arange(n) < len(atoms)
    neighbors = np.tile(np.arange(n), (n, 1))
    pairs = mask[:, None] & mask & ~np.eye(n, dtype=bool)
    vectors = np.where(pairs[..., None], positions - positions[:, None], 0)
    numbers = jnp.asarray(np.append(atoms.numbers, 0))
    rest = map(jnp.asarray, (mask, neighbors, vectors, pairs))
    return AtomicGraph(jnp.asarray(positions), jnp.eye(3), jnp.zeros(3, bool), numbers, *rest)


def energy(model, symbols: str, distance: float) -> float:
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, distance]])
    with jax.enable_x64(True):
        return float(model(model.params, graph_of(atoms)))


def test_nuclei_repel_by_the_universal_screening_function():
    far = ZBL(reach=30.0)  # so that its end hardly matters
    for symbols, numbers, distance in (("Si2", (14, 14), 1.0), ("SiO", (14, 8), 0.4)):
        found = energy(far, symbols, distance)
        assert found == pytest.approx(screened(*numbers, distance), rel=1e-6)
    assert energy(far, "Si2", 1.0) == pytest.approx(50.974, rel=1e-5)
    assert energy(far, "Au2", 1e-2) == pytest.approx(14.399645 * 79**2 / 1e-2, rel=0.2)


def test_it_ends_smoothly_at_covalent_radii():
    end, model = covalent_radii[14] + covalent_radii[8], ZBL(["Si", "O"])
    near, nearer = (energy(model, "SiO", end - gap) for gap in (0.01, 0.02))
    assert nearer / near == pytest.approx(8, rel=0.1)  # as the third power
    assert abs(energy(model, "SiO", end)) < 1e-12 and energy(model, "SiO", end + 0.1) == 0
    x = 0.5
    expected = screened(14, 8, x * end) * (1 - 28 * x**6 + 48 * x**7 - 21 * x**8)
    assert energy(model, "SiO", x * end) == pytest.approx(expected, rel=1e-9)
    assert model.cutoff == pytest.approx(2 * covalent_radii[14])


def embedded(params, structure):
    """An energy of many bodies that ends at 3.5 Angstrom."""
    squared = structure.squared_distances()
    fades = jnp.where(structure.pairs, jnp.maximum(1 - squared / 3.5**2, 0) ** 3, 0)
    return params["a"] * jnp.sum(jnp.sum(fades, axis=1) ** 2)


def parts() -> list[AbstractPotential]:
    return [
        LennardJones(0.01, 2.5, cutoff=5.0, onset=4.0),
        Potential(embedded, {"a": 0.7}, cutoff=3.5),
        ZBL(["Ar"], reach=1.5),
    ]


@pytest.mark.medium
def test_sums_have_the_energy_and_forces_of_their_parts():
    atoms = Atoms("Ar4", np.random.default_rng(0).uniform(0, 4, (4, 3)))
    with jax.enable_x64(True):
        graph = graph_of(atoms)
        found = evaluate(SumPotential(parts()), graph)
        each = [evaluate(part, graph) for part in parts()]
    assert found.energy == pytest.approx(sum(float(one.energy) for one in each), rel=1e-12)
    for name in ("forces", "virial"):
        total = sum(np.asarray(getattr(one, name)) for one in each)
        np.testing.assert_allclose(getattr(found, name), total, rtol=1e-9, atol=1e-9)


def test_sums_know_what_all_parts_know():
    made = SumPotential([LennardJones({"Ar": 0.01, "Ne": 0.02}, 3.0, 6.0), ZBL(["Ar", "Si"])])
    assert made.species == ("Ar",) and made.cutoff == 6.0 and len(made.parts) == 2
    assert SumPotential([Morse(cutoff=4.0), ZBL()]).species is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ZBL("Si"), TypeError, "species are chemical symbols"),
        (lambda: ZBL(["Xx"]), ValueError, "'Xx', which is no chemical element"),
        (lambda: ZBL([]), ValueError, "species must name an element"),
        (lambda: ZBL(reach=0), ValueError, "reach must be a positive number"),
        (lambda: SumPotential([]), ValueError, "needs at least one"),
        (lambda: SumPotential([3]), TypeError, "a potential is an AbstractPotential"),
        (lambda: SumPotential([ZBL(["Si"]), ZBL(["O"])]), ValueError, "a species in common"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.slow
def test_conformance():
    check_potential(ZBL(["Ar"], reach=2.5), argon(2))
    check_potential(SumPotential(parts()), argon(2))

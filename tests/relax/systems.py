"""Structures and potentials that several tests share; few shapes, since each is compiled."""

import functools

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron, Octahedron

from ritz.relax import FIRE, ConvergenceHook, LennardJones

ARGON = {"epsilon": 0.0104, "sigma": 3.4}
"""In eV and Angstrom."""

SIGMA_LATTICE = 2 ** (1 / 6) * np.sqrt(2)
"""The lattice constant of fcc in units of sigma at which neighbours sit in the minimum."""


@functools.cache
def lennard_jones(cutoff: float = 6.0, onset: float | None = 5.0) -> LennardJones:
    return LennardJones(**ARGON, cutoff=cutoff, onset=onset)


def argon(seed: int, rattle: float = 0.15, a: float = 5.3) -> Atoms:
    """Eight argon atoms in a box of two primitive cells along each lattice vector."""
    atoms = bulk("Ar", "fcc", a=a) * (2, 2, 2)
    atoms.positions += np.random.default_rng(seed).normal(size=(8, 3)) * rattle
    return atoms


def argons(n: int, **settings) -> list[Atoms]:
    return [argon(seed, **settings) for seed in range(n)]


def fire(fmax: float = 0.005, **settings) -> FIRE:
    return FIRE(convergence_hook=ConvergenceHook.from_fmax(fmax), **settings)


def cluster(n: int, seed: int = 0, rattle: float = 0.05) -> Atoms:
    """The global minimum of 13, 38 or 55 Lennard-Jones atoms with sigma 1, perturbed."""
    made = {
        13: lambda: Icosahedron("Ar", 2, SIGMA_LATTICE),
        38: lambda: Octahedron("Ar", 4, 1, SIGMA_LATTICE),
        55: lambda: Icosahedron("Ar", 3, SIGMA_LATTICE),
    }[n]()
    atoms = Atoms(made.symbols, made.positions)
    atoms.positions += np.random.default_rng(seed).normal(size=(n, 3)) * rattle
    return atoms

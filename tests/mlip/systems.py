"""Structures and potentials that several tests share; few shapes, since each is compiled."""

import functools
import json
from pathlib import Path

import numpy as np

from ritz.mlip import (
    ANNPotential,
    ChebyshevDescriptor,
    Structure,
    StructureDataset,
    TrainingConfig,
    read_structures,
)

DATA = Path(__file__).parents[1] / "data" / "tio2"

ATOMS = {"O": -432.503149303, "Ti": -1604.604515075}
"""The energies of the atoms, in eV."""

ARCH = {"Ti": [(6, "tanh")], "O": [(6, "tanh")]}


@functools.cache
def reference() -> dict:
    """What aenet-python gives."""
    return json.loads((DATA / "reference.json").read_text())


@functools.cache
def descriptor() -> ChebyshevDescriptor:
    return ChebyshevDescriptor(["Ti", "O"], 3, 4.0, 2, 3.0, min_cutoff=0.5)


def tio2(n: int = 24) -> list[Structure]:
    files = [DATA / entry["file"] for entry in reference()["structures"]]
    return read_structures(files[:n])


@functools.cache
def dataset() -> StructureDataset:
    return StructureDataset(tio2(), descriptor(), ATOMS)


def config(**settings) -> TrainingConfig:
    usual = {
        "iterations": 4, "force_weight": 0.1, "testpercent": 25, "checkpoint_dir": None,
        "show_progress": False,
    }  # fmt: skip
    from ritz.mlip import Adam

    usual["method"] = Adam(batchsize=6)
    return TrainingConfig(**{**usual, **settings})


def potential() -> ANNPotential:
    return ANNPotential(ARCH, descriptor())


def leaves(potential: ANNPotential) -> list[np.ndarray]:
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(potential.parameters)]


def random_structure(seed: int, species=("Ti", "O"), n: int = 7, skew: float = 0.0) -> Structure:
    """A periodic structure, some of whose atoms are outside of the cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3.0, 5.0, 3)) + skew * rng.normal(size=(3, 3))
    positions = rng.uniform(-1, 2, (n, 3)) @ cell
    return Structure(positions, [species[i] for i in rng.integers(0, len(species), n)], cell=cell)


def trained(**settings):
    """A potential that was trained on `dataset`, and what training returned."""
    made = potential()
    arguments = {
        key: settings.pop(key) for key in ("callback", "out", "resume_from") if key in settings
    }
    return made, made.train(dataset=dataset(), config=config(**settings), **arguments)

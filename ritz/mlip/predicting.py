"""Predictions of a trained potential for many structures."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ritz.mlip.config import TrainingConfig
from ritz.mlip.datasets import AbstractDataset, referenced
from ritz.mlip.model import AtomicModel, Normalisation, Prediction
from ritz.mlip.predict_out import PredictOut
from ritz.mlip.rooms import GroupRoom, fixed_plan
from ritz.mlip.split import Split, gather, pack
from ritz.mlip.structure import Structure

BATCH = 32
"""How many structures are predicted at once."""


def predict(potential: Any, structures: Sequence[Structure], eval_forces: bool) -> PredictOut:
    """Energies of structures, and forces if they are asked for."""
    descriptor = potential.descriptor
    bare = [Structure(s.positions, s.species, cell=s.cell, pbc=s.pbc) for s in structures]
    with jax.enable_x64(potential.dtype == "float64"):
        split = pack(bare, descriptor, {}, [eval_forces] * len(bare), potential.dtype)
        split = split._replace(features=potential.normalisation.features(split.features))
        real = jnp.dtype(potential.dtype)
        split, networks, normalisation = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, real) if np.asarray(leaf).dtype.kind == "f" else leaf,
            (split, potential.networks, potential.normalisation),
        )
        energies = np.empty(len(bare))
        forces: list[Any] = [None] * len(bare)
        stress = np.full((len(bare), 3, 3), np.nan)
        (room,), (plan,) = fixed_plan(split, BATCH, False)
        for ids in np.asarray(plan):
            found, slot, valid = _predicted(
                potential.model, room, eval_forces, split, networks, normalisation, ids
            )
            there = ids >= 0
            energies[ids[there]] = np.asarray(found.energy)[there]
            if eval_forces:
                stress[ids[there]] = np.asarray(found.stress)[there]
                _scatter(forces, found.forces, ids, np.where(valid, slot, -1), bare, descriptor)
    stress[[s.cell is None or np.linalg.matrix_rank(s.cell) < 3 for s in structures]] = np.nan
    sizes = np.array([len(s) for s in structures])
    alone = np.array([-referenced(_zero(s), potential.atomic_energies) for s in structures])
    total = energies + float(potential.normalisation.e_shift) * sizes + alone
    return PredictOut(
        total, sizes, [s.name or f"structure_{n:06d}" for n, s in enumerate(structures)],
        forces if eval_forces else None, stress if eval_forces else None,
        np.array([np.nan if s.energy is None else s.energy for s in structures]),
        [s.forces for s in structures],
    )  # fmt: skip


def _zero(structure: Structure) -> Structure:
    return Structure(structure.positions, structure.species, energy=0.0, cell=structure.cell,
                     pbc=structure.pbc)  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _predicted(
    model: AtomicModel,
    room: GroupRoom,
    eval_forces: bool,
    split: Split,
    networks: Any,
    normalisation: Normalisation,
    ids: Any,
) -> tuple[Prediction, Any, Any]:
    weights = model.descriptor.species_weights
    batch = gather(split, ids, room.atoms, eval_forces, eval_forces, weights)
    return model.predict(networks, normalisation, batch, room.atoms), batch.slot, batch.valid


def _scatter(
    forces: list[Any], found: Any, ids: Any, slots: Any, structures: Any, descriptor: Any
) -> None:
    """Put forces, ordered by species, into the order of the structures' atoms."""
    found = np.asarray(found, float)
    for slot, index in enumerate(ids):
        if index >= 0:
            kinds = [descriptor.species_to_idx[s] for s in structures[index].species]
            order = np.argsort(kinds, kind="stable")
            forces[index] = np.empty((len(order), 3))
            forces[index][order] = found[slots == slot]


def save_predictions(
    potential: Any,
    datasets: Sequence[AbstractDataset | None],
    config: TrainingConfig,
    folder: Path,
) -> dict[str, pd.DataFrame]:
    """Write what is predicted for both splits, and return the tables of energies by split.

    `energies_train.csv` has a row for each structure; `forces_train.extxyz` has the structures
    with what is predicted, and the forces that were given as `reference_forces`.
    """
    tables = {}
    for split, dataset in zip(("train", "test"), datasets, strict=True):
        if dataset is None:
            continue
        found = potential.predict_dataset(dataset, config.save_forces)
        tables[split] = found.to_dataframe()
        if config.save_energies:
            tables[split].to_csv(folder / f"energies_{split}.csv", index=False)
        if config.save_forces:
            ase.io.write(folder / f"forces_{split}.extxyz", _labelled(dataset, found))
    return tables


def _labelled(dataset: AbstractDataset, found: PredictOut) -> list[Any]:
    listed = []
    assert found.forces is not None
    for place, structure in enumerate(dataset):
        bare = Structure(structure.positions, structure.species, float(found.total_energy[place]),
                         found.forces[place], structure.cell, structure.pbc)  # fmt: skip
        atoms = bare.to_ase()
        if structure.forces is not None:
            atoms.set_array("reference_forces", np.asarray(structure.forces))
        if structure.energy is not None:
            atoms.info["reference_energy"] = structure.energy
        atoms.info["name"] = found.names[place]
        listed.append(atoms)
    return listed

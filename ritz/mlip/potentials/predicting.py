"""Predicts energies, forces and stress of many structures, on all devices of this process."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.driver.own_precision import own_precision
from ritz.driver.processes.consensus import exchange, together
from ritz.driver.processes.division import EVERYWHERE
from ritz.full_precision import in_full_precision
from ritz.mlip.arrays import on_device
from ritz.mlip.batching.pack import Split, gather, pack
from ritz.mlip.batching.plan import fixed_plan
from ritz.mlip.batching.survey import labels_of
from ritz.mlip.data.datasets import AbstractDataset, free_atoms_energy
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.models.abstract_model import (
    AbstractModel,
    Batch,
    GroupCapacity,
    Normalisation,
    Prediction,
)
from ritz.mlip.potentials.fitted import ClosePairs
from ritz.mlip.potentials.predictions import PredictOut
from ritz.mlip.training.division import BATCH, BY_BATCH, TrainingDivision, division_of_process
from ritz.mlip.training.losses import stress_of

if TYPE_CHECKING:
    from ritz.mlip.potentials.base import AbstractMLIP


IN_BATCH = 32
"""Number of structures that a device predicts at once."""

AT_ONCE = 1024
"""Number of structures that are packed at once; bounds the memory."""


def predict(
    potential: "AbstractMLIP",
    structures: Sequence[Structure],
    eval_forces: bool,
    first_number: int = 0,
) -> PredictOut:
    """Energies of structures, and forces if they are asked for.

    Args:
        potential: What predicts them.
        structures: The structures; those without a name are called by their numbers.
        eval_forces: Whether forces and stress are predicted.
        first_number: The number of the first structure.
    """
    found = [
        _predict_some(
            potential,
            structures[begin : begin + AT_ONCE],
            eval_forces,
            itertools.count(first_number + begin),
        )
        for begin in range(0, len(structures), AT_ONCE)
    ]
    return found[0] if len(found) == 1 else concatenated(found)


def predict_together(
    potential: "AbstractMLIP", structures: Sequence[Structure], eval_forces: bool
) -> PredictOut:
    """`predict`, with the structures divided among all processes, each of which gets all results.

    Args:
        potential: What predicts them; the same on all processes.
        structures: The same on all processes.
        eval_forces: Whether forces and stress are predicted.
    """
    n_processes = jax.process_count()
    if n_processes == 1:
        return predict(potential, structures, eval_forces)
    ends = np.linspace(0, len(structures), n_processes + 1).round().astype(int)
    begin, end = ends[jax.process_index() :][:2]
    n_atoms = np.array([len(s) for s in structures])
    width = 10 + 3 * int(n_atoms.max()) if eval_forces else 1
    table = np.zeros((len(structures), width))
    with together("while structures were predicted"):
        if end > begin:
            own = predict(potential, structures[begin:end], eval_forces, int(begin))
            table[begin:end, 0] = own.total_energy
            for row, place in enumerate(range(begin, end) if eval_forces else ()):
                assert own.forces is not None and own.stress is not None
                table[place, 1:10] = own.stress[row].ravel()
                table[place, 10 : 10 + 3 * n_atoms[place]] = own.forces[row].ravel()
    gathered = exchange(table.view(np.int32)).view(np.float64)
    owner = np.searchsorted(ends, np.arange(len(structures)), side="right") - 1
    table = gathered.reshape(n_processes, *table.shape)[owner, np.arange(len(structures))]
    forces, stress = None, None
    if eval_forces:
        stress = table[:, 1:10].reshape(-1, 3, 3)
        forces = [
            row[10 : 10 + 3 * n].reshape(-1, 3) for row, n in zip(table, n_atoms, strict=True)
        ]
    return PredictOut(
        table[:, 0],
        n_atoms,
        names_of(structures, itertools.count()),
        forces=forces,
        stress=stress,
        reference_energy=known_energies(structures),
        reference_forces=[s.forces for s in structures],
    )


def names_of(structures: Sequence[Structure], numbers: Iterable[int]) -> list[str]:
    """The names of structures; those without one are called by their numbers."""
    numbered = zip(numbers, structures, strict=False)  # of the numbers there may be no end
    return [s.name or f"structure_{number:06d}" for number, s in numbered]


def known_energies(structures: Sequence[Structure]) -> np.ndarray:
    """The energies that structures are labelled with, in eV; NaN where they are not."""
    return np.array([np.nan if s.energy is None else s.energy for s in structures])


def predict_dataset(
    potential: "AbstractMLIP", dataset: AbstractDataset, eval_forces: bool
) -> PredictOut:
    """Predict for a data set, whose structures are read some at a time."""
    found = []
    for begin in range(0, len(dataset), AT_ONCE):
        places = range(begin, min(begin + AT_ONCE, len(dataset)))
        structures = [dataset.get_structure(place) for place in places]
        numbers = map(dataset.source_index, places)
        found.append(_predict_some(potential, structures, eval_forces, numbers))
    return found[0] if len(found) == 1 else concatenated(found)


def concatenated(parts: Sequence[PredictOut]) -> PredictOut:
    """The predictions of all parts, one after another."""

    def together(values: list[Any]) -> Any:
        if values[0] is None:
            return None
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        return list(itertools.chain.from_iterable(values))

    fields = (field.name for field in dataclasses.fields(PredictOut))
    return PredictOut(*(together([getattr(part, name) for part in parts]) for name in fields))


def _predict_some(
    potential: "AbstractMLIP",
    structures: Sequence[Structure],
    eval_forces: bool,
    numbers: Iterable[int],
) -> PredictOut:
    """Some structures; those without a name are called by their numbers."""
    model = potential.model
    names = names_of(structures, numbers)
    bare = [
        Structure(s.positions, s.species, cell=s.cell, pbc=s.pbc, name=name)
        for s, name in zip(structures, names, strict=True)
    ]
    watch = ClosePairs(potential, bare)
    chunk = Chunk(bare, model.species, model.cutoff, model.min_distance, search=watch.find)
    labels = labels_of(bare, {}, np.full(len(bare), eval_forces))
    widths = model.widths(chunk, eval_forces)
    split = pack(
        model,
        [chunk],
        labels,
        normalisation=potential.normalisation,
        widths=widths,
        dtype=potential.dtype,
        with_stress=eval_forces,
    )
    with own_precision(potential.dtype):
        arrays = split, potential.parameters, potential.normalisation
        split, parameters, normalisation = on_device(arrays, jnp.dtype(potential.dtype))
        energies = np.empty(len(bare))
        forces: list[np.ndarray] = [np.empty(0)] * len(bare)
        stress = np.full((len(bare), 3, 3), np.nan)
        division = division_of_process(-(-len(bare) // IN_BATCH))
        n_parts = division.n_parts
        (capacity,), (plan,) = fixed_plan(split, IN_BATCH * n_parts, eval_forces, n_parts)
        for ids in np.asarray(plan):
            predicted, stresses, batch = _predict_batch(
                model,
                capacity,
                division,
                split=split,
                parameters=parameters,
                normalisation=normalisation,
                ids=jnp.asarray(ids),
            )
            filled = ids >= 0
            energies[ids[filled]] = np.asarray(predicted.energy)[filled]
            if eval_forces:
                stress[ids[filled]] = np.asarray(stresses)[filled]
                slots, known = np.where(batch.valid, batch.slot, -1), model.species
                batch_forces = np.asarray(predicted.forces, float)
                _scatter(forces, batch_forces, ids, slots=slots, structures=bare, species=known)
    stress[[s.cell is None or np.linalg.matrix_rank(s.cell) < 3 for s in structures]] = np.nan
    sizes = np.array([len(s) for s in structures])
    apart = [free_atoms_energy(s, potential.atomic_energies) for s in structures]
    total = energies + float(potential.check_trained().e_shift) * sizes + np.array(apart)
    for place in watch.report(names):
        total[place] = stress[place] = np.nan
        if eval_forces:
            forces[place] = np.full_like(forces[place], np.nan)
    return PredictOut(
        total,
        sizes,
        names,
        forces=forces if eval_forces else None,
        stress=stress if eval_forces else None,
        reference_energy=known_energies(structures),
        reference_forces=[s.forces for s in structures],
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
@in_full_precision
def _predict_batch(
    model: AbstractModel,
    capacity: GroupCapacity,
    division: TrainingDivision,
    split: Split,
    parameters: PyTree,
    normalisation: Normalisation,
    ids: jax.Array,
) -> tuple[Prediction, jax.Array | None, Batch]:
    """A batch that devices share; atoms have the slots of the whole batch."""

    def share(
        split: Split, parameters: PyTree, normalisation: Normalisation, ids: jax.Array
    ) -> tuple[Prediction, jax.Array | None, Batch]:
        (batch,) = gather(split, [ids], [capacity])
        prediction = model.predict(parameters, normalisation, batch, capacity)
        stress = None if prediction.virial is None else stress_of(prediction.virial, batch)
        first = division.place(BATCH) * capacity.slots
        return prediction, stress, batch._replace(slot=batch.slot + first)

    takes = (EVERYWHERE, EVERYWHERE, EVERYWHERE, BY_BATCH)
    return division.on_each(share, takes, BY_BATCH)(split, parameters, normalisation, ids)


def _scatter(
    forces: list[np.ndarray],
    batch_forces: np.ndarray,
    ids: np.ndarray,
    slots: np.ndarray,
    structures: Sequence[Structure],
    species: Sequence[str],
) -> None:
    """Put forces, ordered by species, into the order of the structures' atoms."""
    for slot, index in enumerate(ids):
        if index >= 0:
            kinds = [species.index(s) for s in structures[index].species]
            order = np.argsort(kinds, kind="stable")
            forces[index] = np.empty((len(order), 3))
            forces[index][order] = batch_forces[slots == slot]

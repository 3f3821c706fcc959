"""Trainable potentials on top of potentials that stay as they are."""

import dataclasses
from collections.abc import Iterable
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from typing_extensions import override

from ritz.driver.arguments import Plugins
from ritz.driver.signatures import suggests_names
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.pairs import find_pairs
from ritz.mlip.potentials.base import AbstractMLIP
from ritz.mlip.potentials.fitted import FittedPotential
from ritz.mlip.potentials.predictions import PredictOut
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.run import TrainOut
from ritz.potentials import (
    AbstractPotential,
    AbstractPotentialSource,
    AtomicGraph,
    SumPotential,
    as_potential,
)
from ritz.potentials.pairs import padded_width, row_places
from ritz.potentials.potential import Evaluated, evaluate


class BaselinePotential(AbstractPotentialSource):
    """A potential that is trained on what a baseline, such as `ZBL`, does not have.

    Energies, forces and stress of the baseline are taken off the labels before training, and added
    to predictions. Files have the trained part alone: after `made.potential.save(path)`, the whole
    is `BaselinePotential(load_potential(path), baseline)`.

    Args:
        potential: The potential that is trained, or was trained in this way.
        baseline: A potential with a finite cutoff, or what `as_potential` makes one of.

    Raises:
        TypeError: If either is no potential.
        ValueError: If the baseline has no finite cutoff, or lacks a species.
    """

    def __init__(self, potential: AbstractMLIP, baseline: AbstractPotential | object):
        if not isinstance(potential, AbstractMLIP):
            raise TypeError(f"potential must be a trainable one, but {potential!r} was given.")
        self.potential = potential
        self.baseline = as_potential(baseline)
        reach, known = self.baseline.cutoff, self.baseline.species
        if reach is None or not np.isfinite(reach):
            raise ValueError(f"the baseline must have a finite cutoff, but it has {reach}.")
        lacking = [s for s in potential.species if known is not None and s not in known]
        if lacking:
            raise ValueError(f"the baseline does not know {', '.join(lacking)}.")

    @suggests_names
    def train(
        self,
        structures: StructuresLike,
        config: TrainingConfig | None = None,
        *,
        resume_from: str | PathLike[str] | None = None,
        in_total: bool = False,
        callback: Plugins = None,
        out: Plugins = None,
    ) -> TrainOut:
        """Train the potential on labels less those of the baseline; see `AbstractMLIP.train`.

        Args:
            structures: `Structure` or `ase.Atoms`; `testpercent` of them are held out.
            config: How to train; limits of energies and forces are those of the differences.
            resume_from: A checkpoint, or a file of `potential`.
            in_total: Whether `iterations` counts from the beginning of the run.
            callback: Callbacks of the run.
            out: Where rows go.

        Raises:
            ValueError: If a structure has no energy in the baseline, since atoms are too close.
        """
        return self.potential.train(
            self.remainder(structures),
            config,
            resume_from=resume_from,
            in_total=in_total,
            callback=callback,
            out=out,
        )

    def remainder(self, structures: StructuresLike) -> list[Structure]:
        """The structures with the labels that they have, less the baseline's.

        Raises:
            ValueError: If a structure has no energy in the baseline, since atoms are too close.
        """
        given = as_structures(structures)
        return [_shifted(s, found) for s, found in zip(given, self._evaluated(given), strict=True)]

    def predict(self, structures: StructuresLike, eval_forces: bool = False) -> PredictOut:
        """Energies of structures, the baseline's included, and forces and stress if asked for.

        Args:
            structures: `Structure` or `ase.Atoms`.
            eval_forces: Whether forces and stress are predicted.

        Raises:
            RuntimeError: If it was not trained.
        """
        given = as_structures(structures)
        found, fixed = self.potential.predict(given, eval_forces), self._evaluated(given)
        found.total_energy = found.total_energy + [float(each.energy) for each in fixed]
        if found.forces is not None and found.stress is not None:
            pairs = zip(found.forces, fixed, strict=True)
            found.forces = [own + np.asarray(each.forces)[: len(own)] for own, each in pairs]
            volumes = [s.volume for s in given]
            found.stress = found.stress + [
                np.asarray(each.virial) / volume
                for each, volume in zip(fixed, volumes, strict=True)
            ]
        return found

    @override
    def frozen(self, close_pairs: bool = False) -> SumPotential:
        """The sum of both, as `ritz.relax` takes it.

        Args:
            close_pairs: Whether structures have energies also where atoms are closer than 0.8
                times the smallest distance between their species in training, as it makes sense
                over a baseline that is right there.

        Raises:
            RuntimeError: If it was not trained.
        """
        fitted, trained = self.potential.frozen(), self.potential
        if close_pairs:
            with jax.enable_x64(True):
                fitted = FittedPotential(
                    trained.model,
                    trained.parameters,
                    trained.check_trained(),
                    trained.atomic_energies,
                )
        return SumPotential([fitted, self.baseline])

    def _evaluated(self, structures: Iterable[Structure]) -> list[Evaluated]:
        with jax.enable_x64(True):
            return [_evaluate(self.baseline, s) for s in structures]


@jax.jit
def _compiled(potential: AbstractPotential, structure: AtomicGraph) -> Evaluated:
    return evaluate(potential, structure)


def _evaluate(potential: AbstractPotential, structure: Structure) -> Evaluated:
    """Energy, forces and virial in double precision, with few shapes to compile for."""
    assert potential.cutoff is not None
    first, second, shifts = find_pairs(structure, potential.cutoff)
    n_atoms = len(structure)
    size = padded_width(n_atoms)
    counts = np.bincount(first, minlength=size)
    rows, places = row_places(counts)
    width = padded_width(max(1, counts.max()))
    positions, box = np.asarray(structure.positions, float), structure.box
    vectors, neighbors = np.zeros((size, width, 3)), np.zeros((size, width), int)
    pairs = np.zeros((size, width), bool)
    vectors[rows, places] = positions[second] - positions[first] + shifts @ box
    neighbors[rows, places], pairs[rows, places] = second, True
    numbers = np.zeros(size, int)
    numbers[:n_atoms] = [atomic_numbers[symbol] for symbol in structure.species]
    graph = AtomicGraph(
        positions=jnp.asarray(np.pad(positions, ((0, size - n_atoms), (0, 0)))),
        cell=jnp.asarray(box),
        pbc=jnp.asarray(structure.pbc),
        numbers=jnp.asarray(numbers),
        mask=jnp.arange(size) < n_atoms,
        neighbors=jnp.asarray(neighbors),
        vectors=jnp.asarray(vectors),
        pairs=jnp.asarray(pairs),
    )
    return _compiled(potential, graph)


def _shifted(structure: Structure, found: Evaluated) -> Structure:
    """A structure with its labels less what was found."""
    if not np.isfinite(found.energy):
        name = structure.name or "a structure"
        raise ValueError(f"{name}: the baseline has no energy, since atoms are too close.")
    energy, forces, stress = structure.energy, structure.forces, structure.stress
    return dataclasses.replace(
        structure,
        energy=None if energy is None else energy - float(found.energy),
        forces=None if forces is None else forces - np.asarray(found.forces)[: len(structure)],
        stress=None if stress is None else stress - np.asarray(found.virial) / structure.volume,
    )

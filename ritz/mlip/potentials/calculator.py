"""Trained potentials as calculators of ASE."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import complete_cell
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import PyTree

from ritz.full_precision import in_full_precision
from ritz.mlip.potentials.fitted import FittedPotential
from ritz.potentials import AtomicGraph
from ritz.potentials.close_pairs import closest_of
from ritz.potentials.pairs import padded_width, pairs_on_host, row_places
from ritz.potentials.potential import Evaluated, evaluate

_WIDTH_STEP = 16
"""Rows grow in larger steps than elsewhere: atoms move from call to call."""


class MLIPCalculator(Calculator):
    """Energy, forces and stress of a potential, or of a committee with its spread.

    Results are `energy` (also as `free_energy`) in eV, `energies` by atom, `forces` in
    eV/Angstrom and `stress` in eV/Angstrom^3; of several potentials their means, and as
    `energy_std`, `forces_std` (n_atoms, 3) and `force_uncertainty` (n_atoms) their standard
    deviations, the last one averaged over x, y and z.

    Args:
        potentials: A trained potential, a committee, or several potentials of one form.

    Raises:
        ValueError: If several potentials differ in more than their networks, or there is none.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "energy_std",
        "forces_std",
        "force_uncertainty",
    ]

    def __init__(self, potentials: Any, **kwargs: Any):
        super().__init__(**kwargs)
        several = isinstance(potentials, Iterable)
        members = list(potentials) if several else [potentials]
        if not members:
            raise ValueError("there are no potentials; a committee has members when it is trained.")
        self.members = members
        frozen = [member.frozen() for member in members]
        if any(other.model != frozen[0].model for other in frozen):
            raise ValueError(
                "the members of a committee must have one architecture and one descriptor."
            )
        with jax.enable_x64(True):
            self._params = jax.tree.map(
                lambda *leaves: jnp.stack([jnp.asarray(x, float) for x in leaves]),
                *[potential.params for potential in frozen],
            )
        self._model = frozen[0]

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all results for the atoms.

        Raises:
            ValueError: If there are species that the potential does not know, or two atoms are
                closer than it can tell.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        atoms = self.atoms
        known = self._model.model.species
        others = sorted(set(atoms.get_chemical_symbols()) - set(known))
        if others:
            raise ValueError(
                f"{atoms.get_chemical_formula()}: the potential knows {', '.join(known)}, but not "
                f"{others}."
            )
        with jax.enable_x64(True):
            found, energies = _evaluate_members(self._params, self._model, self._structure(atoms))
            found, energies = jax.device_get((found, energies))
        n = len(atoms)
        self.results = {
            "energy": float(np.mean(found.energy)),
            "free_energy": float(np.mean(found.energy)),
            "energies": np.mean(energies, axis=0),
            "forces": np.mean(found.forces, axis=0)[:n],
        }
        if atoms.cell.rank == 3:
            stress = np.mean(found.virial, axis=0) / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        if len(self.members) > 1:
            spread = np.std(found.forces, axis=0)
            self.results |= {
                "energy_std": float(np.std(found.energy)),
                "forces_std": spread,
                "force_uncertainty": np.mean(spread, axis=1),
            }

    def _structure(self, atoms: Atoms) -> AtomicGraph:
        positions, pbc = np.asarray(atoms.positions), np.asarray(atoms.pbc)
        cell = np.asarray(complete_cell(atoms.cell))
        first, second, shifts = pairs_on_host(positions, cell, pbc, self._model.cutoff or 0.0)
        apart = positions[second] - positions[first] + shifts @ cell
        distances = np.sqrt(np.sum(apart**2, axis=-1))
        limit = self._model.least_distance
        close = closest_of(first, second, distances, np.asarray(atoms.numbers), limit)
        if close is not None:
            told = close.told(atoms.get_chemical_symbols())
            raise ValueError(f"{atoms.get_chemical_formula()}: {told}.")
        counts = np.bincount(first, minlength=len(positions))
        width = padded_width(counts.max(initial=1), _WIDTH_STEP)
        _, places = row_places(counts)
        neighbors = np.repeat(np.arange(len(positions))[:, None], width, axis=1)
        vectors = np.zeros((*neighbors.shape, 3))
        pairs = np.zeros(neighbors.shape, bool)
        neighbors[first, places], pairs[first, places] = second, True
        vectors[first, places] = apart
        fields = (
            positions,
            cell,
            pbc,
            np.asarray(atoms.numbers),
            np.ones(len(positions), bool),
            neighbors,
            vectors,
            pairs,
        )
        return AtomicGraph(*map(jnp.asarray, fields))


@jax.jit
@in_full_precision
def _evaluate_members(
    params: PyTree, potential: FittedPotential, structure: AtomicGraph
) -> tuple[Evaluated, jax.Array]:
    """Evaluate all members, whose parameters are stacked."""

    def one(params: PyTree) -> tuple[Evaluated, jax.Array]:
        _, static = jax.tree.flatten(potential)
        member = jax.tree.unflatten(static, jax.tree.leaves(params))
        return evaluate(member, structure), potential.atomic_energies(params, structure)

    return jax.vmap(one)(params)

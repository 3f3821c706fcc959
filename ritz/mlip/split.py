"""A split of a data set, packed into arrays, and what is gathered from it."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int

from ritz.mlip.types import AnyArray


class Labels(NamedTuple):
    """What is known of each structure."""

    energy: Float[AnyArray, " structures"]
    """In eV, less the energies of the atoms and the shift of the normalisation."""
    weight: Float[AnyArray, " structures"]
    stress: Float[AnyArray, "structures 3 3"]
    """In eV/Angstrom^3; zero where it is not known."""
    volume: Float[AnyArray, " structures"]
    has_stress: Bool[AnyArray, " structures"]
    has_forces: Bool[AnyArray, " structures"]
    has_tables: Bool[AnyArray, " structures"]
    """For which structures forces and stress can be predicted."""


class Split(NamedTuple):
    """Structures as arrays; atoms are ordered by structure, and by species within it.

    Of a split that is streamed, rows of atoms are only those of the structures in the window, and
    `starts` are right for these alone.
    """

    counts: Int[AnyArray, "structures n_species"]
    """How many atoms of each species a structure has."""
    labels: Labels
    starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species."""
    inputs: Any
    """What energies need of each atom, see `AbstractModel.inputs`."""
    table_starts: Int[AnyArray, "structures n_species"]
    """The row of the first atom of each species among those with tables."""
    forces: Float[AnyArray, "tabled_atoms 3"] | None
    tables: Any | None
    """What forces need besides, see `AbstractModel.tables`."""


class Batch(NamedTuple):
    """Some structures of a split; atoms are ordered by species, and by structure within it."""

    ids: Int[AnyArray, " slots"]
    """The structure in each slot; -1 for none."""
    n_atoms: Float[AnyArray, " slots"]
    """How many atoms each has; 1 for none."""
    labels: Labels
    """Weights of empty slots are zero."""
    slot: Int[AnyArray, " atoms"]
    """The structure of each atom."""
    valid: Bool[AnyArray, " atoms"]
    inputs: Any
    forces: Float[AnyArray, "atoms 3"] | None
    tables: Any | None
    """With neighbours counted within the batch; None where forces are not asked for."""

"""Predictions for structures."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float


@dataclasses.dataclass
class PredictOut:
    """Energies of structures, and forces if they were asked for, in the order of the structures."""

    total_energy: Float[np.ndarray, " structures"]
    """In eV."""
    n_atoms: np.ndarray
    names: Sequence[str]
    forces: list[Float[np.ndarray, "n_atoms 3"]] | None = None
    """In eV/Angstrom."""
    stress: Float[np.ndarray, "structures 3 3"] | None = None
    """In eV/Angstrom^3, with forces; NaN for structures without three lattice vectors."""
    reference_energy: Float[np.ndarray, " structures"] | None = None
    """The energies that the structures are labelled with, in eV; NaN where they are not."""
    reference_forces: list[Float[np.ndarray, "n_atoms 3"] | None] | None = None

    def __len__(self) -> int:
        return len(self.total_energy)

    @property
    def energy_per_atom(self) -> Float[np.ndarray, " structures"]:
        """In eV."""
        return self.total_energy / self.n_atoms

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each structure."""
        columns = {
            "Path-of-input-file": list(self.names),
            "n_atoms": self.n_atoms,
            "energy": self.total_energy,
            "energy_per_atom": self.energy_per_atom,
        }
        if self.reference_energy is not None:
            columns["reference_energy"] = self.reference_energy
            error = (self.total_energy - self.reference_energy) / self.n_atoms
            columns["error_per_atom"] = error
        return pd.DataFrame(columns)

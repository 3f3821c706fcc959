"""Orbitals from which the training of a molecule begins."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from ritz.cli.messages import under
from ritz.cli.molecule.config import MoleculeRun
from ritz.cli.stage_command import BUILDING
from ritz.driver.processes.consensus import agree, together

if TYPE_CHECKING:
    from ritz.molecule import Molecule
    from ritz.molecule.orbitals import Orbitals

ORBITALS = "orbitals.npz"
"""File of the run folder with the orbitals."""


class SavedOrbitals:
    """The orbitals of a run, which its folder keeps, so that going on needs no PySCF.

    Args:
        run: The configuration.
        molecule: The molecule.
    """

    def __init__(self, run: MoleculeRun, molecule: "Molecule"):
        self.run, self.molecule = run, molecule

    def of_state(self, folder: Path, saves: bool, state: int) -> "Orbitals":
        """Those in the folder, if they are of this molecule, basis and state, or else new ones.

        Of several processes the first one computes what is saved, so that all have the same.

        Args:
            folder: The run folder.
            saves: Whether orbitals may be written there.
            state: The number of the state.

        Raises:
            ValueError: If PySCF fails, or does not know the basis set, or a process does not see
                what the first one has saved.
        """
        from ritz.molecule.orbitals import Orbitals, saved_source, source_of

        with under("pretrain.basis: ", BUILDING):
            source = source_of(self.molecule, self.run.pretrain.basis)
        file = folder / ORBITALS
        if state:
            file = file.with_stem(f"{file.stem}_{state}")
            same_spin = ", of one spin" if self.run.train.spin_penalty else ""
            source += f", state {state} of {self.run.n_states}{same_spin}"
        if agree(not (file.is_file() and saved_source(file) == source)):
            if not agree(saves and folder.is_dir()):
                return self._computed(state)
            with together("while the orbitals of the mean field were computed"):
                if jax.process_index() == 0:
                    self._computed(state).save(file, source)
            if saved_source(file) != source:
                raise ValueError(
                    f"{file} does not hold the orbitals that process 0 has written there just now; "
                    "all processes need the same run folder, on a file system that shows it to all "
                    "of them."
                )
        return Orbitals.load(file)

    def _computed(self, state: int) -> "Orbitals":
        from ritz.molecule.orbitals import orbitals_of

        with under("pretrain.basis: ", (*BUILDING, RuntimeError)):
            if self.run.n_states > 1:
                return self._excited[state]
            return orbitals_of(self.molecule, self.run.pretrain.basis)

    @functools.cached_property
    def _excited(self) -> Any:
        """The orbitals of all states, by one mean field."""
        from ritz.molecule import excited_orbitals

        run = self.run
        same_spin = bool(run.train.spin_penalty)
        return excited_orbitals(
            self.molecule, run.n_states, run.pretrain.basis, same_spin=same_spin
        )

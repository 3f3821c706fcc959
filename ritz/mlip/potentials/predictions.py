"""Predictions of a trained potential for many structures."""

import dataclasses
import io
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import jax
import numpy as np
import pandas as pd
from ase import Atoms
from jaxtyping import Float

from ritz.driver.processes.consensus import together
from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.html import HtmlFields
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.structure import Structure
from ritz.mlip.training.config import TrainingConfig
from ritz.picture_style import DPI
from ritz.plotting.parity import draw_parity

if TYPE_CHECKING:
    from ritz.mlip.potentials.base import AbstractMLIP


@dataclasses.dataclass
class PredictOut(HtmlFields):
    """Energies of structures, and forces if they were asked for, in the order of the structures."""

    total_energy: Float[np.ndarray, " structures"]
    """In eV, shape (n_structures,)."""
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
        """Energy divided by the number of atoms, in eV, shape (n_structures,)."""
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


def _known_and_predicted(found: PredictOut) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Known and predicted energies per atom, and components of forces if there are any."""
    pairs = {}
    if found.reference_energy is not None:
        known = np.isfinite(found.reference_energy)
        sizes = np.asarray(found.n_atoms)[known]
        pairs["energy"] = (found.reference_energy[known] / sizes, found.total_energy[known] / sizes)
    both = [
        (np.asarray(known).ravel(), np.asarray(own).ravel())
        for known, own in zip(found.reference_forces or [], found.forces or [], strict=False)
        if known is not None
    ]
    if both:
        known, own = (np.concatenate(part) for part in zip(*both, strict=True))
        pairs["force"] = known, own
    return pairs


def errors_of(found: PredictOut) -> dict[str, float]:
    """True errors of predictions for structures with labels.

    `RMSE_energy` and `MAE_energy` are per atom in eV, `RMSE_force` and `MAE_force` of components in
    eV/Angstrom; the latter are there if forces were predicted and some are known.
    """
    errors = {"RMSE_energy": np.nan, "MAE_energy": np.nan}
    for name, (known, own) in _known_and_predicted(found).items():
        if len(known):
            errors[f"RMSE_{name}"] = float(np.sqrt(np.mean((own - known) ** 2)))
            errors[f"MAE_{name}"] = float(np.mean(np.abs(own - known)))
    return errors


def plot_parity(found: PredictOut, outfile: str | PathLike[str]) -> Path:
    """Draw predicted against known energies, and forces if there are any.

    Args:
        found: Predictions for structures with labels.
        outfile: The picture.

    Raises:
        ValueError: If no labels are known.
    """
    with needs("A plot", "plot"):
        from matplotlib.figure import Figure

    errors, both = errors_of(found), _known_and_predicted(found).items()
    pairs = {name: (known, own) for name, (known, own) in both if len(known)}
    if not pairs:
        raise ValueError("the structures have neither energies nor forces to compare with.")
    figure = Figure((4.6 * len(pairs), 4.3), layout="constrained")
    for number, (name, (known, own)) in enumerate(pairs.items()):
        axes: Any = figure.add_subplot(1, len(pairs), number + 1)
        draw_parity(axes, name, known, own)
        scale, unit = (1e3, "meV/atom") if name == "energy" else (1, "eV/Å")
        rmse, mae = scale * errors[f"RMSE_{name}"], scale * errors[f"MAE_{name}"]
        axes.set_title(f"RMSE {rmse:.3g}, MAE {mae:.3g} {unit}", fontsize="medium")
    path = Path(outfile)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path


def save_parity(found: PredictOut, outfile: str | PathLike[str]) -> None:
    """Write predicted and known values of structures with labels, as NumPy's `.npz`.

    The arrays `energy`, in eV/atom, and `force`, components in eV/Angstrom, have shape (2, n):
    known and predicted values.
    """
    content = io.BytesIO()
    pairs = {name: np.stack(pair) for name, pair in _known_and_predicted(found).items()}
    np.savez(content, **pairs)  # type: ignore[arg-type]
    atomic_write(Path(outfile), content.getvalue())


def save_predictions(
    potential: "AbstractMLIP",
    datasets: Sequence[AbstractDataset | None],
    config: TrainingConfig,
    folder: Path,
) -> dict[str, pd.DataFrame]:
    """Write what is predicted for both splits, and return the tables of energies by split.

    Of several processes the first one writes.

    `energies_train.csv` has a row for each structure; `forces_train.extxyz` has the structures
    with what is predicted, and the forces that were given as `reference_forces`.
    """
    tables = {}
    for split, dataset in zip(("train", "test"), datasets, strict=True):
        if dataset is None:
            continue
        found = potential.predict_dataset(dataset, config.save_forces)
        tables[split] = found.to_dataframe()
        with together("while predictions were written"):
            if jax.process_index() != 0:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if config.save_energies:
                text = tables[split].to_csv(index=False)
                atomic_write(folder / f"energies_{split}.csv", text.encode())
            if config.save_forces:
                frames = io.StringIO()
                ase.io.write(frames, _predicted_atoms(dataset, found), format="extxyz")
                atomic_write(folder / f"forces_{split}.extxyz", frames.getvalue().encode())
    return tables


def _predicted_atoms(dataset: AbstractDataset, found: PredictOut) -> list[Atoms]:
    listed = []
    assert found.forces is not None
    for place, structure in enumerate(dataset):
        bare = Structure(
            structure.positions,
            structure.species,
            float(found.total_energy[place]),
            forces=found.forces[place],
            cell=structure.cell,
            pbc=structure.pbc,
        )
        atoms = bare.to_ase()
        if structure.forces is not None:
            atoms.set_array("reference_forces", np.asarray(structure.forces))
        if structure.energy is not None:
            atoms.info["reference_energy"] = structure.energy
        atoms.info["name"] = found.names[place]
        listed.append(atoms)
    return listed

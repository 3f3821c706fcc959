"""What was predicted against what is known."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ritz.extras import needs
from ritz.mlip.predict_out import PredictOut


def _pairs(found: PredictOut) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Known and predicted energies per atom, and components of forces if there are any."""
    pairs = {}
    if found.reference_energy is not None:
        known = np.isfinite(found.reference_energy)
        sizes = np.asarray(found.n_atoms)[known]
        pairs["energy"] = (
            found.reference_energy[known] / sizes, found.total_energy[known] / sizes
        )  # fmt: skip
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
    for name, (known, own) in _pairs(found).items():
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

    pairs, errors = _pairs(found), errors_of(found)
    pairs = {name: both for name, both in pairs.items() if len(both[0])}
    if not pairs:
        raise ValueError("the structures have neither energies nor forces to compare with.")
    labels = {
        "energy": ("energy", "eV/atom", 1e3, "meV/atom"),
        "force": ("force", "eV/Å", 1, "eV/Å"),
    }
    figure = Figure((4.6 * len(pairs), 4.3), layout="constrained")
    for number, (name, (known, own)) in enumerate(pairs.items()):
        what, unit, scale, error_unit = labels[name]
        axes: Any = figure.add_subplot(1, len(pairs), number + 1)
        ends = [min(known.min(), own.min()), max(known.max(), own.max())]
        axes.plot(ends, ends, color="black", lw=0.8)
        axes.plot(known, own, ".", ms=3 if len(known) > 1000 else 5, alpha=0.5, rasterized=True)
        axes.set_xlabel(f"known {what} ({unit})")
        axes.set_ylabel(f"predicted {what} ({unit})")
        rmse, mae = scale * errors[f"RMSE_{name}"], scale * errors[f"MAE_{name}"]
        axes.set_title(f"RMSE {rmse:.3g}, MAE {mae:.3g} {error_unit}", fontsize="medium")
        axes.set_aspect("equal", adjustable="datalim")
    path = Path(outfile)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path

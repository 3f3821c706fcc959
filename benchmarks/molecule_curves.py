"""A picture of the energy against time in training, for docs/performance.md.

Usage: python -m benchmarks.molecule_curves [FOLDER]

FOLDER may have NAME.csv of another program, with the columns total_incl (seconds since its start)
and energy.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.molecule_accuracy import PICTURE
from ritz.molecule.library import LIBRARY

SYSTEMS = ("He", "LiH")
ASSETS = Path(__file__).parents[1] / "docs" / "assets"


def of_ritz(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since the command began, and the energy of each step."""
    with tempfile.TemporaryDirectory() as folder:
        given = [f"system={name}", f"folder={folder}", "progress=false"]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ritz", "molecule", "train", *given], check=True)
        return read(Path(folder) / "train.csv", "wallclock", "energy.Mean", begin)


def read(file: Path, clock: str, energy: str, begin: float | None = None) -> tuple:
    """Two columns of a CSV file; with `begin`, the clock ends now."""
    rows = np.genfromtxt(file, delimiter=",", names=True, deletechars="")
    seconds = rows[clock]
    if begin is not None:
        seconds = seconds + (time.perf_counter() - begin - seconds[-1])
    return seconds, rows[energy]


def recent(energies: np.ndarray) -> np.ndarray:
    """At each step the mean over the last fifth of the steps so far."""
    total = np.concatenate([[0.0], np.cumsum(energies)])
    last = np.arange(1, len(total))
    first = last - np.maximum(1, last // 5)
    return (total[last] - total[first]) / (last - first)


def draw(
    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]],
    file: Path,
    xlabel: str = "seconds since the command began",
) -> None:
    """A panel for each system: label -> seconds and energies."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for ax, (name, found) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        exact = LIBRARY[name].energy
        for label, (seconds, energies) in found.items():
            ax.plot(seconds, 1e3 * np.abs(recent(energies) - exact), lw=1.2, label=label)
        ax.set(yscale="log", title=name, xlabel=xlabel)
        ax.axhline(1.6, color="grey", ls=":", lw=1)
        ax.text(
            0.98,
            1.7,
            "chemical accuracy",
            transform=ax.get_yaxis_transform(),
            fontsize=7,
            ha="right",
        )
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("|E - E_exact| (mHa), mean of\nthe last fifth of the steps")
    figure.axes[0].legend(frameon=False)
    figure.savefig(file, dpi=120)


def main() -> None:
    """Train, and draw."""
    peer = Path(sys.argv[1]) if sys.argv[1:] else None
    curves = {}
    for name in SYSTEMS:
        curves[name] = {"ritz molecule train": of_ritz(name)}
        if peer is not None:
            curves[name]["JaQMC, KFAC"] = read(peer / f"{name}.csv", "total_incl", "energy")
    draw(curves, ASSETS / PICTURE)


if __name__ == "__main__":
    main()

"""Result of training."""

import dataclasses
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from ritz.extras import needs
from ritz.wording import counted

_LABELS = {
    "RMSE_train": "energy, training",
    "RMSE_test": "energy, validation",
    "RMSE_force_train": "forces, training",
    "RMSE_force_test": "forces, validation",
}


@dataclasses.dataclass
class TrainOut:
    """The history and the result of a training run.

    Attributes:
        errors: By epoch: `RMSE_train`, `MAE_train`, `RMSE_test`, `MAE_test` in eV/atom,
            `RMSE_force_train` and so on in eV/Angstrom, `validation_loss`, `learning_rate`, and
            the `seconds` since the run began.
        stats: The errors of the potential that was returned, over the whole of both splits, as
            `final_RMSE_train` and so on, and how many structures and atoms there were.
        timing: Seconds by part of the work.
        energies: Predicted energies of both splits, if they were asked for; see `PredictOut`.
        stop_message: Why the run ended.
        stop_reason: The same in a word, see `ritz.driver.StopReason`.
    """

    errors: pd.DataFrame
    stats: dict[str, float]
    timing: dict[str, float] = dataclasses.field(default_factory=dict)
    energies: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    stop_message: str = ""
    stop_reason: str = ""

    @property
    def has_forces(self) -> bool:
        """Whether errors of forces are known."""
        return "RMSE_force_train" in self.errors

    def __str__(self) -> str:
        lines = [
            f"Training: {counted(len(self.errors), 'epoch')}; {self.stop_message or 'no message'}."
        ]
        for split in ("train", "test"):
            energy = self.stats.get(f"final_RMSE_{split}")
            if energy is None:
                continue
            mae = self.stats[f"final_MAE_{split}"]
            line = f"{split:5s}  energy RMSE {1e3 * energy:.3f}, MAE {1e3 * mae:.3f} meV/atom"
            force = self.stats.get(f"final_RMSE_force_{split}")
            if force is not None and np.isfinite(force):
                mae = self.stats[f"final_MAE_force_{split}"]
                line += f"; force RMSE {force:.4f}, MAE {mae:.4f} eV/Angstrom"
            lines.append(line)
        return "\n".join(lines)

    def plot_training_errors(self, outfile: str | PathLike[str] | None = None) -> Any:
        """Energy errors by epoch, as a figure of matplotlib, written to `outfile` if given."""
        return self._figure([("RMSE_train", "RMSE_test")], outfile)

    def plot_force_errors(self, outfile: str | PathLike[str] | None = None) -> Any:
        """Force errors by epoch, see `plot_training_errors`.

        Raises:
            ValueError: If there are none.
        """
        if not self.has_forces:
            raise ValueError("there are no force errors; train with force_weight above 0.")
        return self._figure([("RMSE_force_train", "RMSE_force_test")], outfile)

    def plot_training_summary(self, outfile: str | PathLike[str] | None = None) -> Any:
        """Energy errors, and force errors if there are any, see `plot_training_errors`."""
        panels = [("RMSE_train", "RMSE_test")]
        if self.has_forces:
            panels.append(("RMSE_force_train", "RMSE_force_test"))
        return self._figure(panels, outfile)

    def _figure(self, panels: Sequence[tuple[str, ...]], outfile: Any) -> Any:
        with needs("A plot", "plot"):
            from matplotlib.figure import Figure

        figure = Figure((5.5 * len(panels), 4), layout="constrained")
        for number, names in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), number + 1)
            forces = "force" in names[0]
            for name in names:
                if name in self.errors:
                    values = self.errors[name] * (1 if forces else 1e3)
                    axes.plot(self.errors.index, values, label=_LABELS[name])
            drawn = [y for line in axes.get_lines() for y in np.asarray(line.get_ydata()) if y > 0]
            if drawn and max(drawn) > 5 * min(drawn):  # else a logarithmic axis has few labels
                axes.set_yscale("log")
            axes.set_xlabel("epoch")
            axes.set_ylabel("RMSE (eV/Å)" if forces else "RMSE (meV/atom)")
            if axes.get_lines():
                axes.legend(frameon=False)
        if outfile is not None:
            figure.savefig(outfile, dpi=150)
        return figure

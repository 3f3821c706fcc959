"""Results of training and prediction with a committee."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from ritz.folders.files import atomic_write
from ritz.folders.summary import write_summary
from ritz.html import HtmlFields, never_fails, table, titled
from ritz.mlip.potentials.files import dump_json
from ritz.mlip.potentials.predictions import PredictOut
from ritz.mlip.training.run import TrainOut
from ritz.types import Settings
from ritz.wording import counted

METADATA = "committee_metadata.json"
"""The file of a committee's folder that lists its members."""
_MOST_ROWS = 20
"""Number of structures in a table of a notebook."""


@dataclasses.dataclass
class Member:
    """A member of a committee that was trained."""

    index: int
    seed: int
    trainout: TrainOut
    """History and errors."""
    path: Path | None
    """Its folder, with `model.npz`, `history.json`, `history.csv` and `summary.json`."""


@dataclasses.dataclass
class CommitteeTrainResult(HtmlFields):
    """Members of a committee with their histories, and where they were written."""

    members: list[Member]
    output_dir: Path | None

    @property
    def metadata_path(self) -> Path | None:
        """The file that lists the members."""
        return None if self.output_dir is None else self.output_dir / METADATA

    @property
    def trainouts(self) -> list[TrainOut]:
        """History and errors of each member."""
        return [member.trainout for member in self.members]

    @property
    def stats(self) -> dict[str, dict[str, float]]:
        """Mean and standard deviation over the members of each final error."""
        table = self.to_dataframe()
        final = {str(name): table[name].to_numpy() for name in table if "final_" in str(name)}
        return {
            name: {"mean": float(np.mean(values)), "std": float(np.std(values))}
            for name, values in final.items()
        }

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each member."""
        rows = [{"member": m.index, "seed": m.seed, **m.trainout.stats} for m in self.members]
        return pd.DataFrame(rows).set_index("member")

    def __str__(self) -> str:
        lines = [f"Committee of {counted(len(self.members), 'member')}, trained together."]
        lines += [f"{name}: {s['mean']:.6g} +- {s['std']:.2g}" for name, s in self.stats.items()]
        return "\n".join(lines)

    def write(self, metadata: Settings) -> None:
        """Write histories, summaries and the list of members, if there is a folder.

        Args:
            metadata: What the list of members has besides: how they were trained.
        """
        if self.output_dir is None or jax.process_index() != 0:
            return
        entries = []
        for member in self.members:
            path, out = member.path, member.trainout
            assert path is not None
            path.mkdir(parents=True, exist_ok=True)
            errors = out.errors.reset_index()
            atomic_write(path / "history.csv", errors.to_csv(index=False).encode())
            history = {"errors": errors.to_dict("list"), "stats": out.stats}
            atomic_write(path / "history.json", dump_json(history).encode())
            summary = {
                "seed": member.seed,
                "stats": out.stats,
                "timing": out.timing,
                "stop_message": out.stop_message,
            }
            write_summary(path, summary)
            entries.append({"index": member.index, "seed": member.seed, "folder": path.name})
        text = dump_json({**metadata, "members": entries}, indent=2)
        atomic_write(self.output_dir / METADATA, text.encode())


@dataclasses.dataclass(frozen=True)
class EnsembleResult(HtmlFields):
    """Prediction of a committee for one structure."""

    energy_mean: float
    """In eV."""
    energy_std: float
    """The standard deviation over the members (ddof 0), of the total energy in eV."""
    member_energies: Float[np.ndarray, " members"]
    index: int
    """The place of the structure among those that were given."""
    source_index: int
    """Its place in the data set that these are from."""
    name: str
    n_atoms: int
    forces_mean: Float[np.ndarray, "n_atoms 3"] | None = None
    """In eV/Angstrom."""
    forces_std: Float[np.ndarray, "n_atoms 3"] | None = None
    force_uncertainty: Float[np.ndarray, " n_atoms"] | None = None
    """The mean over x, y and z of the standard deviation."""


class CommitteePredictResult(Sequence[EnsembleResult]):
    """Predictions of a committee, one for each structure.

    Args:
        results: By structure.
        member_outputs: By member.
    """

    def __init__(self, results: Sequence[EnsembleResult], member_outputs: Sequence[PredictOut]):
        self._results = list(results)
        self.member_outputs = list(member_outputs)
        """Predictions of each member for all structures, in the order in which they were given."""

    @never_fails
    def _repr_html_(self) -> str:
        shown = self._results[:_MOST_ROWS]
        rows = [(one.index, one.energy_mean, one.energy_std) for one in shown]
        head = ("structure", "energy (eV)", "standard deviation (eV)")
        left = len(self._results) - len(shown)
        more = f"and {counted(left, 'more structure')}" if left else ""
        return titled(type(self).__name__, table(rows, head), more)

    @classmethod
    def of(cls, outputs: Sequence[PredictOut], sources: Sequence[int]) -> "CommitteePredictResult":
        """From what each member predicts, and the places of the structures in their data set."""
        results = []
        for index, source in enumerate(sources):
            energies = np.array([out.total_energy[index] for out in outputs])
            more: dict[str, np.ndarray] = {}
            if outputs[0].forces is not None:
                each = np.array([out.forces[index] for out in outputs if out.forces is not None])
                spread = each.std(axis=0)
                more = {
                    "forces_mean": each.mean(axis=0),
                    "forces_std": spread,
                    "force_uncertainty": spread.mean(axis=1),
                }
            results.append(
                EnsembleResult(
                    float(energies.mean()),
                    float(energies.std()),
                    energies,
                    index=index,
                    source_index=source,
                    name=outputs[0].names[index],
                    n_atoms=int(outputs[0].n_atoms[index]),
                    **more,
                )
            )
        return cls(results, outputs)

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> EnsembleResult: ...

    @overload
    def __getitem__(self, index: slice) -> "CommitteePredictResult": ...

    def __getitem__(self, index: int | slice) -> "EnsembleResult | CommitteePredictResult":
        if isinstance(index, slice):
            return CommitteePredictResult(self._results[index], self.member_outputs)
        return self._results[index]

    def __iter__(self) -> Iterator[EnsembleResult]:
        return iter(self._results)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each structure."""
        rows = []
        for result in self._results:
            row = {
                "index": result.index,
                "source_index": result.source_index,
                "name": result.name,
                "n_atoms": result.n_atoms,
                "energy_mean": result.energy_mean,
                "energy_std": result.energy_std,
                "energy_std_per_atom": result.energy_std / result.n_atoms,
            }
            if result.force_uncertainty is not None:
                row["force_uncertainty_max"] = float(result.force_uncertainty.max())
                row["force_uncertainty_mean"] = float(result.force_uncertainty.mean())
            rows.append(row)
        return pd.DataFrame(rows)

    def sort_by(self, column: str, descending: bool = True) -> "CommitteePredictResult":
        """The predictions ordered by a column of `to_dataframe`.

        Raises:
            ValueError: If there is no such column; those that are there are listed.
        """
        table = self.to_dataframe()
        if column not in table:
            raise ValueError(f"there is no column {column!r}; there are {', '.join(table)}.")
        order = table[column].argsort(kind="stable").to_numpy()
        order = order[::-1] if descending else order
        return CommitteePredictResult([self._results[i] for i in order], self.member_outputs)

    def top_uncertain(
        self, n: int = 10, by: str = "energy_std_per_atom"
    ) -> "CommitteePredictResult":
        """The `n` structures of which the committee is least sure.

        Args:
            n: How many.
            by: A column of `to_dataframe`.
        """
        return self.sort_by(by)[:n]

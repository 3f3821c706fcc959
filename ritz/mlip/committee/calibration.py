"""Calibration of a committee: the factors from the spread of its members to expected errors."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from ritz.folders.files import atomic_write
from ritz.html import HtmlFields
from ritz.mlip.committee.results import METADATA, CommitteePredictResult
from ritz.mlip.potentials.files import dump_json
from ritz.wording import counted

N_BINS = 10
"""Number of rows of a table of expected against observed errors, where there are enough values."""

_LEAST_IN_BIN = 5

ENTRY = "calibration"
"""The entry of the list of members that holds the calibration."""


@dataclasses.dataclass(frozen=True)
class ErrorScale(HtmlFields):
    """The factor from spreads to expected errors, and a table that shows how well it holds.

    Values are sorted by their spread and divided into bins of equal numbers of values.
    """

    factor: float
    """The root of the mean squared error over that of the mean squared spread."""
    expected: tuple[float, ...]
    """By bin, the factor times the root mean square of the spread."""
    observed: tuple[float, ...]
    """By bin, the root mean square of the error."""
    counts: tuple[int, ...]
    """By bin, the number of values."""

    @classmethod
    def of(
        cls,
        spread: Float[np.ndarray, " values"],
        error: Float[np.ndarray, " values"],
        n_bins: int = N_BINS,
    ) -> Self:
        """Compare spreads with observed errors, in the same unit.

        If each error is drawn from a normal distribution whose standard deviation is a common
        multiple of the spread, the factor is that multiple, up to statistical errors. It is a ratio
        of sums, not a mean of ratios (which would make the likelihood largest): those have no
        finite variance for few members, and for symmetric sites, where spread and error vanish,
        they are ratios of rounding errors.

        Args:
            spread: Standard deviations over the members.
            error: Errors of the mean, or their magnitudes; NaN where nothing is known.
            n_bins: Largest number of bins.

        Raises:
            ValueError: If no error is known, or the spread is zero everywhere.
        """
        known = np.isfinite(spread) & np.isfinite(error)
        spread, error = spread[known], error[known]
        if not len(spread):
            raise ValueError("there are no labels to compare the committee with.")
        if not np.any(spread > 0):
            raise ValueError(
                "the members of the committee agree entirely, so that their spread tells nothing: "
                "train at least two, with different seeds."
            )
        factor = _rms(error) / _rms(spread)
        order = np.argsort(spread, kind="stable")
        bins = np.array_split(order, max(1, min(n_bins, len(order) // _LEAST_IN_BIN)))
        return cls(
            factor=factor,
            expected=tuple(factor * _rms(spread[rows]) for rows in bins),
            observed=tuple(_rms(error[rows]) for rows in bins),
            counts=tuple(len(rows) for rows in bins),
        )


@dataclasses.dataclass(frozen=True)
class Calibration(HtmlFields):
    """What the spread of a committee's members says about its errors."""

    energy: ErrorScale
    """Of energies per atom, in eV."""
    force: ErrorScale | None
    """Of force vectors, in eV/Angstrom; None if no forces are known."""
    n_structures: int
    """Number of structures that the committee was compared with."""

    @classmethod
    def of(cls, predictions: CommitteePredictResult) -> Self:
        """The calibration from predictions, with forces, for structures with labels.

        Raises:
            ValueError: If no energy is known, or the members do not differ.
        """
        results, labels = list(predictions), predictions.member_outputs[0]
        n_atoms = np.array([result.n_atoms for result in results])
        means = np.array([result.energy_mean for result in results])
        known = labels.reference_energy
        errors = np.full(len(results), np.nan) if known is None else means - np.asarray(known)
        spread = np.array([result.energy_std for result in results]) / n_atoms
        energy = ErrorScale.of(spread, errors / n_atoms)
        spreads, misses = [], []
        for result, forces in zip(results, labels.reference_forces or [], strict=False):
            if forces is not None and result.forces_std is not None:
                assert result.forces_mean is not None
                spreads.append(np.linalg.norm(result.forces_std, axis=1))
                misses.append(np.linalg.norm(result.forces_mean - forces, axis=1))
        force = ErrorScale.of(np.concatenate(spreads), np.concatenate(misses)) if misses else None
        return cls(energy, force, len(results))

    @property
    def error_factors(self) -> tuple[float, float]:
        """The factors for energies and forces; 1 for forces if none are known."""
        return self.energy.factor, 1.0 if self.force is None else self.force.factor

    def __str__(self) -> str:
        told = f"expected errors are {self.energy.factor:.3g} times the spread of energies"
        if self.force is not None:
            told += f" and {self.force.factor:.3g} times that of forces"
        return f"{told} (from {counted(self.n_structures, 'structure')})"

    def to_dataframe(self) -> pd.DataFrame:
        """The tables: `quantity`, `expected` and `observed` errors and `count`, a row for each bin.

        Energies are in eV per atom, forces in eV/Angstrom.
        """
        parts = {"energy": self.energy, "force": self.force}
        rows = [
            {"quantity": name, "expected": expected, "observed": observed, "count": count}
            for name, scale in parts.items()
            if scale is not None
            for expected, observed, count in zip(
                scale.expected, scale.observed, scale.counts, strict=True
            )
        ]
        return pd.DataFrame(rows)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` gives, as JSON holds it."""
        scales = {
            name: None if saved[name] is None else ErrorScale(**_tuples(saved[name]))
            for name in ("energy", "force")
        }
        energy = scales["energy"]
        if energy is None:
            raise ValueError("the calibration has no factor of energies")
        return cls(energy, scales["force"], int(saved["n_structures"]))

    def write(self, folder: Path) -> None:
        """Write the calibration into the list of members of a committee; the first process does.

        Args:
            folder: Where the committee was trained into.

        Raises:
            ValueError: If there is no committee.
        """
        file = folder / METADATA
        if not file.is_file():
            raise ValueError(f"{folder} holds no committee: there is no {METADATA}.")
        if jax.process_index() == 0:
            metadata = json.loads(file.read_text())
            metadata[ENTRY] = dataclasses.asdict(self)
            atomic_write(file, dump_json(metadata, indent=2).encode())


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _tuples(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(x) if isinstance(x, list) else float(x) for name, x in saved.items()}

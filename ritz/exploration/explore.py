"""Dynamics that finds structures which a committee does not know."""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ritz.checks import check_choice, check_count
from ritz.driver.arguments import Plugins, listed
from ritz.driver.signatures import suggests_names
from ritz.exploration.features import structure_features
from ritz.exploration.selection import METHODS, select
from ritz.html import HtmlFields
from ritz.mlip import AbstractDescriptor, ChebyshevDescriptor, CommitteePotential, Structure
from ritz.mlip.committee.saved import load_saved
from ritz.relax import NVTLangevin, Relaxation, SpreadLimit, StructureProgress
from ritz.relax.algorithms.stage import FusedStage, fused
from ritz.relax.observation.quantities import EXPECTED_ERRORS
from ritz.relax.relaxing import result, steps_needed
from ritz.wording import counted

CommitteeLike = CommitteePotential | str | PathLike[str]
"""A trained committee, or the path of its folder or run folder."""


@dataclasses.dataclass(frozen=True)
class Exploration(HtmlFields):
    """Structures that dynamics has found, and those to be computed."""

    selected: list[Atoms]
    """Structures to be computed, most different ones first; `info` as in `SpreadLimit.parked`.

    Their `place` is that of the trajectory: all structures once, then all again for each copy.
    Energies and forces are those of the committee, not labels.
    """
    candidates: list[Atoms]
    """All structures that have passed a limit, in the order of the trajectories."""
    n_trajectories: int
    """Number of trajectories."""
    reasons: list[str]
    """Reasons why trajectories have failed."""
    highest_energy_error: float
    """Largest expected error of an energy in any trajectory, in eV per atom."""
    highest_force_error: float
    """Largest expected error of a force in any trajectory, in eV/Angstrom."""

    def __str__(self) -> str:
        told = f"{len(self.candidates)} of {counted(self.n_trajectories, 'trajectory')} "
        told += f"passed a limit, {len(self.selected)} selected"
        if self.reasons:
            told += f", {len(self.reasons)} failed"
        errors = (self.highest_energy_error, self.highest_force_error)
        if self.candidates and not self.selected:
            found = [[atoms.info[key] for key in EXPECTED_ERRORS] for atoms in self.candidates]
            errors = np.min(found, axis=0)
        if not self.selected:
            told += (
                f"; {'their lowest' if self.candidates else 'the largest'} expected errors were "
                f"{errors[0]:.2g} eV per atom and {errors[1]:.2g} eV/Angstrom"
            )
        return told


def loaded_committee(committee: CommitteeLike) -> CommitteePotential:
    """A committee, as it is given or from its folder.

    Raises:
        TypeError: If it is something else.
        ValueError: If there is nothing at the path, or a single potential.
    """
    given = committee
    if isinstance(committee, str | PathLike):
        if not Path(committee).exists():
            raise ValueError(f"there is no file or folder {str(committee)!r} with a committee.")
        given = load_saved(committee)
    if isinstance(given, CommitteePotential):
        return given
    shown = committee if given is not committee else type(committee).__name__
    told = (
        f"exploring needs a committee, whose members' spread tells what is not known, but {shown} "
        "is not one; train a CommitteePotential, or by ritz mlip train members=4."
    )
    raise ValueError(told) if given is not committee else TypeError(told)


def heating(
    temperatures: Sequence[float], steps: int, dt: float = 2.0, friction: float = 0.01
) -> FusedStage:
    """Langevin dynamics at one temperature after the other.

    Args:
        temperatures: Temperatures in K.
        steps: Number of steps at each.
        dt: The time step in fs.
        friction: Friction coefficient in 1/fs.

    Raises:
        ValueError: If there is no temperature, or a number is not allowed.
    """
    if not temperatures:
        raise ValueError("temperatures must have at least one number, such as [300, 600].")
    check_count("steps", steps, 1)
    stages = [NVTLangevin(t, dt=dt, friction=friction, max_steps=steps) for t in temperatures]
    return functools.reduce(operator.add, map(fused, stages))


@suggests_names
def explore(
    structures: Atoms | Iterable[Atoms],
    committee: CommitteeLike,
    limit: SpreadLimit,
    n_selected: int = 10,
    *,
    temperatures: Sequence[float] = (300.0, 600.0, 900.0),
    steps: int = 1000,
    dt: float = 2.0,
    friction: float = 0.01,
    copies: int = 1,
    method: str = "farthest",
    known: Sequence[Atoms | Structure] = (),
    seed: int = 0,
    callback: Plugins = None,
    out: Plugins = None,
    show_progress: bool = False,
    resume: bool | str | Path = False,
    **settings: Any,
) -> Exploration:
    """Find structures that a committee does not know, by dynamics with its mean forces.

    Exploration = Langevin dynamics at rising temperatures + a limit of the expected error + a
    selection of few among many. Each trajectory ends at the first step at which it passes the
    limit, so that it gives one structure at most; of these `n_selected` are chosen by their
    features.

    Args:
        structures: One `ase.Atoms` or many to begin with.
        committee: A trained committee, or the path of its folder or run folder.
        limit: When a trajectory is parked, and with how many the run ends.
        n_selected: Largest number of structures that are selected.
        temperatures: Temperatures in K that each trajectory goes through.
        steps: Number of steps at each temperature.
        dt: The time step in fs.
        friction: Friction coefficient in 1/fs.
        copies: Number of trajectories from each structure, with different noise.
        method: "farthest" or "d_optimal", see `farthest_points` and `d_optimal`.
        known: Structures that are known already, such as those that were trained on: what is
            selected differs from them too.
        seed: Seeds thermal velocities and noise.
        callback: Callbacks for the run.
        out: Loggers for the run.
        show_progress: Whether to show a bar on stderr.
        resume: As in `run`.
        settings: Further arguments of `Relaxation`, such as `max_atoms`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a structure cannot be treated, which is named, a value is not allowed, or the
            potential is no committee.
    """
    if not isinstance(limit, SpreadLimit):
        raise TypeError(
            f"limit must be a SpreadLimit, such as SpreadLimit(force=0.3), but {limit!r} was given."
        )
    check_count("n_selected", n_selected, 1)
    check_count("copies", copies, 1)
    check_choice("method", method, tuple(METHODS))
    trained = loaded_committee(committee)
    given = [structures] if isinstance(structures, Atoms) else list(structures)
    driver = Relaxation(
        given * copies,
        trained,
        heating(temperatures, steps, dt, friction),
        seed=seed,
        **settings,
    )
    driver.run(
        steps_needed(driver, steps * len(temperatures)),
        out=out,
        callback=[*listed(callback), limit, *[StructureProgress()] * show_progress],
        show_progress=False,
        resume=resume,
    )
    candidates = limit.parked(driver)
    descriptor = trained.descriptor or _usual_descriptor(trained)
    chosen = select(
        method,
        structure_features(candidates, descriptor),
        n_selected,
        structure_features(list(known), descriptor) if known else None,
    )
    highest = np.zeros((2, 1)) if limit.highest is None else limit.highest
    return Exploration(
        selected=[candidates[place] for place in chosen],
        candidates=candidates,
        n_trajectories=len(given) * copies,
        reasons=[why for why in result(driver).reason if why],
        highest_energy_error=float(highest[0].max()),
        highest_force_error=float(highest[1].max()),
    )


def _usual_descriptor(committee: CommitteePotential) -> AbstractDescriptor:
    """A descriptor for potentials without one, as far as they reach."""
    model = committee.template.model
    near = min(model.cutoff, 4.5)
    return ChebyshevDescriptor(model.species, 10, model.cutoff, 4, near, min_cutoff=0.0)

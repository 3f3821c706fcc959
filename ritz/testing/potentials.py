"""Conformance check of potentials."""

from typing import TYPE_CHECKING

import numpy as np

from ritz.testing.requirement import require

if TYPE_CHECKING:
    from ase import Atoms

    from ritz.potentials import AbstractPotential

_STEP = 1e-4
"""The step of finite differences, in Angstrom or as a strain."""


def check_potential(model: "AbstractPotential", atoms: "Atoms", tolerance: float = 1e-6) -> None:
    """Check a potential of `ritz.relax` on a structure.

    Forces and, in periodic structures, stress must be the derivatives of the energy; the order of
    atoms, the origin and padding must not matter.

    Args:
        model: The potential.
        atoms: An `ase.Atoms` of two atoms or more, not in a minimum.
        tolerance: Largest error of forces, in eV/Angstrom, and energies, in eV.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    random = np.random.default_rng(0)
    away = random.normal(size=(len(atoms), 3))
    strain = random.normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    structures = [
        atoms,
        *(_moved(atoms, sign * _STEP * away) for sign in (-1, 1)),
        *(_strained(atoms, sign * _STEP * strain) for sign in (-1, 1)),
        atoms[random.permutation(len(atoms))],
        _moved(atoms, np.array([0.3, -0.2, 0.1])),
    ]
    found, *others = _evaluated(structures, model)
    if found.calc is None:
        raise AssertionError("energy or forces are not finite")
    energy = found.get_potential_energy()
    back, ahead, small, large, shuffled, shifted = (a.get_potential_energy() for a in others)

    slope, expected = (ahead - back) / (2 * _STEP), -np.sum(found.get_forces() * away)
    require(
        abs(slope - expected) < tolerance * max(1, np.abs(away).sum()),
        f"forces are not the derivative of the energy: {expected} is {slope} by finite differences",
    )
    if all(atoms.pbc):
        slope = (large - small) / (2 * _STEP)
        expected = np.sum(found.get_stress(voigt=False) * strain) * atoms.get_volume()
        require(
            abs(slope - expected) < tolerance * len(atoms) * 10,
            f"stress is not the derivative of the energy: {expected} is {slope} by finite "
            "differences",
        )
    off = abs(shuffled - energy)
    require(off < tolerance, f"the order of atoms changes the energy by {off}")
    off = abs(shifted - energy)
    require(off < tolerance, f"moving all atoms changes the energy by {off}")
    fewer = atoms[: len(atoms) - 1]
    padded, alone = _evaluated([fewer, atoms], model)[0], _evaluated([fewer], model)[0]
    off = abs(padded.get_potential_energy() - alone.get_potential_energy())
    require(off < tolerance, f"empty places change the energy by {off}")


def _evaluated(structures: list["Atoms"], model: "AbstractPotential") -> list["Atoms"]:
    from ritz.relax import NVE, ConvergenceHook, Criterion, Relaxation

    at_once = ConvergenceHook([Criterion("stress", np.inf)])
    driver = Relaxation([_plain(a) for a in structures], model, NVE(convergence_hook=at_once))
    driver.run(1, show_progress=False)
    return driver.state.atoms


def _plain(atoms: "Atoms") -> "Atoms":
    plain = atoms.copy()
    plain.set_constraint()
    return plain


def _moved(atoms: "Atoms", by: np.ndarray) -> "Atoms":
    moved = _plain(atoms)
    moved.positions += by
    return moved


def _strained(atoms: "Atoms", by: np.ndarray) -> "Atoms":
    strained = _plain(atoms)
    strained.set_cell(atoms.cell.array @ (np.eye(3) + by), scale_atoms=True)
    return strained

"""Orbitals of excited configurations, with which the states of one run begin."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ritz.checks import check_count, check_flag
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.orbitals import (
    SLATER,
    GivenBasis,
    MeanField,
    Orbitals,
    hartree_fock_field,
    slater_field,
)
from ritz.wording import counted

_FEWEST_EMPTY = 4
"""Number of empty orbitals of atoms by Slater's rules, a shell of s and p."""

_EQUAL = 1e-4
"""Differences of orbital energies in hartree below which excitations are of one level."""


class Excitation(NamedTuple):
    """An electron that is lifted from an occupied orbital into an empty one."""

    gap: float
    """Difference of the energies of the two orbitals, in hartree."""
    sign: int
    """Of closed shells: 1 for the singlet and -1 for the triplet, the sum and the difference of
    the excitations of both spins; 0 for the excitation of one spin alone."""
    spin: int
    """0 if an electron with spin up is lifted, 1 if one with spin down is."""
    occupied: int
    empty: int


def excited_orbitals(
    molecule: Molecule,
    n_states: int,
    basis: GivenBasis = None,
    *,
    same_spin: bool = False,
) -> list[Orbitals]:
    """Orbitals of the ground state and of single excitations, to pretrain several states on.

    Excitations are in the order of the differences of orbital energies. Of a closed shell, each of
    them gives a triplet (S_z = 0) and a singlet, the difference and the sum of the excitations of
    both spins, of which the triplets of one level come first; networks need two determinants for
    them. Otherwise one electron is lifted, and states need not have one spin.

    Args:
        molecule: The molecule.
        n_states: Number of states.
        basis: See `hartree_fock`, or "slater" for `slater_orbitals`.
        same_spin: Whether to leave out the triplets of closed shells, for use with `SpinPenalty`.

    Raises:
        ValueError: If the basis has too few orbitals for as many states, see also `hartree_fock`.
    """
    check_molecule(molecule)
    check_count("n_states", n_states, 1)
    check_flag("same_spin", same_spin)
    if basis == SLATER:
        field = slater_field(molecule, max(_FEWEST_EMPTY, n_states) if n_states > 1 else 0)
    else:
        field = hartree_fock_field(molecule, basis)
    if n_states == 1:
        found = [field.occupied(molecule)]
    else:
        excitations = _excitations(molecule, field, same_spin)
        if len(excitations) < n_states - 1:
            raise ValueError(
                f"the basis of {molecule.name} has {counted(len(excitations), 'single excitation')}"
                f", too few for n_states={n_states}; give a larger basis, such as cc-pvtz."
            )
        chosen = excitations[: n_states - 1]
        found = [field.occupied(molecule), *(_excited(molecule, field, one) for one in chosen)]
    return [jax.tree.map(lambda x: np.asarray(x, float), one) for one in found]


def _excitations(molecule: Molecule, field: MeanField, same_spin: bool) -> list[Excitation]:
    """Single excitations in the order in which they are taken."""
    closed = molecule.n_up == molecule.n_down
    signs = ((1,) if same_spin else (-1, 1)) if closed else (0,)
    found = [
        Excitation(gap, sign, spin, occupied, empty)
        for spin in ((0,) if closed else (0, 1))
        for gap, occupied, empty in _gaps(
            field.energies[spin], (molecule.n_up, molecule.n_down)[spin]
        )
        for sign in signs
    ]
    found.sort(key=lambda one: one.gap)
    # Levels are numbered, so that the triplets of each come before its singlets.
    levels = itertools.accumulate(
        (b.gap - a.gap > _EQUAL for a, b in itertools.pairwise(found)), initial=0
    )
    ordered = sorted(zip(levels, found, strict=True), key=lambda pair: (pair[0], pair[1].sign))
    return [one for _, one in ordered]


def _gaps(energies: Float[np.ndarray, " m"], n_occupied: int) -> Iterator[tuple[float, int, int]]:
    for occupied, empty in itertools.product(range(n_occupied), range(n_occupied, len(energies))):
        yield float(energies[empty] - energies[occupied]), occupied, empty


def _excited(molecule: Molecule, field: MeanField, one: Excitation) -> Orbitals:
    """The orbitals of an excited configuration, or of the sum or difference of two of them."""

    def lifted(spin: int, every: Float[np.ndarray, "n_functions m"]) -> Float[np.ndarray, "n k"]:
        columns = np.arange((molecule.n_up, molecule.n_down)[spin])
        return every[:, np.where(columns == one.occupied, one.empty, columns)]

    both = np.asarray(field.orbitals.up), np.asarray(field.orbitals.down)
    ground = field.occupied(molecule)
    if one.sign == 0:
        name = ("up", "down")[one.spin]
        return ground._replace(**{name: lifted(one.spin, both[one.spin])})
    # Spins are pure if both have the same orbitals, here those of spin up.
    plain, excited = np.asarray(ground.up), lifted(0, both[0])
    turned = excited.copy()
    turned[:, one.occupied] *= one.sign
    return ground._replace(up=np.stack([excited, plain]), down=np.stack([plain, turned]))

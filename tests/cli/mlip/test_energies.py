"""`ritz mlip`: energies of atoms, where structures are left out or have other species."""

import ase.io
import pytest

from ritz.mlip import Structure
from tests.cli.mlip.runs import SMALL

WATER, CARBON_MONOXIDE = ["O", "H", "H"], ["C", "O"]


def molecules(name, *more, n=12):
    """Molecules of water, with energies and distances that differ a bit, and other structures."""

    def line(species, energy, place=0, kind=None):
        positions = [[(1 + 0.01 * place) * x, 0, 0] for x in range(len(species))]
        atoms = Structure(positions, species, energy).to_ase()
        if kind:
            atoms.info["config_type"] = kind
        return atoms

    frames = [line(WATER, -14 + 0.01 * place, place) for place in range(n)]
    ase.io.write(name, frames + [line(*each) for each in more])
    return f"data.train=[{name}]"


ALONE = [([s], e, 0, "IsolatedAtom") for s, e in (("H", -1.0), ("O", -2.0), ("C", -3.0))]


@pytest.mark.medium
@pytest.mark.parametrize("potential", [[], ["potential=painn"]])
def test_isolated_atoms_of_other_species_do_not_matter(ritz, potential, caplog):
    settings = potential or SMALL[6:]
    command = [*SMALL[:6], *settings, molecules("d.extxyz", *ALONE), "folder=w"]
    status, out, error = ritz(*command, "train.iterations=1", "--dry_run")
    assert status == 0 and "11 structures of H, O, 1 held out" in out, error
    assert "isolated ones, in eV: C -3.000000, H -1.000000, O -2.000000" in caplog.text
    if potential:  # whose data set does not know the species
        assert ritz(*command, "potential.n_layers=1", "train.iterations=0")[0] == 0


def test_energies_of_atoms_are_asked_for_what_is_trained_on(ritz, caplog):
    """One structure is above the limit, and the only one with carbon."""
    files = molecules("d.extxyz", (CARBON_MONOXIDE, 500.0))
    command = [*SMALL, files, "train.max_energy=1", "folder=w", "--dry_run"]
    for energies in ("{H: -1, O: -2}", "{H: -1, O: -2, C: -3}", "null", "{}"):
        status, out, error = ritz(*command, f"data.atomic_energies={energies}")
        assert status == 0 and "11 structures of H, O, 1 held out" in out, error
    error = ritz(*command, "data.atomic_energies={H: -1, O: -2, N: -3}")[2]
    assert "data.atomic_energies has H, N, O, but the potential has the species C, H, O" in error
    error = ritz(*command, "data.atomic_energies={H: -1}")[2]
    assert "give an energy in eV for O too, or {} in place of all of them to count" in error


@pytest.mark.medium
def test_a_regression_is_of_what_is_trained_on(ritz, caplog):
    """What is above the limit has no part in it, and `evaluate` finds the same structures."""
    more = [(["H", "H"], -2.0), (["O", "O"], -4.0), (["H", "H"], 900.0)]
    command = [*SMALL, molecules("d.extxyz", *more), "train.max_energy=200", "folder=w"]
    assert ritz(*command, "train.iterations=1")[0] == 0
    assert "train.max_energy: Energies of atoms from a regression, in eV: H " in caplog.text
    last = [line for line in caplog.messages if line.startswith("Energies of atoms from a reg")][-1]
    hydrogen = float(last.split("H ")[1].split(",")[0])
    assert -7 < hydrogen < 0, last
    assert ritz("mlip", "evaluate", "folder=w")[1].startswith("1 structure\n")


def test_what_undetermined_energies_of_atoms_mean_is_told(ritz, caplog):
    """Compositions with C are too few for the energies of C and N."""
    assert ritz(*SMALL, molecules("d.extxyz"), "folder=w", "--dry_run")[0] == 0
    assert (
        "Energies of atoms are left at 0: all structures have the same composition. Their errors "
        "do not depend on that, but total energies of other compositions would be wrong; give "
        "data.atomic_energies='{H: ..., O: ...}' for these." in caplog.messages
    )
    caplog.clear()
    files = molecules("e.extxyz", *[(["C", "N", "O"], -9.0)] * 12)
    assert ritz(*SMALL, files, "folder=w", "--dry_run")[0] == 0
    (told,) = [line for line in caplog.messages if "left at 0" in line]
    assert "determine none. Errors may be larger without them, and total" in told
    assert "data.atomic_energies='{C: ..., H: ..., N: ..., O: ...}'" in told

"""Initial positions of electrons."""

import numpy as np
from jaxtyping import Float

from ritz.molecule.molecule import Molecule
from ritz.molecule.slater import exponent, orbitals
from ritz.samplers import AbstractSampler, Metropolis, OneParticle

FEW_ELECTRONS = 6
"""Number of electrons up to which defaults are those of small systems."""


def default_sampler(molecule: Molecule) -> AbstractSampler:
    """`OneParticle()` for at most six electrons, else `Metropolis()`.

    One electron at a time goes further at the same acceptance: the autocorrelation time of the
    energy of LiH falls from 13 to 1.7 samples, which cost the same.
    """
    return OneParticle() if molecule.n_electrons <= FEW_ELECTRONS else Metropolis()


def initial_electrons(
    molecule: Molecule, n_walkers: int, seed: int | np.random.Generator = 0
) -> Float[np.ndarray, "n_walkers n_electrons 3"]:
    """Electrons shared out over the nuclei, with spins balanced, in the shells of neutral atoms.

    With pseudopotentials these are the shells outside their cores.

    Args:
        molecule: The molecule.
        n_walkers: Number of configurations.
        seed: Seed of the random numbers.

    Returns:
        Positions in bohr; those of electrons with spin up come first.
    """
    random = np.random.default_rng(seed)
    found = np.zeros((n_walkers, molecule.n_electrons, 3))
    for walker in found:
        up, down = _shared_out(molecule, random)
        walker[: molecule.n_up] = _placed(molecule, up, random)
        walker[molecule.n_up :] = _placed(molecule, down, random)
    return found


def resampled(
    electrons: Float[np.ndarray, "n n_electrons 3"], n_walkers: int, seed: int
) -> Float[np.ndarray, "n_walkers n_electrons 3"]:
    """As many walkers as are wanted: all as often as they fit, and a random choice for the rest.

    Args:
        electrons: The walkers that there are.
        n_walkers: Number that is wanted.
        seed: Seed of the random choice, in which no walker is taken twice.
    """
    repeats, rest = divmod(n_walkers, len(electrons))
    chosen = np.random.default_rng(seed).choice(len(electrons), rest, replace=False)
    return electrons[np.concatenate([np.tile(np.arange(len(electrons)), repeats), np.sort(chosen)])]


def _shared_out(molecule: Molecule, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """For each spin, the nuclei of its electrons, one entry an electron."""
    counts = np.array(molecule.charges)
    for _ in range(abs(molecule.charge)):
        room = np.flatnonzero(counts > 0) if molecule.charge > 0 else np.arange(len(counts))
        counts[random.choice(room)] -= np.sign(molecule.charge)
    up, down = counts // 2, counts // 2
    for nucleus in random.permutation(np.flatnonzero(counts % 2)):
        spin = up if up.sum() - down.sum() < molecule.spin else down
        spin[nucleus] += 1
    while up.sum() != molecule.n_up:  # high spins pair fewer electrons
        more, fewer = (up, down) if up.sum() < molecule.n_up else (down, up)
        nucleus = random.choice(np.flatnonzero(fewer == fewer.max()))
        more[nucleus] += 1
        fewer[nucleus] -= 1
    lists = [np.repeat(np.arange(len(counts)), spin).tolist() for spin in (up, down)]
    return lists[0], lists[1]


def _placed(
    molecule: Molecule, nuclei: list[int], random: np.random.Generator
) -> Float[np.ndarray, "n 3"]:
    """Normally distributed positions, of the mean square radius of the shell of each electron."""
    places, seen = molecule.coordinates, dict.fromkeys(nuclei, 0)
    found = np.zeros((len(nuclei), 3))
    for row, nucleus in zip(found, nuclei, strict=True):
        charge = molecule.numbers[nucleus]
        known = orbitals(charge, molecule.n_core[nucleus])
        n, l, _ = known[min(seen[nucleus], len(known) - 1)]  # noqa: E741
        seen[nucleus] += 1
        # <r^2> of a Slater orbital is (2n + 1)(2n + 2) / (2 zeta)^2.
        spread = np.sqrt((2 * n + 1) * (2 * n + 2) / 12) / exponent(charge, n, l)
        row[:] = places[nucleus] + spread * random.normal(size=3)
    return found

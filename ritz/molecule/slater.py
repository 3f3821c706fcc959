"""Slater's rules: screened charges and exponents of atomic orbitals (Phys. Rev. 36, 57, 1930)."""

import functools

_ORDER = (
    (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (3, 2), (4, 1), (5, 0), (4, 2), (5, 1), (6, 0),
    (4, 3), (5, 2), (6, 1),
)  # fmt: skip
"""Principal and azimuthal quantum numbers, in the order of filling."""

_EFFECTIVE = {1: 1.0, 2: 2.0, 3: 3.0, 4: 3.7, 5: 4.0, 6: 4.2}
"""Effective principal quantum numbers of Slater."""


def _group(n: int, l: int) -> tuple[int, int]:  # noqa: E741
    """Slater's group of a subshell: s and p of a shell are one."""
    return n, max(l, 1)


@functools.lru_cache
def occupation(charge: int) -> tuple[tuple[int, int, int], ...]:
    """The subshells (n, l, number of electrons) of a neutral atom, by the order of filling."""
    left, filled = charge, []
    for n, l in _ORDER:  # noqa: E741
        if left <= 0:
            break
        number = min(left, 2 * (2 * l + 1))
        filled.append((n, l, number))
        left -= number
    return tuple(filled)


@functools.lru_cache
def exponent(charge: int, n: int, l: int) -> float:  # noqa: E741
    """Exponent of the orbital n, l of a neutral atom, in 1/bohr: (Z - screening) / n*."""
    own, screening = _group(n, l), 0.0
    for m, k, number in occupation(charge):
        group = _group(m, k)
        if group == own:
            screening += (number - ((m, k) == (n, l))) * (0.30 if own == (1, 1) else 0.35)
        elif group < own:
            outer = l <= 1 and group[0] == n - 1
            screening += number * (0.85 if outer else 1.0)
    return max(charge - screening, 1.0) / _EFFECTIVE[n]


@functools.lru_cache
def valence(
    charge: int, n_core: int, n_electrons: int | None = None
) -> tuple[tuple[int, int], ...]:
    """The subshells (n, l) outside the core of a neutral atom, by the order of filling.

    Args:
        charge: Of the nucleus.
        n_core: Number of electrons of the core, which fill the lowest shells.
        n_electrons: Number of electrons of the atom; by default that of the neutral one.
    """
    filled = occupation(charge if n_electrons is None else n_electrons)
    left, core = n_core, set()
    for n, l, number in sorted(filled):  # noqa: E741
        if left >= number:
            core.add((n, l))
        left -= number
    return tuple((n, l) for n, l, _ in filled if (n, l) not in core)  # noqa: E741


def orbitals(charge: int, n_core: int = 0) -> list[tuple[int, int, int]]:
    """Spatial orbitals (n, l, m) of a neutral atom that hold electrons, in the order of filling.

    Args:
        charge: Of the nucleus.
        n_core: Number of electrons of the core, whose orbitals are left out.
    """
    return [(n, l, m) for n, l in valence(charge, n_core) for m in range(2 * l + 1)]  # noqa: E741


def slater_exponent(charge: int, place: int, n_core: int = 0) -> float:
    """Exponent of the orbital at a place in the order of filling, of at most the last one.

    A single electron keeps the exponent Z of hydrogen.

    Args:
        charge: Of the nucleus.
        place: Counted from 0, without the orbitals of the core.
        n_core: Number of electrons of the core.
    """
    known = orbitals(charge, n_core)
    n, l, _ = known[min(place, len(known) - 1)]  # noqa: E741
    return exponent(charge, n, l)

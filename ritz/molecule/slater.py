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


def orbitals(charge: int) -> list[tuple[int, int, int]]:
    """Spatial orbitals (n, l, m) of a neutral atom that hold electrons, in the order of filling."""
    return [(n, l, m) for n, l, _ in occupation(charge) for m in range(2 * l + 1)]  # noqa: E741


def slater_exponent(charge: int, place: int) -> float:
    """Exponent of the orbital at a place in the order of filling, of at most the last one.

    A single electron keeps the exponent Z of hydrogen.
    """
    known = orbitals(charge)
    n, l, _ = known[min(place, len(known) - 1)]  # noqa: E741
    return exponent(charge, n, l)

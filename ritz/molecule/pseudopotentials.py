"""Pseudopotentials of elements, from the tables of PySCF."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ritz.extras import needs

GivenPseudopotentials: TypeAlias = str | Mapping[str, str] | None
"""A name for all elements, or the name for each element that has a pseudopotential."""

Terms: TypeAlias = tuple[tuple[int, float, float], ...]
"""The function sum_k c r^p exp(-a r^2) as its (p, c, a): in hartree, of distances in bohr."""


class Pseudopotential(NamedTuple):
    """The core of an atom: what electrons feel of it besides -(Z - n_core) / r.

    W = v_local(r) + sum_l v_l(r) sum_m |l m><l m|, in hartree.
    """

    n_core: int
    """Number of electrons that it replaces."""
    local: Terms
    """v_local."""
    channels: tuple[Terms, ...]
    """v_l of l = 0, 1, ...; empty if all of it is local."""

    @property
    def pole(self) -> float:
        """The limit of r v_local(r) at r = 0: ccECP's cancel the pole -(Z - n_core) / r."""
        return sum(c for power, c, _ in self.local if power == -1)


def radial(terms: Terms, r: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sum_k c r^p exp(-a r^2), in hartree, at distances r > 0 in bohr."""
    total = jnp.zeros_like(r)
    for power, factor, exponent in terms:
        total = total + factor * r**power * jnp.exp(-exponent * r**2)
    return total


def names_by_element(
    given: GivenPseudopotentials, symbols: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """(element, name) of the pseudopotentials that are meant, sorted and checked.

    Args:
        given: A name for all elements, or a mapping element -> name.
        symbols: The elements of the molecule.

    Raises:
        ValueError: If a name is unknown, has no data for an element or cannot be sampled, or if the
            molecule lacks an element.
        ritz.extras.MissingExtra: If PySCF is not installed.
    """
    if given is None:
        return ()
    elements = sorted(set(symbols))
    if isinstance(given, str):
        given = dict.fromkeys(elements, given)
    if not isinstance(given, Mapping):
        raise ValueError(
            "ecp takes the name of a set of pseudopotentials for all elements, such as 'ccecp', or "
            f"one for each element, such as {{'{elements[0]}': 'ccecp'}}, but {given!r} was given."
        )
    absent = sorted({str(element) for element in given} - set(elements))
    if absent:
        raise ValueError(
            f"ecp names {', '.join(absent)}, but the elements of the molecule are: "
            f"{', '.join(elements)}."
        )
    found = tuple(sorted((element, _plain(name)) for element, name in given.items()))
    for element, name in found:
        pseudopotential(element, name)
    return found


def _plain(name: object) -> str:
    """A name as PySCF spells it: without capitals, dashes and the like."""
    if not isinstance(name, str):
        raise ValueError(f"ecp takes names such as 'ccecp', but {name!r} was given.")
    return "".join(c for c in name.lower() if c not in "-_ ")


@functools.lru_cache
def pseudopotential(element: str, name: str) -> Pseudopotential:
    """The pseudopotential of an element.

    Spin-orbit terms are left out.

    Raises:
        ValueError: If PySCF does not know the set, or it has no data for the element, or they have
            poles that no finite wave function can be sampled with.
        ritz.extras.MissingExtra: If PySCF is not installed.
    """
    with needs("Molecule(..., ecp=...)", "molecule"):
        from pyscf import gto
    # Longer texts would be read as the data themselves.
    table = _loaded(gto.basis.load_ecp, name, element) if name.isalnum() else None
    if not table:
        raise ValueError(
            f"ecp: PySCF has no pseudopotential {name!r} for {element}. Give 'ccecp', which most "
            "elements up to radon have, or name those of the elements that have one, as in "
            "ecp={'Li': 'ccecp'}; the others keep all their electrons."
        )
    n_core, parts = table
    by_momentum = {momentum: _terms(blocks) for momentum, blocks in parts}
    channels = tuple(by_momentum.get(k, ()) for k in range(max(by_momentum, default=-1) + 1))
    found = Pseudopotential(int(n_core), by_momentum.get(-1, ()), channels)
    poles = [power for terms in channels for power, *_ in terms if power < 0]
    if poles or any(power < -1 for power, *_ in found.local):
        raise ValueError(
            f"ecp: {name!r} of {element} has poles in its parts of each angular momentum, with "
            "which local energies have an infinite variance; give one made for Monte Carlo, such "
            "as 'ccecp' or 'bfd'."
        )
    return found


def _loaded(load: Callable[[str, str], Any], name: str, element: str) -> Any:
    """What PySCF has of this name for an element; None if it has nothing."""
    unknown = KeyError, RuntimeError, OSError, ValueError, IndexError
    with warnings.catch_warnings(), contextlib.suppress(*unknown):
        warnings.simplefilter("ignore", UserWarning)  # of where else data may be found
        return load(name, element)


def _terms(blocks: Sequence[Sequence[Sequence[float]]]) -> Terms:
    """The terms of PySCF's table, where block k has those with r^(k - 2)."""
    return tuple(
        (k - 2, float(term[1]), float(term[0]))
        for k, block in enumerate(blocks)
        for term in block
        if term[1] != 0
    )


def fitting_basis(element: str, name: str | None) -> str:
    """The basis set for an element: cc-pvdz, or the smallest that belongs to its pseudopotential.

    Args:
        element: Its symbol.
        name: Of its pseudopotential; None if it has none.

    Raises:
        ValueError: If PySCF has none that belongs to the pseudopotential.
    """
    if name is None:
        return "cc-pvdz"
    from pyscf import gto

    for basis in (f"{name}ccpvdz", f"{name}vdz", name):
        if _loaded(gto.basis.load, basis, element):
            return basis
    raise ValueError(
        f"PySCF has no basis that belongs to the pseudopotential {name!r} of {element}; give one "
        "with basis=..."
    )


def check_basis(basis: str, element: str, name: str) -> None:
    """Refuse a basis for all electrons where a pseudopotential replaces some.

    A basis belongs to a pseudopotential if its name begins as that of the pseudopotential does.

    Raises:
        ValueError: If it does not belong to it.
    """
    plain, n_same = _plain(basis), 4
    if plain[:n_same] != name[:n_same] and not plain.startswith(name):
        try:
            fitting = fitting_basis(element, name)
        except ValueError:  # none is known to belong to it
            return
        larger = " or 'ccecp-cc-pvtz'" if name == "ccecp" else ""
        raise ValueError(
            f"basis={basis!r} does not belong to the pseudopotential {name!r} of {element}: give "
            f"{fitting!r}{larger}, or leave the basis out, and it is chosen."
        )


def reach(core: Pseudopotential, tolerance: float) -> float:
    """Distance in bohr from which on sum_l (2 l + 1) |v_l(r)| is below `tolerance` hartree."""
    r = np.linspace(1e-3, 20.0, 20_000)
    total = np.zeros_like(r)
    for momentum, terms in enumerate(core.channels):
        values = sum(c * r**p * np.exp(-a * r**2) for p, c, a in terms)
        total += (2 * momentum + 1) * np.abs(values)
    above = np.flatnonzero(total > tolerance)
    return float(r[above[-1]]) if len(above) else 0.0

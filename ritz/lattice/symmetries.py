"""Symmetries of wave functions by name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flax import linen as nn
from netket.graph import Lattice
from netket.hilbert import AbstractHilbert, SpinOrbitalFermions

from ritz.lattice.local_update import TwoStates
from ritz.lattice.models.symmetrized import Symmetrized
from ritz.lattice.space import inside, some_states

GROUPS: dict[str, Callable[[Lattice], Any]] = {
    "translations": lambda lattice: lattice.translation_group(),
    "point_group": lambda lattice: lattice.point_group(),
    "space_group": lambda lattice: lattice.space_group(),
}
"""Groups of permutations of the sites by name."""

INVERSIONS: dict[str, int | None] = {"inversion": None, "even_inversion": 1, "odd_inversion": -1}
"""Parities under an exchange of the two states of all sites; None for that of the ground state."""


def symmetrized(
    model: nn.Module,
    hilbert: AbstractHilbert,
    lattice: Lattice | None,
    names: Sequence[str],
    *,
    parity: int = 1,
    is_invariant: bool = True,
) -> nn.Module:
    """The part of a wave function that symmetries leave as it is; `model` for none.

    Args:
        model: A flax module, configurations -> log psi.
        hilbert: The space.
        lattice: The lattice of the sites.
        names: At most one of `GROUPS`, and at most one of `INVERSIONS`.
        parity: The parity of the ground state, which `inversion` means.
        is_invariant: See `LatticeSystem`.

    Raises:
        ValueError: If there is no such symmetry, the system has not what it needs, or the names do
            not say in which sector the ground state is.
    """
    known = [*GROUPS, *INVERSIONS]
    for name in names:
        if name not in known:
            raise ValueError(f"symmetrize takes {', '.join(known)}, but {name!r} was given.")
    groups = [name for name in names if name in GROUPS]
    parities = [name for name in names if name in INVERSIONS]
    if len(groups) > 1 or len(parities) > 1:
        raise ValueError(
            f"symmetrize takes one of {', '.join(GROUPS)}, and one of {', '.join(INVERSIONS)}, but "
            f"{list(names)} was given; space_group is translations and point_group together."
        )
    if not names:
        return model
    if groups and lattice is None:
        raise ValueError(
            f"symmetrize={groups[0]} needs a lattice, which the system does not have; give its "
            "LatticeSystem a `lattice`, such as netket.graph.Square(4)."
        )
    states, is_fermionic = TwoStates.of(hilbert), isinstance(hilbert, SpinOrbitalFermions)
    if parities and (is_fermionic or not _is_inverted(hilbert, states)):
        raise ValueError(
            f"symmetrize={parities[0]} exchanges the two states of all sites, which does not stay "
            f"in the space {hilbert}; leave it out."
        )
    if groups and "inversion" in names and not is_invariant:
        raise ValueError(
            f"symmetrize={groups[0]},inversion: the ground state of this system changes its sign "
            f"with an inversion, and maybe with elements of {groups[0]} too, whose even part is "
            "then an excited state; give symmetrize=[inversion], a system with a sign rule, or, if "
            f"you know the sector, [{groups[0]}, odd_inversion] or [{groups[0]}, even_inversion]."
        )
    sign = INVERSIONS[parities[0]] or parity if parities else None
    return Symmetrized(
        model,
        GROUPS[groups[0]](lattice) if groups and lattice is not None else None,
        inversion=sign,
        states_sum=0 if states is None else int(states.first + states.second),
        fermions=is_fermionic,
    )


def _is_inverted(hilbert: AbstractHilbert, states: TwoStates | None) -> bool:
    """Whether the exchange of the two states of all sites leads from the space to itself."""
    if states is None:
        return False
    x = some_states(hilbert, 16)
    return bool(np.all(inside(hilbert, states.flipped(x))))

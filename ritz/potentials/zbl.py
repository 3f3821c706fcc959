"""Screened repulsion of nuclei."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.pair_potentials import PairPotential

_COULOMB = 14.399645
"""e^2 / (4 pi epsilon_0), in eV Angstrom."""

_LENGTH, _POWER = 0.46850, 0.23
"""Screening length a = _LENGTH / (Z1^_POWER + Z2^_POWER), in Angstrom."""

_TERMS = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
"""Weights and decays of the universal screening function."""


class ZBL(PairPotential):
    """Screened Coulomb repulsion of nuclei (Ziegler, Biersack, Littmark, "Stopping of Ions", 1985).

    The energy of two nuclei is Z1 Z2 e^2 / (4 pi epsilon_0 r) phi(r / a) with the universal
    screening function phi and length a. It is multiplied by 1 - 28 x^6 + 48 x^7 - 21 x^8 of
    x = r / r0, where r0 is `reach` times the sum of the covalent radii, so that energies, forces
    and their derivatives are zero from r0 on.

    Args:
        species: Chemical symbols of the atoms that it is for; None for all elements, for which
            the cutoff is that of the largest ones.
        reach: Where it ends, in units of the sum of covalent radii (Cordero et al., Dalton Trans.
            2008, 2832).

    Raises:
        TypeError: If `reach` is no number, or `species` one string.
        ValueError: If `reach` is not above zero, or there is an unknown species, or none.
    """

    onset = None

    @suggests_names
    def __init__(self, species: Sequence[str] | None = None, reach: float = 1.0):
        from ase.data import atomic_numbers, covalent_radii

        scale = check_positive("reach", reach)
        if isinstance(species, str):
            raise TypeError(f"species are chemical symbols, such as ['Si'], not {species!r}.")
        if species is not None and not species:
            raise ValueError("species must name an element; leave them out for all.")
        for symbol in species or ():
            if symbol not in atomic_numbers or symbol == "X":
                raise ValueError(f"species has {symbol!r}, which is no chemical element.")
        radii = scale * np.asarray(covalent_radii, float)
        known = radii[1:] if species is None else radii[[atomic_numbers[s] for s in species]]
        self.params = {"radii": radii}
        self.cutoff = float(2 * np.max(known))
        self.symbols = None if species is None else tuple(dict.fromkeys(species))

    @property
    def species(self) -> tuple[str, ...] | None:
        """The elements that were given; None for all."""
        return self.symbols

    @override
    def pair_params(self, params: PyTree, structure: AtomicGraph) -> PyTree:
        mine, theirs = structure.numbers[:, None], structure.numbers[structure.neighbors]
        radii = jnp.asarray(params["radii"], structure.vectors.dtype)
        charges = jnp.arange(len(radii), dtype=radii.dtype)
        return {
            "first": charges[mine],
            "second": charges[theirs],
            "end": radii[mine] + radii[theirs],
        }

    @override
    def pair_energy(self, params: PyTree, squared: Array) -> Array:
        distances = jnp.sqrt(squared)
        first, second = params["first"], params["second"]
        scaled = distances * (first**_POWER + second**_POWER) / _LENGTH
        screening = sum(weight * jnp.exp(-decay * scaled) for weight, decay in _TERMS)
        x = jnp.minimum(distances / params["end"], 1)
        fades = 1 - x**6 * (28 - 48 * x + 21 * x**2)
        return _COULOMB * first * second / distances * screening * fades

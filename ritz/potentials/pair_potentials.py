"""Pair potentials: Lennard-Jones, Morse, soft spheres."""

import abc
import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.close_pairs import ONE_PLACE
from ritz.potentials.potential import AbstractPotential


def _check_reach(cutoff: float | None, onset: float | None) -> tuple[float, float | None]:
    """The cutoff, infinite for None, and the onset of the switching function."""
    reach = math.inf if cutoff in (None, math.inf) else check_positive("cutoff", cutoff)
    if onset is not None and not 0 < onset < reach:
        raise ValueError(f"onset must lie between 0 and the cutoff {reach:g}, not at {onset!r}.")
    if onset is not None and math.isinf(reach):
        raise ValueError("onset needs a cutoff, at which the potential is switched off.")
    return reach, onset


class PairPotential(AbstractPotential, abc.ABC):
    """A sum over pairs of a function of their distance.

    At a finite cutoff the function is shifted to zero; its slope still jumps there. With an
    `onset` it is instead multiplied by a function that falls from 1 at the onset to 0 at the
    cutoff, so that forces are continuous: with x = (cutoff^2 - r^2) / (cutoff^2 - onset^2) it is
    x^2 (3 - 2 x), unless a potential has another one.
    """

    pairwise = True
    cutoff: float
    onset: float | None
    """Distance at which switching off begins, in Angstrom."""

    @abc.abstractmethod
    def pair_energy(self, params: PyTree, squared: Array) -> Array:
        """Energies in eV of pairs at `squared` distances in Angstrom^2; `params` broadcast."""

    def pair_params(self, params: PyTree, structure: AtomicGraph) -> PyTree:
        """The parameters of each pair; by default those of all."""
        return params

    def switch(self, squared: Array) -> Array:
        """The function that switches the potential off, at `squared` distances in Angstrom^2."""
        assert self.onset is not None
        start, end = self.onset**2, self.cutoff**2
        x = jnp.clip((end - squared) / (end - start), 0, 1)
        return x * x * (3 - 2 * x)

    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        """Half the sum over all entries of the neighbour list."""
        squared = structure.squared_distances()
        params = self.pair_params(params, structure)
        energies = _known(self.pair_energy(params, squared), squared)
        within = structure.pairs
        if math.isfinite(self.cutoff):
            end = self.cutoff**2
            within &= squared < end
            if self.onset is None:
                energies -= self.pair_energy(params, jnp.asarray(end, squared.dtype))
            else:
                energies *= self.switch(squared)
        counted = jnp.where(within, energies, 0)
        return 0.5 * jnp.sum(counted)


def _known(energies: Array, squared: Array) -> Array:
    """NaN for two atoms at the same place, where forces have no direction; else the energy."""
    return jnp.where(squared < ONE_PLACE**2, jnp.nan, energies)


def _table(name: str, value: float | Mapping[str, float]) -> float | np.ndarray:
    """A number, or an array by atomic number; NaN for elements that were not given."""
    if not isinstance(value, Mapping):
        return check_positive(name, value)
    from ase.data import atomic_numbers

    table = np.full(119, np.nan)
    for symbol, number in value.items():
        if symbol not in atomic_numbers:
            raise ValueError(f"{name} names {symbol!r}, which is no chemical element.")
        table[atomic_numbers[symbol]] = check_positive(f"{name}[{symbol!r}]", number)
    return table


class LennardJones(PairPotential):
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6).

    Args:
        epsilon: The depth in eV; or element -> depth, combined between elements by the
            geometric mean.
        sigma: The distance of zero energy in Angstrom; or element -> distance, combined by the
            arithmetic mean (the rules of Lorentz and Berthelot). Structures with other elements
            are refused.
        cutoff: Cutoff in Angstrom. None, the default, lets all atoms interact, which needs a
            structure without periodic directions; 3 sigma is usual for periodic ones.
        onset: Where to begin to switch it off; by default it is shifted at the cutoff instead.
    """

    @suggests_names
    def __init__(
        self,
        epsilon: float | Mapping[str, float] = 1.0,
        sigma: float | Mapping[str, float] = 1.0,
        cutoff: float | None = None,
        onset: float | None = None,
    ):
        self.params = {"epsilon": _table("epsilon", epsilon), "sigma": _table("sigma", sigma)}
        self.cutoff, self.onset = _check_reach(cutoff, onset)

    @property
    def species(self) -> tuple[str, ...] | None:
        """Elements in both tables; None without tables."""
        from ase.data import chemical_symbols

        tables = [np.asarray(self.params[name]) for name in ("epsilon", "sigma")]
        known = [np.isfinite(table) for table in tables if table.ndim]
        if not known:
            return None
        return tuple(chemical_symbols[n] for n in np.flatnonzero(np.all(known, axis=0)))

    def pair_params(self, params: PyTree, structure: AtomicGraph) -> PyTree:
        """Combined parameters, where they differ between elements."""
        epsilon, sigma = params["epsilon"], params["sigma"]
        mine, theirs = structure.numbers[:, None], structure.numbers[structure.neighbors]
        if jnp.ndim(epsilon):
            epsilon = jnp.sqrt(epsilon[mine] * epsilon[theirs])
            epsilon = jnp.where(structure.pairs, epsilon, 1)
        if jnp.ndim(sigma):
            sigma = jnp.where(structure.pairs, (sigma[mine] + sigma[theirs]) / 2, 1)
        return {"epsilon": epsilon, "sigma": sigma}

    @override
    def pair_energy(self, params: PyTree, squared: Array) -> Array:
        inverse = params["sigma"] ** 2 / squared
        sixth = inverse * inverse * inverse
        return 4 * params["epsilon"] * (sixth * sixth - sixth)


class Morse(PairPotential):
    """depth ((1 - exp(-stiffness (r - r0)))^2 - 1) (Morse, Phys. Rev. 34, 57 (1929)).

    With an `onset` it is switched off as in ASE, by x^3 (10 - 15 x + 6 x^2) with
    x = (cutoff - r) / (cutoff - onset), so that second derivatives are continuous too. ASE's
    `MorsePotential(epsilon, rho0, r0, rcut1, rcut2)` is `Morse(epsilon, rho0 / r0, r0,
    cutoff=rcut2 * r0, onset=rcut1 * r0)`.

    Args:
        depth: Depth of the minimum, in eV.
        stiffness: Inverse width of the well, in 1/Angstrom.
        r0: Distance of the minimum, in Angstrom.
        cutoff: As for `LennardJones`.
        onset: As for `LennardJones`.
    """

    @suggests_names
    def __init__(
        self,
        depth: float = 1.0,
        stiffness: float = 6.0,
        r0: float = 1.0,
        cutoff: float | None = None,
        onset: float | None = None,
    ):
        given = {"depth": depth, "stiffness": stiffness, "r0": r0}
        self.params = {name: check_positive(name, value) for name, value in given.items()}
        self.cutoff, self.onset = _check_reach(cutoff, onset)

    @override
    def pair_energy(self, params: PyTree, squared: Array) -> Array:
        decay = jnp.exp(-params["stiffness"] * (jnp.sqrt(squared) - params["r0"]))
        return params["depth"] * decay * (decay - 2)

    @override
    def switch(self, squared: Array) -> Array:
        assert self.onset is not None
        x = jnp.clip((self.cutoff - jnp.sqrt(squared)) / (self.cutoff - self.onset), 0, 1)
        return x**3 * (10 + x * (6 * x - 15))


class SoftSphere(PairPotential):
    """(epsilon / exponent) (1 - r/sigma)^exponent for r < sigma, and 0 beyond.

    Args:
        epsilon: Energy scale, in eV.
        sigma: Diameter of the spheres, in Angstrom, beyond which they do not interact.
        exponent: 2 for harmonic spheres, 2.5 for Hertz's; at least 2.
    """

    @suggests_names
    def __init__(self, epsilon: float = 1.0, sigma: float = 1.0, exponent: float = 2.0):
        if check_positive("exponent", exponent) < 2:
            raise ValueError(f"exponent must be at least 2, but {exponent!r} was given.")
        self.params = {
            "epsilon": check_positive("epsilon", epsilon),
            "sigma": check_positive("sigma", sigma),
        }
        self.cutoff, self.onset = _check_reach(sigma, None)
        self.exponent = float(exponent)

    @override
    def pair_energy(self, params: PyTree, squared: Array) -> Array:
        overlap = jnp.maximum(1 - jnp.sqrt(squared) / params["sigma"], 0)
        return params["epsilon"] / self.exponent * overlap**self.exponent

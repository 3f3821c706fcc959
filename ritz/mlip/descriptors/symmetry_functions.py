"""The symmetry functions of Behler and Parrinello."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count, check_number, check_positive
from ritz.mlip.arrays import check_device, check_dtype
from ritz.mlip.data.structure import checked_species
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.angular_sums import AngularSums, Function, angular_sums
from ritz.mlip.descriptors.angular_sums import derivatives as angular_derivatives
from ritz.mlip.descriptors.angular_sums import values as angular_values
from ritz.mlip.descriptors.basis_functions import CUTOFFS, lengths, unit_vectors
from ritz.mlip.descriptors.derivatives import LocalDerivatives
from ritz.mlip.descriptors.pair_tiles import AngularTerm
from ritz.types import Settings


def _checked_elements(kind: str, elements: object) -> tuple[str, ...]:
    """The elements of the neighbours, as a tuple.

    Raises:
        TypeError: If they are no chemical symbols, or one string.
        ValueError: If they are too many or too few.
    """
    needed = "one element" if kind == "G2" else "two elements, such as ('Ti', 'O')"
    told = f"{kind} has {needed}; {elements!r} was given."
    if not isinstance(elements, list | tuple) or not all(isinstance(e, str) for e in elements):
        raise TypeError(told)
    if len(elements) != (1 if kind == "G2" else 2):
        raise ValueError(told)
    return tuple(elements)


@dataclasses.dataclass(frozen=True)
class SymmetryFunction:
    """One function of the neighbours of an atom; `G2`, `G4` and `G5` make them."""

    kind: Literal["G2", "G4", "G5"]
    elements: tuple[str, ...]
    """The elements of the neighbours: one for G2, two for the others."""
    eta: float
    """In 1/Angstrom^2."""
    r_c: float
    """The cutoff, in Angstrom."""
    r_s: float = 0.0
    lambda_: float = 1.0
    zeta: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("G2", "G4", "G5"):
            raise ValueError(f"kind must be G2, G4 or G5, but {self.kind!r} was given.")
        for name in ("eta", "r_s", "zeta"):
            check_positive(f"{name} of {self.kind}", getattr(self, name), or_zero=True)
        check_positive(f"r_c of {self.kind}", self.r_c)
        object.__setattr__(self, "elements", _checked_elements(self.kind, self.elements))
        if self.lambda_ not in (1, -1) or self.zeta < 1:
            raise ValueError(
                f"lambda_ of {self.kind} must be 1 or -1 and zeta at least 1, but "
                f"{self.lambda_!r} and {self.zeta!r} were given."
            )


def _are_functions(listed: object) -> bool:
    """Whether it is a list of at least one symmetry function."""
    if not isinstance(listed, list | tuple) or not listed:
        return False
    return all(isinstance(f, SymmetryFunction) for f in listed)


def G2(element: str, eta: float, r_s: float = 0.0, r_c: float = 6.0) -> SymmetryFunction:
    """sum_j exp(-eta (r_ij - r_s)^2) f_c(r_ij) over the neighbours of an element.

    Args:
        element: The chemical symbol of the neighbours.
        eta: In 1/Angstrom^2.
        r_s: In Angstrom.
        r_c: The cutoff, in Angstrom.
    """
    return SymmetryFunction("G2", (element,), eta, r_c, r_s)


def G4(
    elements: tuple[str, str], eta: float, lambda_: float, zeta: float, r_c: float = 6.0
) -> SymmetryFunction:
    """As `G5`, with exp(-eta r_jk^2) f_c(r_jk) in each term."""
    return SymmetryFunction("G4", elements, eta, r_c, lambda_=lambda_, zeta=zeta)


def G5(
    elements: tuple[str, str], eta: float, lambda_: float, zeta: float, r_c: float = 6.0
) -> SymmetryFunction:
    """2^(1-zeta) sum_{j<k} (1 + lambda cos theta)^zeta exp(-eta (r_ij^2 + r_ik^2)) f_c f_c.

    The sum is over pairs of neighbours, each once. f_c is of r_ij and of r_ik.

    Args:
        elements: The chemical symbols of the two neighbours, in any order.
        eta: In 1/Angstrom^2.
        lambda_: 1 or -1.
        zeta: 1 or more.
        r_c: The cutoff, in Angstrom.
    """
    return SymmetryFunction("G5", elements, eta, r_c, lambda_=lambda_, zeta=zeta)


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class SymmetryFunctions(AbstractDescriptor):
    """Atom-centred symmetry functions, a list of them for each element.

    G2, G4 and G5 of J. Behler, J. Chem. Phys. 134, 074106 (2011); G2 and G4 are those of J. Behler
    and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007). Pairs of neighbours count once, as in
    RuNNer and n2p2, whose files have eta in 1/bohr^2 and r_c in bohr. The features of an atom are
    its G2, then its G4 and G5, each in the order given; where another element has more of either,
    zeros follow. JAX differentiates them in reverse mode, and these derivatives in forward mode
    (Hessian-vector products); it does not do so in forward mode alone.

    Args:
        functions: The functions by the element of the central atom, in the order of `species`.
        cutoff_function: f_c(r): "cosine", (cos(pi r / r_c) + 1) / 2, or "tanh3",
            tanh(1 - r / r_c)^3; 0 beyond r_c.
        dtype: "float64" or "float32", see `ChebyshevDescriptor`.
        device: Where features are computed, see `ChebyshevDescriptor`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, or a neighbour is of an element without functions.
    """

    functions: tuple[tuple[str, tuple[SymmetryFunction, ...]], ...]
    cutoff_function: str
    dtype: str
    device: str | None = dataclasses.field(default=None, compare=False)
    atoms_at_once: ClassVar[int] = 256

    def __init__(
        self,
        functions: Mapping[str, Sequence[SymmetryFunction]],
        cutoff_function: str = "cosine",
        dtype: DTypeLike = "float64",
        device: str | None = None,
    ):
        if not isinstance(functions, Mapping) or not all(map(_are_functions, functions.values())):
            raise TypeError(
                "functions are lists by element, such as {'O': [G2('O', eta=0.1)]}, but "
                f"{functions!r} was given."
            )
        species = checked_species(list(functions))
        neighbours = {e for own in functions.values() for f in own for e in f.elements}
        unknown = sorted(neighbours - set(species))
        if unknown:
            raise ValueError(
                f"there are functions of neighbours {', '.join(unknown)}, but lists of functions "
                f"for {', '.join(species)} only; give one for each element."
            )
        if not isinstance(cutoff_function, str) or cutoff_function not in CUTOFFS:
            allowed = " or ".join(CUTOFFS)
            raise ValueError(f"cutoff_function must be {allowed}, not {cutoff_function!r}.")
        lists = tuple((element, tuple(own)) for element, own in functions.items())
        object.__setattr__(self, "functions", lists)
        object.__setattr__(self, "cutoff_function", cutoff_function)
        object.__setattr__(self, "dtype", check_dtype("dtype", dtype))
        object.__setattr__(self, "device", check_device("device", device))

    @classmethod
    def on_grid(
        cls,
        species: Sequence[str],
        r_c: float = 6.0,
        n_radial: int = 8,
        angular_r_c: float | None = None,
        zetas: Sequence[float] = (1, 4, 16),
        **settings: Any,
    ) -> Self:
        """The usual grid, with the same functions for all elements.

        G2 of each element have r_s evenly spaced by D from 0.5 Angstrom to r_c - 0.5 Angstrom, and
        eta = 1 / (2 D^2) (M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018)). G4 of each pair
        of elements have lambda = 1 and -1, all zetas, and eta = 1 / (2 r_c^2).

        Args:
            species: Chemical symbols.
            r_c: The cutoff of G2, in Angstrom.
            n_radial: Number of G2 for each element of neighbours, at least 2.
            angular_r_c: The cutoff of G4, in Angstrom; by default `r_c`.
            zetas: Those of G4.
            settings: See `SymmetryFunctions`.
        """
        if not isinstance(zetas, Iterable):
            raise TypeError(f"zetas is a list of numbers, but {zetas!r} was given.")
        symbols, steps = checked_species(species), check_count("n_radial", n_radial, 2) - 1
        width = (check_number("r_c", r_c, 1, strict=True) - 1) / steps
        near = check_positive("angular_r_c", r_c if angular_r_c is None else angular_r_c)
        functions = [
            G2(s, 1 / (2 * width**2), 0.5 + n * width, r_c)
            for s in symbols
            for n in range(n_radial)
        ] + [
            G4((first, second), 1 / (2 * near**2), lambda_, zeta, near)
            for place, first in enumerate(symbols)
            for second in symbols[place:]
            for lambda_ in (1, -1)
            for zeta in zetas
        ]
        return cls(dict.fromkeys(symbols, functions), **settings)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(own)} of {element}" for element, own in self.functions)
        return f"SymmetryFunctions({counts}; {self.cutoff_function}, r_c={self.cutoff:g})"

    @property
    def species(self) -> tuple[str, ...]:  # type: ignore[override]
        """The elements, in the order of their lists."""
        return tuple(element for element, _ in self.functions)

    @property
    def cutoff(self) -> float:  # type: ignore[override]
        """The largest of all cutoffs, in Angstrom."""
        return max(f.r_c for _, own in self.functions for f in own)

    @property
    def n_features(self) -> int:  # type: ignore[override]
        """The most G2 of any element, and the most G4 and G5."""
        return self.n_radial + self._most(("G4", "G5"))

    @property
    @override
    def n_radial(self) -> int:
        return self._most(("G2",))

    @property
    @override
    def near_cutoff(self) -> float:
        angular = [f.r_c for _, own in self.functions for f in own if f.kind != "G2"]
        return max(angular, default=0.0)

    def _most(self, kinds: Sequence[str]) -> int:
        return max(sum(f.kind in kinds for f in own) for _, own in self.functions)

    @classmethod
    @override
    def _of_header(cls, fields: Settings) -> Self:
        lists = fields["functions"]
        functions = {element: [SymmetryFunction(**f) for f in own] for element, own in lists}
        return cls(**{**fields, "functions": functions})

    def _radial(
        self, distances: Array, pairs: Array, kinds: Array, centres: Array
    ) -> tuple[Array, Array]:
        """The terms of G2, (atoms, n_radial, n_neighbors), and their derivatives by r."""
        lists = [[f for f in own if f.kind == "G2"] for _, own in self.functions]
        none = [(-1.0, 1.0, 0.0, 0.0)]  # of no element
        filled = [
            [(self.species.index(f.elements[0]), f.r_c, f.eta, f.r_s) for f in own]
            + none * (self.n_radial - len(own))
            for own in lists
        ]
        table = jnp.asarray(np.array(filled).reshape(len(lists), -1, 4), distances.dtype)
        element, r_c, eta, r_s = jnp.moveaxis(table[centres][:, :, None], -1, 0)
        r, here = distances[:, None], pairs[:, None] & (kinds[:, None] == element)
        value, slope = jnp.zeros_like(here, r.dtype), jnp.zeros_like(here, r.dtype)
        for cutoff in sorted({f.r_c for own in lists for f in own}):  # once for each neighbour
            own = r_c == jnp.asarray(cutoff, r.dtype)
            cut = CUTOFFS[self.cutoff_function](r**2, cutoff)
            value, slope = (jnp.where(own, *both) for both in zip(cut, (value, slope), strict=True))
        gaussian: Array = jnp.where(here, jnp.exp(-eta * (r - r_s) ** 2), 0)
        return gaussian * value, 2 * gaussian * (r * slope - eta * (r - r_s) * value)

    @property
    def _angular(self) -> AngularSums:
        def function(f: SymmetryFunction) -> Function:
            first, second = map(self.species.index, f.elements)
            return first, second, AngularTerm(f.eta, f.r_c, f.kind == "G4", f.lambda_, f.zeta)

        lists = [[function(f) for f in own if f.kind != "G2"] for _, own in self.functions]
        return angular_sums(lists, self.cutoff_function)

    @override
    def features(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int | None = None
    ) -> Float[Array, "atoms n_features"]:
        distances, there = lengths(vectors, pairs)
        radial = jnp.sum(self._radial(distances, there, kinds, centres)[0], axis=-1)
        closest = vectors[:, :near], pairs[:, :near], kinds[:, :near]
        return jnp.concatenate([radial, angular_values(self._angular, *closest, centres)], axis=-1)

    @override
    def local_derivatives(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int
    ) -> LocalDerivatives:
        distances, there = lengths(vectors, pairs)
        _, radial = self._radial(distances, there, kinds, centres)
        units = unit_vectors(vectors, distances, there)
        closest = vectors[:, :near], pairs[:, :near], kinds[:, :near]
        angular = angular_derivatives(self._angular, *closest, centres)
        angular = jnp.swapaxes(angular, -1, -2)
        return LocalDerivatives(radial, jnp.moveaxis(units, -1, -2), angular, distances)

"""The symmetry functions of Behler and Parrinello."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from ritz.checks import check_count, check_number, check_positive
from ritz.mlip.arrays import check_device, check_dtype
from ritz.mlip.data.structure import checked_species
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.cutoffs import cosine_cutoff, tanh3_cutoff
from ritz.mlip.descriptors.derivatives import LocalDerivatives
from ritz.mlip.descriptors.directions import lengths, unit_vectors

CUTOFFS = {"cosine": cosine_cutoff, "tanh3": tanh3_cutoff}
"""Cutoff functions by name; n2p2's types 1 and 2."""


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
        object.__setattr__(self, "elements", tuple(self.elements))
        if len(self.elements) != (1 if self.kind == "G2" else 2):
            raise ValueError(f"G2 has one element, G4 and G5 have two; {self.elements} was given.")
        if self.lambda_ not in (1, -1) or self.zeta < 1:
            raise ValueError(
                f"lambda_ of {self.kind} must be 1 or -1 and zeta at least 1, but "
                f"{self.lambda_!r} and {self.zeta!r} were given."
            )


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


_Geometry = collections.namedtuple("_Geometry", "kinds vectors units r cosines r_jk triples")
"""The neighbours of an atom, and pairs of them."""


def _geometry(vectors: Any, pairs: Any, kinds: Any) -> _Geometry:
    r, pairs = lengths(vectors, pairs)
    units = unit_vectors(vectors, r, pairs)
    triples = pairs[:, None] & pairs & ~np.eye(len(pairs), dtype=bool)
    r_jk, _ = lengths(vectors - vectors[:, None], triples)
    return _Geometry(kinds, vectors, units, r, units @ units.T, r_jk, triples)


def _angle(g: _Geometry, lambda_: float, zeta: float) -> tuple[Any, Any]:
    """2^(1-zeta) (1 + lambda cos theta)^zeta, and its derivative by the cosine."""
    half = jnp.maximum(1 + lambda_ * g.cosines, 0) / 2
    zeta = int(zeta) if zeta == int(zeta) else zeta  # such powers are products
    return 2 * half**zeta, lambda_ * zeta * half ** (zeta - 1)


def _sums(g: _Geometry, stacks: Any, own: Any, derive: bool) -> Any:
    """One of the G4 and G5 of an atom, or its derivatives.

    With c = cos theta, the derivative of a term T by the vector v_j is
    dT/dc (u_k - c u_j) / r_ij + dT/dr_ij u_j - dT/dr_jk (v_k - v_j) / r_jk.
    """
    first, second = g.kinds == own[0], g.kinds == own[1]
    either = (first[:, None] & second) | (second[:, None] & first)
    angle, *by_cosine = (part[own[2]] for part in stacks[0])
    envelope, *slopes = (part[own[3]] for part in stacks[1])
    angle: Any = jnp.where(either, angle, 0)
    if not derive:
        return jnp.sum(angle * envelope) / 2  # each pair is there twice
    by_cosine: Any = jnp.where(either, by_cosine[0] * envelope, 0) / g.r[:, None]
    by_r, by_jk = angle * slopes[0], angle * slopes[1]
    along = jnp.sum(by_r - by_cosine * g.cosines, axis=1)
    found = by_cosine @ g.units + along[:, None] * g.units
    return (found + jnp.sum(by_jk, axis=1)[:, None] * g.vectors - by_jk @ g.vectors).T


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class SymmetryFunctions(AbstractDescriptor):
    """Atom-centred symmetry functions, a list of them for each element.

    G2, G4 and G5 of J. Behler, J. Chem. Phys. 134, 074106 (2011); G2 and G4 are those of J. Behler
    and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007). Pairs of neighbours count once, as in
    RuNNer and n2p2, whose files have eta in 1/bohr^2 and r_c in bohr. The features of an atom are
    its G2, then its G4 and G5, each in the order given; where another element has more of either,
    zeros follow.

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
    atoms_at_once: ClassVar[int] = 64

    def __init__(
        self,
        functions: Mapping[str, Sequence[SymmetryFunction]],
        cutoff_function: str = "cosine",
        dtype: Any = "float64",
        device: str | None = None,
    ):
        each = list(functions.values()) if isinstance(functions, Mapping) else [[functions]]
        if not all(own and all(isinstance(f, SymmetryFunction) for f in own) for own in each):
            raise TypeError(
                "functions are lists by element, such as {'O': [G2('O', eta=0.1)]}, but "
                f"{functions!r} was given."
            )
        species = checked_species(list(functions))
        unknown = sorted({e for own in each for f in own for e in f.elements} - set(species))
        if unknown:
            raise ValueError(
                f"there are functions of neighbours {', '.join(unknown)}, but lists of functions "
                f"for {', '.join(species)} only; give one for each element."
            )
        if cutoff_function not in CUTOFFS:
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
    def _of_header(cls, fields: dict[str, Any]) -> Self:
        lists = fields["functions"]
        functions = {element: [SymmetryFunction(**f) for f in own] for element, own in lists}
        return cls(**{**fields, "functions": functions})

    def _table(self, kinds: Sequence[str], row: Any, centres: Any, dtype: Any) -> Any:
        """Rows of each atom's functions, (atoms, n_functions, 4), and some of no element, -1."""
        lists = [[row(f) for f in own if f.kind in kinds] for _, own in self.functions]
        filled = [own + [(-1, 1, 0, 0)] * (self._most(kinds) - len(own)) for own in lists]
        return jnp.asarray(np.array(filled).reshape(len(lists), -1, 4), dtype)[centres]

    def _cut(self, r: Any, r_c: Any) -> tuple[Any, Any]:
        """The cutoff function, and its derivative."""
        cut = CUTOFFS[self.cutoff_function]
        return jax.jvp(lambda r: cut(r, r_c), (r,), (jnp.ones_like(r),))

    def _radial(self, distances: Any, pairs: Any, kinds: Any, centres: Any) -> tuple[Any, Any]:
        """The terms of G2, (atoms, n_radial, n_neighbors), and their derivatives by r."""

        def row(f: SymmetryFunction) -> tuple[float, ...]:
            return self.species.index(f.elements[0]), f.r_c, f.eta, f.r_s

        table = self._table(("G2",), row, centres, distances.dtype)
        element, r_c, eta, r_s = jnp.moveaxis(table[:, :, None], -1, 0)
        r, here = distances[:, None], pairs[:, None] & (kinds[:, None] == element)
        f, slope = self._cut(r, r_c)
        gaussian: Any = jnp.where(here, jnp.exp(-eta * (r - r_s) ** 2), 0)
        return gaussian * f, gaussian * (slope - 2 * eta * (r - r_s) * f)

    def _angular(self, closest: tuple[Any, ...], centres: Any, derive: bool) -> Any:
        """G4 and G5, (atoms, n_angular), or their derivatives, (atoms, n_angular, 3, n_near).

        What functions share, the power of the cosine or all else, is computed once.
        """
        functions = [f for _, own in self.functions for f in own if f.kind != "G2"]
        angles = sorted({(f.lambda_, f.zeta) for f in functions})
        envelopes = sorted({(f.kind, f.eta, f.r_c) for f in functions})

        def row(f: SymmetryFunction) -> tuple[int, ...]:
            first, second = map(self.species.index, f.elements)
            angle, envelope = (f.lambda_, f.zeta), (f.kind, f.eta, f.r_c)
            return first, second, angles.index(angle), envelopes.index(envelope)

        def of_atom(atom: Any) -> Any:
            g, table = _geometry(*atom[:3]), atom[3]
            factors = [_angle(g, *f) for f in angles], [self._envelope(g, *f) for f in envelopes]
            if not derive:
                factors = [[values[:1] for values in several] for several in factors]
            stacks = [[jnp.stack(part) for part in zip(*f, strict=True)] for f in factors]
            return jax.lax.map(jax.checkpoint(lambda own: _sums(g, stacks, own, derive)), table)

        if not functions:
            n_atoms, near = closest[1].shape
            return jnp.zeros((n_atoms, 0, 3, near) if derive else (n_atoms, 0), closest[0].dtype)
        atoms = *closest, self._table(("G4", "G5"), row, centres, int)
        return jax.lax.map(of_atom, atoms, batch_size=self.atoms_at_once)

    def _envelope(self, g: _Geometry, kind: str, eta: float, r_c: float) -> tuple[Any, ...]:
        """The factor of terms without the angle; its derivatives by r_ij, and by r_jk over r_jk."""
        (f, slope), r_jk = self._cut(g.r, r_c), g.r_jk
        far, far_slope = self._cut(r_jk, r_c) if kind == "G4" else (1.0, 0.0)
        squares = g.r[:, None] ** 2 + g.r**2 + (r_jk**2 if kind == "G4" else 0)
        gaussian: Any = jnp.where(g.triples, jnp.exp(-eta * squares), 0)
        both = gaussian * f[:, None] * f
        by_r = gaussian * (slope - 2 * eta * g.r * f)[:, None] * f * far
        by_jk = both * (far_slope - 2 * eta * r_jk * far) / r_jk if kind == "G4" else 0 * both
        return both * far, by_r, by_jk

    @override
    def features(
        self, vectors: Any, pairs: Any, kinds: Any, centres: Any, near: int | None = None
    ) -> Any:
        distances, pairs = lengths(vectors, pairs)
        radial = jnp.sum(self._radial(distances, pairs, kinds, centres)[0], axis=-1)
        closest = vectors[:, :near], pairs[:, :near], kinds[:, :near]
        angular = self._angular(closest, centres, derive=False)
        return jnp.concatenate([radial, angular], axis=-1)

    @override
    def local_derivatives(
        self, vectors: Any, pairs: Any, kinds: Any, centres: Any, near: int
    ) -> LocalDerivatives:
        distances, pairs = lengths(vectors, pairs)
        _, radial = self._radial(distances, pairs, kinds, centres)
        units = unit_vectors(vectors, distances, pairs)
        closest = vectors[:, :near], pairs[:, :near], kinds[:, :near]
        angular = self._angular(closest, centres, derive=True)
        return LocalDerivatives(radial, jnp.moveaxis(units, -1, -2), angular, distances)

"""The potential contract: a pure function from parameters and a structure to an energy."""

import abc
import functools
import inspect
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_number
from ritz.driver.signatures import suggests_names
from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.close_pairs import ONE_PLACE
from ritz.types import Settings


class AbstractPotential(abc.ABC):
    """An energy as a pure function `(params, structure) -> energy`; forces come by autodiff.

    Set `params` and `cutoff` in the constructor, and whatever else `__call__` needs. Potentials
    are pytrees: `params` are their leaves, and all other attributes are static and must be
    hashable, so that potentials that differ in their parameters alone share compiled programs.
    """

    params: PyTree
    """Parameters, a pytree of arrays: the first argument of `__call__`."""

    cutoff: float | None
    """Cutoff radius of neighbours in Angstrom. `math.inf` makes all atoms neighbours, which only
    structures without periodic directions can have; None asks for no neighbours, for potentials of
    `structure.positions` alone."""

    pairwise: ClassVar[bool] = False
    """Whether the energy is a sum over pairs of a function of their distance, which makes forces
    cheaper."""

    @property
    def species(self) -> tuple[str, ...] | None:
        """Chemical symbols that the potential knows; None for all."""
        return None

    def least_distance(
        self, first: np.ndarray | Array, second: np.ndarray | Array
    ) -> np.ndarray | Array | float:
        """Least distance of two atoms, in Angstrom, at which the potential is valid.

        `evaluate` makes the energy of a structure with a closer pair NaN. By default two atoms
        must not be at the same place. `pairwise` potentials return NaN themselves, at less cost.

        Args:
            first: Atomic numbers, an array.
            second: The same of the other atoms; broadcasts against `first`.
        """
        return ONE_PLACE

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Register the subclass as a pytree."""
        super().__init_subclass__(**kwargs)
        jax.tree_util.register_pytree_node(cls, _flatten, functools.partial(_unflatten, cls))

    @abc.abstractmethod
    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        """The energy of a structure; empty places and entries without a neighbour add nothing.

        The derivative must be finite there too: see `AtomicGraph.squared_distances`.
        """

    @property
    def static(self) -> Settings:
        """All attributes except `params`, by name."""
        return {name: value for name, value in vars(self).items() if name != "params"}

    def __repr__(self) -> str:
        given = {"params": self.params, **self.static}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


def _flatten(potential: AbstractPotential) -> tuple[tuple[PyTree], tuple[tuple[str, object], ...]]:
    return (potential.params,), tuple(sorted(potential.static.items()))


def _unflatten(
    kind: type[AbstractPotential], static: tuple[tuple[str, object], ...], leaves: tuple[PyTree]
) -> AbstractPotential:
    potential = object.__new__(kind)
    vars(potential).update(static, params=leaves[0])
    return potential


class Potential(AbstractPotential):
    """Any function of JAX as a potential.

    Args:
        function: `(params, structure) -> energy`, see `AbstractPotential`.
        params: Its parameters, a pytree of arrays.
        cutoff: Cutoff radius in Angstrom, see `AbstractPotential.cutoff`.

    Raises:
        TypeError: If `function` cannot be called with both arguments, or `cutoff` is no number.
        ValueError: If `cutoff` is not positive.
    """

    @suggests_names
    def __init__(
        self,
        function: Callable[[PyTree, AtomicGraph], Array],
        params: PyTree = (),
        cutoff: float | None = None,
    ):
        if not callable(function):
            raise TypeError(
                f"a potential takes a function (params, structure), but {function!r} was given."
            )
        _check_takes_structures(function)
        if cutoff is not None:
            check_number("cutoff", cutoff, 0, strict=True)
        self.function = function
        self.params = params
        self.cutoff = cutoff

    @override
    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        return self.function(params, structure)


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", None) or repr(function)


def _check_takes_structures(function: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions written in C nothing is known
        return
    try:
        signature.bind((), None)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        raise TypeError(
            f"the function {_name(function)} of a potential takes ({takes}), but must take "
            "(params, structure) and return the energy of the structure, one real number in eV."
        ) from error


def _check_energy(potential: AbstractPotential, energy: object) -> None:
    """Refuse what is no energy of one structure, and so cannot be differentiated."""
    if isinstance(energy, int | float | complex | np.generic | np.ndarray | jax.Array):
        shape, dtype = jnp.shape(energy), jnp.result_type(energy)
        if shape == () and jnp.issubdtype(dtype, jnp.floating):
            return
        returned = f"a number of type {dtype}" if shape == () else f"an array of shape {shape}"
    else:
        returned = f"an object of type {type(energy).__name__}"
    what = f"the potential {type(potential).__name__}"
    if isinstance(potential, Potential):
        what = f"the function {_name(potential.function)} of a potential"
    raise TypeError(
        f"{what} returned {returned}, but must take (params, structure) and return the energy of "
        "the structure, one real number in eV: sum over atoms, and use floating-point numbers."
    )


class Evaluated(NamedTuple):
    """Energy, forces and virial of one structure."""

    energy: Float[Array, ""]
    forces: Float[Array, "n_atoms 3"]
    virial: Float[Array, "3 3"]
    """The derivative of the energy by a strain e, at positions and cell times (1 + e).
    The stress is this over the volume."""


def evaluate(
    potential: AbstractPotential, structure: AtomicGraph, with_virial: bool = True
) -> Evaluated:
    """Energy, forces and virial of one structure.

    The energy is differentiated by the vectors between neighbours, from which forces and virial
    follow without differentiating the gathering of them. Energy, forces and virial are NaN if two
    atoms are closer than `AbstractPotential.least_distance`.

    Raises:
        TypeError: If the potential returns anything but one real number.
    """

    def energy(vectors: Array, positions: Array, cell: Array) -> Array:
        seen = structure._replace(vectors=vectors, positions=positions, cell=cell)
        value = potential(potential.params, seen)
        _check_energy(potential, value)
        return value

    vectors, positions, cell = structure.vectors, structure.positions, structure.cell
    value, slopes = jax.value_and_grad(energy, argnums=(0, 1, 2))(vectors, positions, cell)
    by_vector, by_position, by_cell = slopes
    if potential.pairwise:  # forces on both atoms of a pair are opposite
        pulled = -jnp.sum(by_vector, axis=1)
    else:
        pulled = jnp.zeros_like(positions).at[structure.neighbors].add(by_vector)
    forces = jnp.sum(by_vector, axis=1) - pulled - by_position
    forces = jnp.where(structure.mask[:, None], forces, 0)
    virial = jnp.zeros_like(cell)
    if with_virial:
        virial = _product(by_vector, vectors)
        virial += by_position.T @ positions + by_cell.T @ cell
        virial = (virial + virial.T) / 2
    if potential.cutoff is not None and not potential.pairwise:
        close = _has_close_pair(potential, structure)
        value, forces, virial = (jnp.where(close, jnp.nan, x) for x in (value, forces, virial))
    return Evaluated(value, forces, virial)


def _has_close_pair(potential: AbstractPotential, structure: AtomicGraph) -> Array:
    mine, theirs = structure.numbers[:, None], structure.numbers[structure.neighbors]
    limit = potential.least_distance(mine, theirs)
    return jnp.any(structure.pairs & (structure.squared_distances() < limit**2))


def _product(by_vector: Array, vectors: Array) -> Float[Array, "3 3"]:
    """The symmetric part of the sum of outer products, element by element.

    The compiler fuses these sums with what they are of, but not products of small matrices.
    """
    rows = [[jnp.zeros((), vectors.dtype)] * 3 for _ in range(3)]
    for a in range(3):
        for b in range(a, 3):
            terms = by_vector[..., a] * vectors[..., b] + by_vector[..., b] * vectors[..., a]
            rows[a][b] = rows[b][a] = jnp.sum(terms) / 2
    return jnp.stack([jnp.stack(row) for row in rows])

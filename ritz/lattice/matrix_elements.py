"""Matrix elements of operators in some rows: whether they are Hermitian or unitary."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Inexact, Int, Shaped
from netket.hilbert import AbstractHilbert
from netket.operator import AbstractOperator, ContinuousOperator
from netket.operator._sum import SumOperator

from ritz.lattice.operators import traceable
from ritz.lattice.space import some_states

ALL_STATES = 256
"""Largest number of states of a space of which all rows are checked."""

ROWS, ELEMENTS, PRODUCTS = 32, 4096, 2**18
"""Number of random rows of larger spaces, of elements in rows, and of products of two elements that
are looked at."""


class Elements(NamedTuple):
    """Elements <x|A|y> that are not zero, each pair (x, y) once."""

    row: Int[np.ndarray, " n"]
    """The place of x among the rows."""
    y: Shaped[np.ndarray, "n n_sites"]
    """The connected configurations."""
    value: Inexact[np.ndarray, " n"]
    """The elements."""

    @classmethod
    def of(cls, operator: Any, x: Shaped[np.ndarray, "rows n_sites"]) -> "Elements":
        """The elements of an operator in the rows `x`."""
        connected, values = jax.device_get(operator.get_conn_padded(x))
        row = np.broadcast_to(np.arange(len(x))[:, None], values.shape)
        known = values != 0
        return cls(row[known], connected[known], values[known]).merged()

    def merged(self) -> "Elements":
        """With the sum of the elements where a pair is there several times."""
        table = np.column_stack([self.row, self.y])
        pairs, place = np.unique(table, axis=0, return_inverse=True)
        total = np.zeros(len(pairs), np.result_type(self.value, np.complex64))
        np.add.at(total, place.ravel(), self.value)
        return Elements(pairs[:, 0].astype(int), pairs[:, 1:].astype(self.y.dtype), total)

    def __matmul__(self, operator: Any) -> "Elements":
        """The elements of the product with an operator from the right."""
        after = Elements.of(operator, self.y)
        values = self.value[after.row] * after.value
        return Elements(self.row[after.row], after.y, values).merged()

    @property
    def rounding(self) -> float:
        """Differences of elements that count as none."""
        precision = np.finfo(self.value.dtype).eps ** 0.5
        return float(precision * np.abs(self.value).max(initial=0))


def rows(hilbert: AbstractHilbert) -> Shaped[np.ndarray, "rows n_sites"]:
    """All configurations of a small space, some random ones of a larger one."""
    space: Any = hilbert
    if space.is_indexable and space.n_states <= ALL_STATES:
        return np.asarray(space.all_states())
    return np.unique(np.asarray(some_states(hilbert, ROWS)), axis=0)


def hermitian(
    operator: Any, hilbert: AbstractHilbert, role: str = "a Hamiltonian"
) -> AbstractOperator:
    """`operator` in traceable form, if it is Hermitian as far as is known.

    Operators that do not know it, such as sums, are judged by their elements, in all rows of small
    spaces and some of others.

    Args:
        operator: An operator of NetKet.
        hilbert: The space.
        role: What it is, for messages.

    Raises:
        TypeError: If it has no traceable form, or is not an operator.
        ValueError: If it acts on another space, or an element differs from that of the adjoint.
    """
    found: Any = traceable(operator, hilbert)
    text = " ".join(repr(found).split())
    if isinstance(found, ContinuousOperator):
        if not found.is_hermitian:
            raise ValueError(
                f"{role} must be Hermitian, but {text} is not; check that its coefficients are "
                "real."
            )
        return found
    # Sums of NetKet call themselves Hermitian, whatever their terms.
    is_sum = issubclass(type(found), SumOperator)
    if found.is_hermitian and not is_sum:
        return found
    x = rows(hilbert)
    elements = Elements.of(found, x)
    if len(elements.row) > ELEMENTS:
        some = np.linspace(0, len(elements.row) - 1, ELEMENTS).astype(int)
        elements = Elements(*(part[some] for part in elements))
    back = Elements.of(found, elements.y)
    returns = np.all(back.y == x[elements.row[back.row]], axis=-1)
    transposed = np.zeros_like(elements.value)
    transposed[back.row[returns]] = back.value[returns]
    wrong = np.flatnonzero(np.abs(transposed - elements.value.conj()) > elements.rounding)
    if len(wrong):
        i = wrong[0]
        there, here = elements.value[i], transposed[i]
        raise ValueError(
            f"{role} must be Hermitian, but {text} has <x|A|y> = {there:g} and <y|A|x> = "
            f"{here:g} for x = {x[elements.row[i]].tolist()} and y = {elements.y[i].tolist()}; add "
            "the Hermitian conjugates of its terms (an observable may be any operator)."
        )
    return found


def check_unitary(unitary: Any, adjoint: Any, hilbert: AbstractHilbert) -> None:
    """Refuse operators with <x|U U^+ other than <x|, for all x of small spaces, some of others.

    Args:
        unitary: U, in traceable form.
        adjoint: U^+, in traceable form.
        hilbert: The space.

    Raises:
        ValueError: If there is such a row.
    """
    x = rows(hilbert)
    size = unitary.get_conn_padded(x[:1])[1].size
    x = x[: max(1, PRODUCTS // size**2)]
    elements = Elements.of(unitary, x)
    product = elements @ adjoint
    norms = np.zeros(len(x))
    own = np.all(product.y == x[product.row], axis=-1)
    norms[product.row[own]] = product.value[own].real
    limit = 10 * max(elements.rounding, 1e-7)
    off = np.where(own, 0, np.abs(product.value))
    if np.all(np.abs(norms - 1) < limit) and np.all(off < limit):
        return
    row = int(np.argmax(np.abs(norms - 1)))
    found = f"a row of its matrix has the norm {abs(norms[row]) ** 0.5:g}"
    if np.abs(norms[row] - 1) < limit:
        i = int(np.argmax(off))
        found = (
            f"its rows of {x[product.row[i]].tolist()} and {product.y[i].tolist()} have the "
            f"overlap {product.value[i]:g}"
        )
    raise ValueError(
        f"operator must be unitary, but {found}; norms of other operators are not known from "
        "samples. A rotation by t with A^2 = 1, for example, is cos(t) - 1j * sin(t) * A."
    )

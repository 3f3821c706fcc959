"""Operators on sites with two states each, as sums of flips."""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree
from netket.operator import (
    AbstractOperator,
    LocalOperator,
    LocalOperatorJax,
    PauliStrings,
    PauliStringsJax,
)

from ritz.lattice.local_update import LocalUpdate, TwoStates, local_update

Term = tuple[tuple[int, ...], complex]
"""Sites whose signs are multiplied, and the coefficient."""


@jax.tree_util.register_static
class FlipOperator:
    """<x|H|y> = sum over terms of a coefficient times a product of signs z_s = +1 or -1.

    y is x with some sites flipped; without any for the diagonal. Every operator with finitely many
    terms on two-state sites has this form, that of Pauli strings.

    Args:
        states: The two states of a site.
        terms: Flipped sites -> the terms of the matrix element, as functions of x.
        n_sites: The number of sites.
    """

    def __init__(self, states: TwoStates, terms: dict[tuple[int, ...], list[Term]], n_sites: int):
        self.states = states
        self.n_sites = n_sites
        self._diagonal = terms.get((), [])
        by_size = defaultdict(list)
        for sites, own in sorted(terms.items()):
            if sites:
                by_size[len(sites)].append((sites, own))
        self._groups = [
            (np.array([sites for sites, _ in group]), [own for _, own in group])
            for _, group in sorted(by_size.items())
        ]
        self._key = (states, n_sites, tuple((k, tuple(v)) for k, v in sorted(terms.items())))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlipOperator) and self._key == other._key

    @property
    def n_connected(self) -> int:
        """Number of configurations connected to one, including itself."""
        return 1 + sum(len(flips) for flips, _ in self._groups)

    def local_energies(
        self, update: LocalUpdate, params: PyTree, x: Array
    ) -> Inexact[Array, " n_samples"]:
        """sum_y <x|H|y> psi(y) / psi(x) for each row x."""
        signs = self.states.signs(x).astype(float)
        tables = update.prepare(params)
        cache = update.start(tables, x)
        result = _polynomial(signs, [self._diagonal])[:, 0]
        for flips, terms in self._groups:
            ratios = jnp.exp(update.log_ratios(tables, cache, x, flips))
            result = result + jnp.sum(_polynomial(signs, terms) * ratios, axis=1)
        return result


def _polynomial(signs: Array, terms: list[list[Term]]) -> Array:
    """For each row of signs and each list of terms, the sum of coefficients times products."""
    n_sites, n_out = signs.shape[1], len(terms)
    kind = complex if any(np.iscomplex(c) for own in terms for _, c in own) else float
    constant = np.zeros(n_out, kind)
    products: dict[int, list[tuple[int, tuple[int, ...], complex]]] = defaultdict(list)
    for place, own in enumerate(terms):
        for sites, coefficient in own:
            value = coefficient if kind is complex else np.real(coefficient)
            if sites:
                products[len(sites)].append((place, sites, value))
            else:
                constant[place] += value
    result = jnp.broadcast_to(jnp.asarray(constant), (signs.shape[0], n_out))
    for size, entries in products.items():
        places = np.array([place for place, _, _ in entries])
        weights = np.array([value for _, _, value in entries])
        if size == 2 and n_out == 1:  # one quadratic form: a matrix product
            matrix = np.zeros((n_sites, n_sites), kind)
            np.add.at(matrix, tuple(np.array([sites for _, sites, _ in entries]).T), weights)
            result += jnp.sum((signs @ matrix) * signs, axis=1, keepdims=True)
            continue
        index = np.array([sites for _, sites, _ in entries])
        values = functools.reduce(jnp.multiply, (signs[:, column] for column in index.T))
        spread = np.zeros((len(entries), n_out), kind)
        spread[np.arange(len(entries)), places] = weights
        result += values @ spread
    return result


def flip_operator(operator: AbstractOperator) -> FlipOperator | None:
    """`operator` as a sum of flips; None if that is not possible, or sites have not two states."""
    states = TwoStates.of(operator.hilbert)
    if states is None:
        return None
    terms: dict[tuple[int, ...], dict[tuple[int, ...], complex]] = defaultdict(
        lambda: defaultdict(complex)
    )
    found = _terms(operator)
    if found is None:
        return None
    for flipped, signs, coefficient in found:
        terms[flipped][signs] += coefficient
    largest = max((abs(c) for own in terms.values() for c in own.values()), default=0.0)
    kept = {  # drops remainders of cancelling terms
        flipped: [(signs, c) for signs, c in sorted(own.items()) if abs(c) > 1e-14 * largest]
        for flipped, own in terms.items()
    }
    return FlipOperator(states, {f: own for f, own in kept.items() if own}, operator.hilbert.size)


def _terms(
    operator: AbstractOperator,
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], complex]] | None:
    """Flipped sites, sites of the signs, coefficient."""
    if isinstance(operator, PauliStrings | PauliStringsJax):
        return map(_pauli, operator.operators, operator.weights)
    convert = getattr(operator, "to_local_operator", None)
    try:
        local = operator if convert is None else convert()
    except TypeError:  # NetKet's, of an Ising model without a field
        return None
    return _local_terms(local) if isinstance(local, LocalOperator | LocalOperatorJax) else None


def _pauli(string: str, weight: complex) -> tuple[tuple[int, ...], tuple[int, ...], complex]:
    flipped = tuple(site for site, pauli in enumerate(string) if pauli in "XY")
    signs = tuple(site for site, pauli in enumerate(string) if pauli in "YZ")
    # Y = -i z X, the sign taken before the flip.
    return flipped, signs, complex(weight) * (-1j) ** string.count("Y")


def _local_terms(
    operator: LocalOperator | LocalOperatorJax,
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], complex]]:
    constant: Any = operator.constant
    yield (), (), complex(constant)
    for acting, own in zip(operator.acting_on, operator.operators, strict=True):
        matrix: Any = own
        dense = np.asarray(matrix.todense() if hasattr(matrix, "todense") else matrix)
        yield from _walsh(tuple(int(site) for site in acting), dense)


def _walsh(
    acting: tuple[int, ...], matrix: np.ndarray
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], complex]]:
    """The terms of one matrix on the sites `acting`: flipped sites, signs, coefficient."""
    n = len(acting)
    if matrix.shape != (2**n, 2**n):
        raise ValueError(f"an operator on {n} two-state sites has a matrix {matrix.shape}")
    index = np.arange(2**n)
    bits = (index[:, None] >> np.arange(n)[::-1]) & 1  # the first site is the most significant
    for flip in range(2**n):
        elements = matrix[index, index ^ flip]
        flipped = tuple(sorted(s for s, bit in zip(acting, bits[flip], strict=True) if bit))
        for subset in range(2**n):
            parity = (-1) ** np.sum(bits * bits[subset], axis=1)
            coefficient = complex(np.mean(elements * parity))
            signs = tuple(sorted(s for s, bit in zip(acting, bits[subset], strict=True) if bit))
            yield flipped, signs, coefficient


@dataclasses.dataclass(frozen=True)
class Flips:
    """An operator with a matching local update; static in compiled functions."""

    operator: FlipOperator
    update: LocalUpdate

    def local_energies(self, params: PyTree, x: Array) -> Array:
        """Local energies sum_y <x|H|y> psi(y) / psi(x), shape (n,), for each row x."""
        return self.operator.local_energies(self.update, params, x)


def flips_of(state: Any, operator: AbstractOperator) -> Flips | None:
    """The operator with the local update of a state's model, if there is such a form."""
    states = TwoStates.of(state.hilbert)
    update = None if states is None else local_update(state.model, states)
    found = None if update is None else flip_operator(operator)
    return None if update is None or found is None else Flips(found, update)

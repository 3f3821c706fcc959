"""Moves of the Metropolis samplers, and whether they suit a space."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key
from netket.hilbert import AbstractHilbert, HomogeneousHilbert
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ritz.lattice.space import fixed_sums, inside, is_constrained, some_states

_logger = logging.getLogger(__name__)

_HAMILTONIAN = "netket.sampler.MetropolisHamiltonian(hilbert, hamiltonian=...)"


class SiteMoves(NamedTuple):
    """A random site takes another of its states."""

    n_sites: int
    values: tuple[float, ...]
    """The states of a site."""

    def draw(self, key: Key[Array, ""], n_moves: int, n_chains: int) -> tuple[Array, Array]:
        """For each move the site, and the shift of each chain in the list of states."""
        site_key, shift_key = jax.random.split(key)
        sites = jax.random.randint(site_key, (n_moves, 1), 0, self.n_sites)
        shape = (n_moves, n_chains) if len(self.values) > 2 else (n_moves, 1)
        return sites, jax.random.randint(shift_key, shape, 1, len(self.values))

    def replace(self, old: Array, shift: Array) -> Array:
        """New states of the site for old ones, shape (1, n_chains)."""
        values = jnp.asarray(self.values, old.dtype)
        place = jnp.argmax(old == values[:, None], axis=0)
        return values[(place + shift) % len(self.values)][None]


class SwapMoves(NamedTuple):
    """Two sites of a random pair exchange their states; nothing happens if these are equal."""

    pairs: Int[Array, "n_pairs 2"]

    def draw(self, key: Key[Array, ""], n_moves: int, n_chains: int) -> tuple[Array, Array]:
        """For each move the pair of sites."""
        chosen = jax.random.randint(key, (n_moves,), 0, len(self.pairs))
        return self.pairs[chosen], jnp.zeros((n_moves, 1), int)

    def replace(self, old: Array, shift: Array) -> Array:
        """New states of the sites for old ones, shape (2, n_chains)."""
        return old[::-1]


class TransferMoves(NamedTuple):
    """One quantum passes between the sites of a random pair, if both can change by one.

    The sum stays, and all occupations with that sum are reached, as exchanges of whole states do
    not where a site has more than two: they keep how many sites have each state.
    """

    pairs: Int[Array, "n_pairs 2"]
    values: tuple[float, ...]
    """The states of a site, in equal steps."""

    def draw(self, key: Key[Array, ""], n_moves: int, n_chains: int) -> tuple[Array, Array]:
        """For each move the sites, and the direction in each chain.

        Each chain has a direction of its own: proposals are symmetric given the sites.
        """
        pair_key, direction_key = jax.random.split(key)
        chosen = jax.random.randint(pair_key, (n_moves,), 0, len(self.pairs))
        forward = jax.random.bernoulli(direction_key, shape=(n_moves, n_chains))
        return self.pairs[chosen], jnp.where(forward, 1, -1)

    def replace(self, old: Array, shift: Array) -> Array:
        """New states of the sites for old ones, shape (2, n_chains)."""
        values = jnp.asarray(self.values, old.dtype)
        place = jnp.argmax(old[..., None] == values, axis=-1) + jnp.stack([shift, -shift])
        possible = jnp.all((place >= 0) & (place < len(self.values)), axis=0)
        return jnp.where(possible, values[jnp.clip(place, 0, len(self.values) - 1)], old)


Moves = SiteMoves | SwapMoves | TransferMoves


def check_site_moves(hilbert: AbstractHilbert) -> None:
    """Refuse changes of single sites where they lead out of the space.

    Raises:
        ValueError: If the space is constrained, or a site has infinitely many states.
    """
    if is_constrained(hilbert):
        raise ValueError(
            f"the space {hilbert} is constrained: changes of single sites, which MetropolisLocal "
            "makes, lead out of it; use ritz.lattice.MetropolisExchange(hilbert, graph=...), which "
            f"keeps sums over sites, or {_HAMILTONIAN}."
        )
    if not getattr(hilbert, "is_finite", True):
        raise ValueError(
            f"a site of {hilbert} has infinitely many states, of which none can be chosen at "
            "random; give the space n_max=..., such as Fock(n_max=5, N=4)."
        )


def exchange_transfers(hilbert: HomogeneousHilbert, pairs: ArrayLike) -> bool:
    """Check that exchanges among pairs of sites stay in the space and reach all of it.

    Args:
        hilbert: The space; all sites have the same states.
        pairs: The pairs of sites, shape (n_pairs, 2).

    Returns:
        Whether one quantum has to pass between the sites (`TransferMoves`), because exchanges of
        states (`SwapMoves`) would not reach all of the space.

    Raises:
        ValueError: If they lead out of the space, or do not reach all of it.
    """
    pairs = _checked_pairs(hilbert, pairs)
    sums = fixed_sums(hilbert)
    if sums is None:
        return _transfers_by_trial(hilbert, pairs)
    if not sums:
        _logger.warning(
            "Exchanges between sites of %s keep the number of sites in each state, but the space "
            "has no such constraint: each chain stays in the sector in which it began. Use "
            "MetropolisLocal, or fix the sum in the space, for example total_sz=0.",
            hilbert,
        )
        return False
    group = np.full(hilbert.size, -1)
    for number, (sites, _) in enumerate(sums):
        group[sites] = number
    crossing = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
    if len(crossing):
        raise ValueError(
            f"exchanges between sites {crossing[0][0]} and {crossing[0][1]} lead out of the space "
            f"{hilbert}, in which the sums over {_group_text(sums)} are fixed one by one; give a "
            "graph without edges between these, such as netket.graph.disjoint_union(graph, graph)."
        )
    part = _components(hilbert.size, pairs)
    values: Any = hilbert.local_states
    for sites, total in sums:
        is_single = total in (len(sites) * values[0], len(sites) * values[-1])
        if len(set(part[sites])) > 1 and not is_single:
            raise ValueError(_unreached(hilbert, sites, part))
    return len(values) > 2


def _group_text(sums: list[tuple[list[int], float]]) -> str:
    return ", ".join(f"{sites[0]}-{sites[-1]}" for sites, _ in sums)


def _unreached(hilbert: HomogeneousHilbert, sites: Sequence[int], part: np.ndarray) -> str:
    first = next(int(s) for s in sites if part[s] != part[sites[0]])
    return (
        f"exchanges among the given pairs do not reach all of the space {hilbert}: no path leads "
        f"from site {sites[0]} to site {first}. Give a graph or clusters that connect all sites "
        f"whose sum is fixed, a larger d_max, or use {_HAMILTONIAN}."
    )


def _checked_pairs(hilbert: HomogeneousHilbert, pairs: ArrayLike) -> np.ndarray:
    pairs = np.asarray(pairs)
    good = pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs) > 0
    if not good or pairs.min() < 0 or pairs.max() >= hilbert.size:
        raise ValueError(
            f"pairs of the sites 0 to {hilbert.size - 1} of {hilbert} are needed, but clusters of "
            f"shape {pairs.shape}"
            + (f" with sites up to {pairs.max()}" if pairs.size else "")
            + " were given; the graph must have the sites of the space."
        )
    return pairs


def _components(n_sites: int, pairs: np.ndarray) -> np.ndarray:
    """For each site the number of the part of the graph of `pairs` to which it belongs."""
    edges = coo_array((np.ones(len(pairs)), pairs.T), shape=(n_sites, n_sites))
    return connected_components(edges, directed=False)[1]


def _transfers_by_trial(hilbert: HomogeneousHilbert, pairs: np.ndarray) -> bool:
    """`exchange_transfers` for a constraint of any kind, from random configurations."""
    x = np.asarray(some_states(hilbert, 64))
    place = np.searchsorted(np.asarray(hilbert.local_states), x)
    part = _components(hilbert.size, pairs)
    every = np.random.default_rng(0).permutation(pairs)[:256]
    if _stays(hilbert, place, every, _swap) and _same(place, part, _count_states):
        return False
    is_open = hilbert.local_size > 2 and _stays(hilbert, place, every, _transfer)
    if is_open and _same(place, part, np.sum):
        return True
    raise ValueError(
        f"exchanges between sites lead out of the space {hilbert}, or do not reach all of it, with "
        f"its constraint {hilbert.constraint}; use {_HAMILTONIAN}."
    )


def _swap(place: np.ndarray, i: int, j: int) -> np.ndarray:
    place = place.copy()
    place[:, [i, j]] = place[:, [j, i]]
    return place


def _transfer(place: np.ndarray, i: int, j: int) -> np.ndarray:
    place = place.copy()
    place[:, i] += 1
    place[:, j] -= 1
    return place


def _stays(
    hilbert: HomogeneousHilbert,
    place: np.ndarray,
    pairs: np.ndarray,
    move: Callable[[np.ndarray, int, int], np.ndarray],
) -> bool:
    """Whether a move at any pair, in either direction, keeps configurations in the space."""
    moved = np.concatenate([move(place, i, j) for i, j in (*pairs, *pairs[:, ::-1])])
    moved = moved[np.all((moved >= 0) & (moved < hilbert.local_size), axis=1)]
    return bool(np.all(inside(hilbert, np.asarray(hilbert.local_states)[moved])))


def _count_states(place: np.ndarray) -> tuple[int, ...]:
    return tuple(np.sort(place))


def _same(place: np.ndarray, part: np.ndarray, kept: Callable[[np.ndarray], object]) -> bool:
    """Whether what moves keep in each part of the graph is the same in all configurations."""
    parts = [part == number for number in range(part.max() + 1)]
    return len({tuple(kept(row[own]) for own in parts) for row in place}) == 1

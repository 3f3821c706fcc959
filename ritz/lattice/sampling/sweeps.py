"""Metropolis sampling that is fast on a few cores: random numbers by the sweep, local updates."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, Bool, PyTree
from netket.graph import AbstractGraph
from netket.hilbert import AbstractHilbert
from netket.sampler import MetropolisRule
from netket.sampler.metropolis import MetropolisSamplerState as ChainState
from netket.sampler.rules import ExchangeRule, LocalRule
from netket.utils import struct

from ritz.checks import check_count, check_positive
from ritz.full_precision import in_full_precision
from ritz.lattice.local_update import LocalUpdate, TwoStates, local_update, select
from ritz.lattice.operators import in_chunks
from ritz.lattice.sampling.moves import (
    Moves,
    SiteMoves,
    SwapMoves,
    TransferMoves,
    check_site_moves,
    exchange_transfers,
)

_SWEEPS_TO_LEAVE_ZEROS = 100
"""Largest number of extra sweeps for chains at psi = 0 to leave it."""

_CHAINS = 16
"""Number of chains by default, on all devices together: NetKet has so many on each of them, and so
other samples on several devices than on one."""

Change = Callable[[Array, PyTree, Array, Array, Array], tuple[Array, PyTree]]
"""`(x, cache, sites, old, new) -> (change of the log-probability, new cache)`."""

Sweeping = tuple[ChainState, Array, Array]
"""State, sweeps left to leave zeros, and sweeps done."""


class SweepSampler(nk.sampler.MetropolisSampler):
    """NetKet's Metropolis sampler for single-site and exchange moves, with less work per move.

    All random numbers of a sweep are drawn at once, and models that offer a `LocalUpdate` are not
    evaluated anew at each move. All chains move at the same random sites, chosen independently of
    the configurations, so each chain is a correct Markov chain and chains are independent.

    The distribution is that of NetKet's sampler, the numbers are not. Exchange moves choose among
    all pairs, those of equal sites included (which count as accepted); NetKet's choose among
    unequal pairs and correct for their number, and so lose no moves. Where a site has more than two
    states, one quantum passes between the sites instead (`TransferMoves`).

    A chain that is where psi = 0 walks freely until it leaves; no sample is taken before, in up to
    100 further sweeps.

    Made by `MetropolisLocal` and `MetropolisExchange`; usable wherever NetKet takes a sampler.
    """

    transfers: bool = struct.field(pytree_node=False, default=False)
    """Whether exchange moves are `TransferMoves`."""

    def __init__(self, hilbert: AbstractHilbert, rule: MetropolisRule, **options: Any):
        if type(rule) not in (LocalRule, ExchangeRule) or (
            type(rule) is ExchangeRule and rule.probabilities is not None
        ):
            raise TypeError(
                "rule must be netket's LocalRule(), or an ExchangeRule without probabilities, but "
                f"{rule!r} was given; use netket.sampler.MetropolisSampler for other rules."
            )
        if not isinstance(hilbert, nk.hilbert.HomogeneousHilbert):
            raise TypeError(
                f"all sites must have the same states, but {hilbert!r} was given; use netket's "
                "samplers for other spaces."
            )
        self.transfers = False
        if isinstance(rule, ExchangeRule):
            self.transfers = exchange_transfers(hilbert, rule.clusters)
        else:
            check_site_moves(hilbert)
        check_positive("machine_pow", options.get("machine_pow", 2), or_zero=True)
        for name in ("n_chains", "n_chains_per_rank", "sweep_size"):
            if options.get(name) is not None:
                check_count(name, options[name], 1)
        if options.get("n_chains") is None and options.get("n_chains_per_rank") is None:
            options["n_chains"] = _CHAINS
        super().__init__(hilbert, rule, **options)

    def _moves(self) -> Moves:
        hilbert: Any = self.hilbert
        if isinstance(self.rule, ExchangeRule) and not self.transfers:
            return SwapMoves(self.rule.clusters)
        values = tuple(map(float, hilbert.local_states))
        if self.transfers:
            return TransferMoves(self.rule.clusters, values)  # pyright: ignore
        return SiteMoves(hilbert.size, values)

    @partial(jax.jit, static_argnames=("machine", "chain_length", "return_log_probabilities"))
    @in_full_precision
    def _sample_chain(
        self,
        machine: Any,
        parameters: PyTree,
        state: ChainState,
        chain_length: int,
        return_log_probabilities: bool = False,
    ) -> Any:
        states = TwoStates.of(self.hilbert)
        update = None if states is None else local_update(machine, states)
        evaluate = partial(self._evaluate_sweep, machine, parameters)
        n_spare = jnp.asarray(_SWEEPS_TO_LEAVE_ZEROS)
        if update is None:

            def advance(state: ChainState, n_spare: Array) -> tuple[ChainState, Array]:
                return _leave_zeros(evaluate, state, n_spare, at_least=1)

        else:
            sweep = partial(self._update_sweep, update, update.prepare(parameters["params"]))
            if update.has_zeros:  # ratios to psi = 0 are not defined: amplitudes are needed
                state, n_spare = _leave_zeros(evaluate, state, n_spare, at_least=0)

            def advance(state: ChainState, n_spare: Array) -> tuple[ChainState, Array]:
                return sweep(state), n_spare

        def one(
            walk: tuple[ChainState, Array], _: None
        ) -> tuple[tuple[ChainState, Array], tuple[Array, Array]]:
            state, n_spare = advance(*walk)
            return (state, n_spare), (state.σ, state.log_prob)

        (state, _), (samples, log_prob) = jax.lax.scan(
            one, (state, n_spare), None, length=chain_length
        )
        if update is not None:
            state = state.replace(log_prob=self._log_prob(machine, parameters, state.σ))
        samples = jnp.swapaxes(samples, 0, 1)
        if not return_log_probabilities:
            return samples, state
        if update is not None:
            flat = samples.reshape(-1, samples.shape[-1])
            log_prob = self._log_prob(machine, parameters, flat).reshape(samples.shape[:2])
        else:
            log_prob = jnp.swapaxes(log_prob, 0, 1)
        return (samples, log_prob), state

    def _log_prob(self, machine: Any, parameters: PyTree, x: Array) -> Array:
        def evaluate(x: Array) -> Array:
            return self._power_of(machine.apply(parameters, x))

        return in_chunks(evaluate, x, self.chunk_size)

    def _power_of(self, log_psi: Array) -> Array:
        """The logarithm of |psi|^machine_pow, in the precision of log psi."""
        real = jnp.real(log_psi)
        return jnp.asarray(self.machine_pow, real.dtype) * real

    def _draw(self, state: ChainState, moves: Moves) -> tuple[Array, tuple[Array, ...]]:
        """Random numbers of a sweep: the new key, moves, and logarithms of uniform numbers."""
        key, move_key, accept_key = jax.random.split(state.rng, 3)
        drawn = moves.draw(move_key, self.sweep_size, self.n_batches)
        shape, real = (self.sweep_size, self.n_batches), state.log_prob.dtype
        return key, (*drawn, -jax.random.exponential(accept_key, shape, real))

    def _sweep(
        self,
        start: Callable[[ChainState], PyTree],
        change: Change,
        state: ChainState,
    ) -> tuple[ChainState, PyTree]:
        """One sweep of all chains.

        Args:
            start: `state -> cache` of the configurations before the sweep.
            change: `(x, cache, sites, old, new) -> (change of the log-probability, new cache)`, for
                configurations `x` of shape (n_sites, n_chains) and the states of `sites` in them.
            state: The sampler's state.

        Returns:
            The state, of which `log_prob` is still the old one, and the cache.
        """
        moves = self._moves()
        key, numbers = self._draw(state, moves)

        def move(
            walk: tuple[Array, PyTree, Array], numbers: tuple[Array, ...]
        ) -> tuple[tuple[Array, PyTree, Array], None]:
            x, cache, n_accepted = walk
            sites, shift, log_uniform = numbers
            old = x[sites]
            new = moves.replace(old, shift)
            log_ratio, new_cache = change(x, cache, sites, old, new)
            same = jnp.all(new == old, axis=0)
            accepted = (log_uniform < log_ratio) | same
            x = x.at[sites].set(jnp.where(accepted, new, old))
            return (x, select(accepted & ~same, new_cache, cache), n_accepted + accepted), None

        walk = (state.σ.T, start(state), jnp.zeros_like(state.n_accepted_proc))
        (x, cache, n_accepted), _ = jax.lax.scan(move, walk, numbers)
        state = state.replace(
            σ=x.T,
            rng=key,
            n_accepted_proc=state.n_accepted_proc + n_accepted,
            n_steps_proc=state.n_steps_proc + self.sweep_size * self.n_batches,
        )
        return state, cache

    def _update_sweep(self, update: LocalUpdate, tables: PyTree, state: ChainState) -> ChainState:
        def change(
            x: Array, cache: PyTree, sites: Array, old: Array, new: Array
        ) -> tuple[Array, PyTree]:
            log_ratio, new_cache = update.log_ratio(tables, cache, old, sites)
            return self._power_of(log_ratio), new_cache

        return self._sweep(lambda state: update.start(tables, state.σ), change, state)[0]

    def _evaluate_sweep(self, machine: Any, parameters: PyTree, state: ChainState) -> ChainState:
        def change(
            x: Array, log_prob: Array, sites: Array, old: Array, new: Array
        ) -> tuple[Array, Array]:
            new_log_prob = self._log_prob(machine, parameters, x.at[sites].set(new).T)
            # From where psi = 0 (or has no value) any move is taken.
            log_ratio = jnp.where(_at_zero(log_prob), jnp.inf, new_log_prob - log_prob)
            return log_ratio, new_log_prob

        state, log_prob = self._sweep(lambda state: state.log_prob, change, state)
        return state.replace(log_prob=log_prob)


def _at_zero(log_prob: Array) -> Bool[Array, " n_chains"]:
    """Whether psi is zero or NaN."""
    return ~(log_prob > -jnp.inf)


def _leave_zeros(
    sweep: Callable[[ChainState], ChainState],
    state: ChainState,
    n_spare: Array,
    at_least: int,
) -> tuple[ChainState, Array]:
    """Sweep `at_least` times, and further until no chain is where psi = 0, at most `n_spare` times.

    Returns:
        The state, and the remaining part of `n_spare`.
    """

    def is_on(walk: Sweeping) -> Array:
        state, n_spare, n_done = walk
        lost = jnp.any(_at_zero(state.log_prob)) & ~jnp.all(jnp.isnan(state.log_prob))
        return (n_done < at_least) | (lost & (n_spare > 0))

    def go_on(walk: Sweeping) -> Sweeping:
        state, n_spare, n_done = walk
        return sweep(state), n_spare - (n_done >= at_least), n_done + 1

    state, n_spare, _ = jax.lax.while_loop(is_on, go_on, (state, n_spare, jnp.zeros((), int)))
    return state, n_spare


def MetropolisLocal(hilbert: AbstractHilbert, **options: Any) -> SweepSampler:
    """A sampler in which a random site takes another of its states.

    Args:
        hilbert: The space; without a constraint.
        **options: Those of `netket.sampler.MetropolisSampler`: `n_chains`, `sweep_size`, ...

    Raises:
        ValueError: If the space is constrained, or a site has infinitely many states.
    """
    return SweepSampler(hilbert, LocalRule(), **options)


def MetropolisExchange(
    hilbert: AbstractHilbert,
    *,
    graph: AbstractGraph | None = None,
    clusters: Any = None,
    d_max: int = 1,
    **options: Any,
) -> SweepSampler:
    """A sampler in which two sites exchange their states, which keeps their sum.

    Where a site has more than two states, as for bosons, one quantum passes between the sites: so
    all configurations of one sum are reached.

    Args:
        hilbert: The space.
        graph: Its sites; those at most `d_max` steps apart are exchanged.
        clusters: Pairs of sites, shape (n, 2), instead of a graph.
        d_max: See `graph`.
        **options: Those of `netket.sampler.MetropolisSampler`: `n_chains`, `sweep_size`, ...

    Raises:
        ValueError: If exchanges lead out of the space (between spin components of fermions, whose
            numbers are fixed one by one), or if the pairs do not connect all of it.
    """
    return SweepSampler(
        hilbert, ExchangeRule(clusters=clusters, graph=graph, d_max=d_max), **options
    )

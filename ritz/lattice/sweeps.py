"""Metropolis sampling that is fast on a few cores: random numbers by the sweep, local updates."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, Int, Key, PyTree
from netket.sampler.rules import ExchangeRule, LocalRule

from ritz.lattice.local_update import LocalUpdate, TwoStates, local_update, select
from ritz.lattice.operators import in_chunks


class SiteMoves(NamedTuple):
    """A random site takes another of its states."""

    n_sites: int
    values: tuple[float, ...]
    """The states of a site."""

    def draw(self, key: Key[Array, ""], n_moves: int, n_chains: int) -> Any:
        """For each move the site, and by how many places each chain goes on in the states."""
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

    def draw(self, key: Key[Array, ""], n_moves: int, n_chains: int) -> Any:
        """For each move the sites, and nothing else."""
        chosen = jax.random.randint(key, (n_moves,), 0, len(self.pairs))
        return self.pairs[chosen], jnp.zeros((n_moves, 1), int)

    def replace(self, old: Array, shift: Array) -> Array:
        """New states of the sites for old ones, shape (2, n_chains)."""
        return old[::-1]


Moves = SiteMoves | SwapMoves


class SweepSampler(nk.sampler.MetropolisSampler):
    """NetKet's Metropolis sampler, for single-site and exchange moves, with less work a move.

    All random numbers of a sweep are drawn at once, and models that offer a `LocalUpdate` are not
    evaluated anew at each move. All chains move at the same random sites: which, does not depend
    on them, so each chain is what it would be alone, and they are independent of one another.

    The distribution is that of NetKet's sampler, the numbers are not. Exchange moves choose among
    all pairs, those of equal sites included (which count as accepted); NetKet's choose among
    unequal pairs and correct for their number, and so lose no moves.

    Made by `MetropolisLocal` and `MetropolisExchange`; usable wherever NetKet takes a sampler.
    """

    def __init__(self, hilbert: Any, rule: Any, **options: Any):
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
        super().__init__(hilbert, rule, **options)

    def _moves(self) -> Moves:
        if isinstance(self.rule, ExchangeRule):
            return SwapMoves(self.rule.clusters)
        hilbert: Any = self.hilbert
        return SiteMoves(hilbert.size, tuple(map(float, hilbert.local_states)))

    @partial(jax.jit, static_argnames=("machine", "chain_length", "return_log_probabilities"))
    def _sample_chain(
        self,
        machine: Any,
        parameters: PyTree,
        state: Any,
        chain_length: int,
        return_log_probabilities: bool = False,
    ) -> Any:
        states = TwoStates.of(self.hilbert)
        update = None if states is None else local_update(machine, states)
        if states is None or update is None:
            sweep = partial(self._evaluate_sweep, machine, parameters)
        else:
            sweep = partial(self._update_sweep, update, update.prepare(parameters["params"]))

        def one(state: Any, _: None) -> Any:
            state = sweep(state)
            return state, (state.σ, state.log_prob)

        state, (samples, log_prob) = jax.lax.scan(one, state, None, length=chain_length)
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
            return self.machine_pow * machine.apply(parameters, x).real

        return in_chunks(evaluate, x, self.chunk_size)

    def _draw(self, state: Any, moves: Moves) -> Any:
        """Random numbers of a sweep: the new key, moves, and logarithms of uniform numbers."""
        key, move_key, accept_key = jax.random.split(state.rng, 3)
        drawn = moves.draw(move_key, self.sweep_size, self.n_batches)
        shape, real = (self.sweep_size, self.n_batches), state.log_prob.dtype
        return key, (*drawn, -jax.random.exponential(accept_key, shape, real))

    def _sweep(self, start: Any, change: Any, state: Any) -> tuple[Any, Any]:
        """One sweep of all chains.

        Args:
            start: `state -> cache`, what is known of the configurations before the sweep.
            change: `(x, cache, sites, old, new) -> (change of the log-probability, new cache)`, for
                configurations `x` of shape (n_sites, n_chains) and the states of `sites` in them.
            state: The sampler's state.

        Returns:
            The state, of which `log_prob` is still the old one, and the cache.
        """
        moves = self._moves()
        key, numbers = self._draw(state, moves)

        def move(walk: Any, numbers: Any) -> tuple[Any, None]:
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

    def _update_sweep(self, update: LocalUpdate, tables: Any, state: Any) -> Any:
        def change(x: Array, cache: Any, sites: Array, old: Array, new: Array) -> Any:
            log_ratio, new_cache = update.log_ratio(tables, cache, old, sites)
            return self.machine_pow * jnp.real(log_ratio), new_cache

        return self._sweep(lambda state: update.start(tables, state.σ), change, state)[0]

    def _evaluate_sweep(self, machine: Any, parameters: PyTree, state: Any) -> Any:
        def change(x: Array, log_prob: Array, sites: Array, old: Array, new: Array) -> Any:
            new_log_prob = self._log_prob(machine, parameters, x.at[sites].set(new).T)
            return new_log_prob - log_prob, new_log_prob

        state, log_prob = self._sweep(lambda state: state.log_prob, change, state)
        return state.replace(log_prob=log_prob)


def MetropolisLocal(hilbert: Any, **options: Any) -> SweepSampler:
    """A sampler in which a random site takes another of its states.

    Args:
        hilbert: The space; without a constraint.
        **options: Those of `netket.sampler.MetropolisSampler`: `n_chains`, `sweep_size`, ...
    """
    return SweepSampler(hilbert, LocalRule(), **options)


def MetropolisExchange(
    hilbert: Any, *, graph: Any = None, clusters: Any = None, d_max: int = 1, **options: Any
) -> SweepSampler:
    """A sampler in which two sites exchange their states, which keeps their sum.

    Args:
        hilbert: The space.
        graph: Its sites; those at most `d_max` steps apart are exchanged.
        clusters: Pairs of sites, shape (n, 2), instead of a graph.
        d_max: See `graph`.
        **options: Those of `netket.sampler.MetropolisSampler`: `n_chains`, `sweep_size`, ...
    """
    return SweepSampler(
        hilbert, ExchangeRule(clusters=clusters, graph=graph, d_max=d_max), **options
    )


def mc_state(
    model: Any,
    hilbert: Any,
    *,
    n_samples: int = 1024,
    graph: Any = None,
    sweep_size: int | None = None,
    n_discard_per_chain: int = 0,
    **options: Any,
) -> nk.vqs.MCState:
    """NetKet's `MCState` with one chain a sample, all of which move on together.

    A chain moves by one sweep a step, instead of many chains' worth of moves one after another:
    that many times fewer operations follow on one another, which is what takes the time. The
    chains follow the wave function from step to step, so the first steps of an optimisation are
    best damped, and `sweep_size` raised where moves are rarely accepted.

    Args:
        model: A model of NetKet or flax.
        hilbert: The space. In a constrained one, sites of `graph` are exchanged; in others, single
            sites change.
        n_samples: The number of samples, and of chains.
        graph: The sites of a constrained space.
        sweep_size: Moves between two samples; by default the number of sites.
        n_discard_per_chain: Sweeps thrown away at each step.
        **options: Those of `netket.vqs.MCState`: `seed`, `chunk_size`, ...

    Raises:
        ValueError: If the space is constrained, and no graph was given or exchanging states does
            not reach all of it.
    """
    sizes = {"n_chains": n_samples, "sweep_size": sweep_size}
    if hilbert.constrained:
        if graph is None or TwoStates.of(hilbert) is None:
            raise ValueError(
                f"the space {hilbert} is constrained: with two states a site, give graph=..., and "
                "sites are exchanged; with more, exchanges do not reach all of it, so make the "
                "MCState with a sampler of netket, such as MetropolisHamiltonian."
            )
        sampler = MetropolisExchange(hilbert, graph=graph, **sizes)
    else:
        sampler = MetropolisLocal(hilbert, **sizes)
    return nk.vqs.MCState(
        sampler, model, n_samples=n_samples, n_discard_per_chain=n_discard_per_chain, **options
    )

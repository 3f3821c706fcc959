"""Checks that a sampler suits its space, before and after it has drawn its first samples."""

import jax
import netket as nk
import numpy as np
from jax import Array
from jaxtyping import PyTree
from netket.sampler import Sampler, SamplerState
from netket.sampler.rules import ExchangeRule, LocalRule

from ritz.driver.processes.consensus import agree
from ritz.lattice.sampling.moves import check_site_moves, exchange_transfers
from ritz.lattice.sampling.sweeps import SweepSampler
from ritz.lattice.space import inside
from ritz.wording import counted


def check_sampler(sampler: Sampler) -> None:
    """Refuse one of NetKet's samplers that is known not to suit its space or several devices.

    Ritz's own samplers check that when they are made.

    Raises:
        ValueError: With what to use instead.
    """
    rule, hilbert = getattr(sampler, "rule", None), sampler.hilbert
    if isinstance(sampler, SweepSampler):
        return
    if isinstance(sampler, nk.sampler.MetropolisNumpy) and jax.device_count() > 1:
        raise ValueError(
            f"{_name(sampler)} keeps its chains in NumPy, and {jax.device_count()} devices cannot "
            "share them; use a compiled sampler, such as ritz.lattice.MetropolisLocal or "
            "netket.sampler.MetropolisHamiltonian, or one device."
        )
    if type(rule) is LocalRule:
        check_site_moves(hilbert)
    if (
        type(rule) is ExchangeRule
        and isinstance(hilbert, nk.hilbert.HomogeneousHilbert)
        and exchange_transfers(hilbert, rule.clusters)
    ):
        raise ValueError(
            f"netket's exchanges keep the number of sites in each of the {hilbert.local_size} "
            f"states of a site, and so do not reach all of the space {hilbert}; use "
            "ritz.lattice.MetropolisExchange, which passes one quantum between sites."
        )


def check_configurations(sampler: Sampler, x: PyTree, what: str, drawn: bool) -> None:
    """Refuse configurations that do not belong to the sampler's space.

    Args:
        sampler: The sampler.
        x: Configurations, sites on the last axis.
        what: Their name in messages.
        drawn: Whether the sampler has drawn them.

    Raises:
        ValueError: If any configuration on any process does not belong to it.
    """
    hilbert = sampler.hilbert
    rows = _on_this_process(x)
    wrong_shape = rows.ndim < 2 or rows.shape[-1] != hilbert.size
    outside = np.zeros(0, bool) if wrong_shape else ~inside(hilbert, rows).ravel()
    if not agree(wrong_shape or outside.any()):
        return
    if wrong_shape:
        raise ValueError(
            f"{what} must have {hilbert.size} sites on the last of two or more axes, as {hilbert} "
            f"has, but the shape {rows.shape} was given."
        )
    if not outside.any():
        raise ValueError(f"{what} on another process lie outside of {hilbert}.")
    example = rows.reshape(-1, hilbert.size)[outside.argmax()].tolist()
    advice = (
        f"The moves of {_name(sampler)} lead out of the space: use "
        "ritz.lattice.MetropolisExchange(hilbert, graph=...), which keeps sums over sites, or "
        "netket.sampler.MetropolisHamiltonian(hilbert, hamiltonian=...)."
        if drawn
        else f"Take configurations of the space, such as hilbert.random_state(key, {len(rows)})."
    )
    raise ValueError(
        f"{outside.sum()} of {outside.size} {what} lie outside of {hilbert}, for example "
        f"{example}. {advice}"
    )


def check_initial(sampler: Sampler, sampler_state: SamplerState) -> None:
    """Refuse chains that begin outside of the space, or of which there are too few or too many.

    Raises:
        ValueError: If there are such.
    """
    x = getattr(sampler_state, "σ", None)
    if x is None or getattr(sampler, "reset_chains", False):
        return
    wanted = (getattr(sampler, "n_batches", None), sampler.hilbert.size)
    plain = type(sampler) in (nk.sampler.MetropolisSampler, SweepSampler)
    if plain and tuple(x.shape) != wanted:
        raise ValueError(
            f"the state of {_name(sampler)} must hold one configuration a chain, shape {wanted}, "
            f"but it has the shape {tuple(x.shape)}."
        )
    check_configurations(sampler, x, "configurations with which chains begin", False)


def check_drawn(sampler: Sampler, sampler_state: SamplerState) -> None:
    """Refuse chains that have left the space, or have stayed where psi = 0.

    Raises:
        ValueError: If there are such.
    """
    x = getattr(sampler_state, "σ", None)
    if x is not None:
        check_configurations(sampler, x, "configurations of the chains", True)
    log_prob = getattr(sampler_state, "log_prob", None)
    if log_prob is None:
        return
    at_zero = np.isneginf(_on_this_process(log_prob))
    if agree(at_zero.any()):
        raise ValueError(
            f"of {counted(at_zero.size, 'chain')} of {_name(sampler)} {at_zero.sum()} began where "
            "psi = 0 and found no way out: local energies do not exist there. Use "
            "ritz.lattice.MetropolisLocal or MetropolisExchange, whose chains walk freely until "
            "they leave, raise sweep_size, or begin with other configurations: "
            "state.sampler_state = state.sampler_state.replace(σ=...)."
        )


def _name(sampler: Sampler) -> str:
    rule = getattr(sampler, "rule", None)
    return type(sampler).__name__ + (f"({rule})" if rule is not None else "")


def _on_this_process(x: Array) -> np.ndarray:
    """The rows of `x` that this process holds."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        shards = {str(shard.index): shard.data for shard in x.addressable_shards}
        return np.concatenate([np.asarray(data) for data in shards.values()])
    return np.asarray(x)

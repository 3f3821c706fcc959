"""States of NetKet with one chain a sample."""

import inspect
from typing import Any

import jax
import netket as nk
from netket.graph import AbstractGraph
from netket.hilbert import AbstractHilbert

from ritz.checks import check_count
from ritz.lattice.sampling.sweeps import MetropolisExchange, MetropolisLocal
from ritz.lattice.space import is_constrained


def mc_state(
    model: Any,
    hilbert: AbstractHilbert,
    *,
    n_samples: int = 1024,
    graph: AbstractGraph | None = None,
    sweep_size: int | None = None,
    n_discard_per_chain: int = 0,
    machine_pow: float = 2.0,
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
        machine_pow: The power a of |psi|^a that is sampled. Samples of another than 2 get the
            weights |psi|^(2 - a) in the drivers of Ritz, but not in NetKet's `expect`.
        **options: Those of `netket.vqs.MCState`: `seed`, `chunk_size`, ...

    Raises:
        TypeError: If the model is a class, a function or a space.
        ValueError: If the space is constrained, and no graph was given or exchanging states does
            not reach all of it; or if `n_samples` cannot be shared by the devices.
    """
    if isinstance(model, type) or inspect.isfunction(model):
        raise TypeError(
            f"model must be a module, such as netket.models.RBM(alpha=1), but {model!r} was given; "
            "for a function (variables, samples) -> log psi make netket.vqs.MCState(sampler, "
            "apply_fun=..., variables=...)."
        )
    if isinstance(model, AbstractHilbert):
        raise TypeError(
            f"model must be a module, but the space {model} was given: the model comes first, "
            "mc_state(model, hilbert)."
        )
    sizes: Any = {"n_chains": n_samples, "sweep_size": sweep_size, "machine_pow": machine_pow}
    n_devices = jax.device_count() if nk.config.netket_sharding else 1
    if check_count("n_samples", n_samples, 1) % n_devices:
        most = -(-n_samples // n_devices) * n_devices
        raise ValueError(
            f"n_samples={n_samples} cannot be shared equally by {n_devices} devices, one chain a "
            f"sample; give {most}, for example."
        )
    check_count("n_discard_per_chain", n_discard_per_chain, 0)
    if graph is None and is_constrained(hilbert):
        raise ValueError(
            f"the space {hilbert} is constrained: to exchange states between sites, give "
            "graph=...; or make the MCState with a sampler of netket, such as "
            "MetropolisHamiltonian."
        )
    if is_constrained(hilbert):
        sampler = MetropolisExchange(hilbert, graph=graph, **sizes)
    else:
        sampler = MetropolisLocal(hilbert, **sizes)
    return nk.vqs.MCState(
        sampler, model, n_samples=n_samples, n_discard_per_chain=n_discard_per_chain, **options
    )

"""NetKet's samplers inside of compiled programs."""

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jax.sharding import AxisType, Mesh
from jaxtyping import Array, PyTree
from netket.sampler import Sampler, SamplerState

from ritz.driver import Kernel
from ritz.full_precision import in_full_precision
from ritz.lattice.sampling.sweeps import SweepSampler

Carry = TypeVar("Carry")

_logger = logging.getLogger(__name__)

_COMPILED = (nk.sampler.MetropolisSampler, nk.sampler.ARDirectSampler, SweepSampler)


def samples_compiled(state: nk.vqs.MCState) -> bool:
    """Whether the sampler of `state` can be used inside a compiled program.

    Most can. Exact samplers and those of NumPy cannot: the state draws their samples itself.
    """
    sampler: Sampler = state.sampler
    if type(sampler) in _COMPILED:
        return True

    def draw(variables: PyTree, sampler_state: SamplerState) -> tuple[Array, SamplerState]:
        sampler_state = sampler.reset(state._sampler_model, variables, sampler_state)
        return sampler.sample(state._sampler_model, variables, state=sampler_state, chain_length=1)

    try:
        with _quiet():
            jax.eval_shape(draw, state.variables, state.sampler_state)
    except (jax.errors.JAXTypeError, AttributeError, TypeError, ValueError) as error:
        _logger.info("%s samples outside of compiled programs: %s", type(sampler).__name__, error)
        return False
    return True


@functools.cache
def sampling_mesh() -> Mesh | None:
    """The devices among which NetKet divides samples; None if there is one, or if it does not."""
    if jax.device_count() == 1 or not nk.config.netket_sharding:
        return None
    return Mesh(np.asarray(jax.devices()), ("S",), axis_types=(AxisType.Auto,))


@functools.partial(jax.jit, static_argnums=2)
@in_full_precision
def burnt_in(kernel: Kernel, carry: Carry, n_steps: int) -> Carry:
    """The carry after the samples of `n_steps` steps were drawn and thrown away."""
    return jax.lax.fori_loop(0, n_steps, lambda _, carry: kernel.sample(carry)[0], carry)


@in_full_precision
def draw(state: nk.vqs.MCState) -> None:
    """Draw fresh samples of a state, outside of compiled programs of Ritz."""
    with _quiet():
        samples = state.sample()
    state._samples = with_chains(state.sampler, samples)


def with_chains(sampler: Sampler, samples: Array) -> Array:
    """Samples with chains along their first axis: a single one if the sampler is direct.

    NetKet gives those of direct samplers a chain for each device, so that error bars would depend
    on their number.
    """
    return samples.reshape(1, -1, samples.shape[-1]) if is_direct(sampler) else samples


def is_direct(sampler: Sampler) -> bool:
    """Whether a sampler draws independent samples, without chains."""
    return bool(getattr(sampler, "is_exact", False))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without NetKet's warning of chains that are not divided among devices.

    It looks for chains where samplers have none, or keep them on the host.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is not sharded across devices even though.*")
        yield


def in_double(leaf: Array) -> Array:
    """An array with floating-point numbers in double precision; anything else as it is."""
    is_float = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(float) if is_float else leaf

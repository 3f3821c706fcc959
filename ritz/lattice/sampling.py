"""Which of NetKet's samplers work inside compiled programs."""

import logging
from typing import Any

import jax
import netket as nk

from ritz.lattice.sweeps import SweepSampler

_logger = logging.getLogger(__name__)

_COMPILED = (nk.sampler.MetropolisSampler, nk.sampler.ARDirectSampler, SweepSampler)


def samples_compiled(state: nk.vqs.MCState) -> bool:
    """Whether the sampler of `state` can be used inside a compiled program.

    Most can. Exact samplers and those of NumPy cannot: the state draws their samples itself.
    """
    sampler: Any = state.sampler
    if type(sampler) in _COMPILED:
        return True

    def draw(variables: Any, sampler_state: Any) -> Any:
        sampler_state = sampler.reset(state._sampler_model, variables, sampler_state)
        return sampler.sample(state._sampler_model, variables, state=sampler_state, chain_length=1)

    try:
        jax.eval_shape(draw, state.variables, state.sampler_state)
    except (jax.errors.JAXTypeError, AttributeError, TypeError, ValueError) as error:
        _logger.info("%s samples outside of compiled programs: %s", type(sampler).__name__, error)
        return False
    return True

"""Samplers of continuous coordinates: Markov chains with the density |psi|^2, free of side effects.

They know nothing of molecules: log psi is any function of arrays of positions.
"""

from ritz.samplers.base import BURNING_IN as BURNING_IN
from ritz.samplers.base import FIXED as FIXED
from ritz.samplers.base import RUNNING as RUNNING
from ritz.samplers.base import AbstractSampler as AbstractSampler
from ritz.samplers.base import SamplerState as SamplerState
from ritz.samplers.mala import MALA as MALA
from ritz.samplers.metropolis import Metropolis as Metropolis
from ritz.samplers.one_particle import OneParticle as OneParticle
from ritz.samplers.one_particle import OneParticleUpdate as OneParticleUpdate

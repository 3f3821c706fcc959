"""A committee of pair potentials, which compiles fast."""

import jax
import jax.numpy as jnp

from ritz.potentials.committee import AbstractCommittee, Spread
from ritz.relax import LennardJones
from tests.relax.systems import ARGON

SIGMAS = (3.37, 3.4, 3.45)


class PairCommittee(AbstractCommittee):
    """Members differ in the length sigma of Lennard-Jones."""

    def __init__(self, sigmas=SIGMAS, error_factors=(1.0, 1.0)):
        each = [LennardJones(ARGON["epsilon"], sigma, 6.0, 5.0) for sigma in sigmas]
        self.params = {
            "members": jax.tree.map(lambda *x: jnp.stack([jnp.asarray(one) for one in x]), *each),
            "error_factors": jnp.array(error_factors),
        }
        self.cutoff = each[0].cutoff

    @property
    def members(self):
        return self.params["members"]

    @property
    def error_factors(self):
        return Spread(*self.params["error_factors"])


def members(sigmas=SIGMAS):
    return [LennardJones(ARGON["epsilon"], sigma, 6.0, 5.0) for sigma in sigmas]

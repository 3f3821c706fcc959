"""Direct sampling of autoregressive models in spaces with fixed sums."""

from typing import Any

import netket as nk
from netket.hilbert import AbstractHilbert

from ritz.lattice.space import fixed_sums


class ARDirectSampler(nk.sampler.ARDirectSampler):
    """NetKet's sampler of autoregressive models, also for spaces with fixed sums.

    There the model must keep the sums, as `ritz.lattice.models.FixedSumARNN` does. Samples are
    independent, so that no chain needs to equilibrate; usable wherever NetKet takes a sampler.

    Args:
        hilbert: The space.
        dtype: Type of the samples.

    Raises:
        ValueError: If the space has constraints other than fixed sums.
    """

    def __init__(self, hilbert: AbstractHilbert, dtype: Any = None):
        if fixed_sums(hilbert) is None:
            raise ValueError(
                f"the constraint of {hilbert} is no fixed sum over sites, which is what an "
                "autoregressive model can keep; use netket.sampler.MetropolisHamiltonian."
            )
        # NetKet's constructor refuses any constraint.
        nk.sampler.Sampler.__init__(self, hilbert, machine_pow=2, dtype=dtype)
        self.machine_pow = float(self.machine_pow)

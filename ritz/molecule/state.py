"""The state of electrons in a molecule: parameters and walkers."""

import dataclasses

from jaxtyping import Array, Float, PyTree

from ritz.molecule.molecule import Molecule
from ritz.molecule.wavefunction import LogPsi
from ritz.samplers import SamplerState


@dataclasses.dataclass
class ElectronState:
    """A wave function with its parameters, and walkers that sample it."""

    molecule: Molecule
    wavefunction: LogPsi
    parameters: PyTree
    sampler_state: SamplerState
    nuclei: Float[Array, "n_nuclei 3"] | None = None
    """Where the nuclei are, in bohr, if they move; None for where the molecule has them."""

    @property
    def electrons(self) -> Float[Array, "n_walkers n_electrons 3"]:
        """Where the walkers are, in bohr; electrons with spin up first."""
        return self.sampler_state.positions

    @property
    def n_walkers(self) -> int:
        """Number of walkers, each of which gives one sample a step."""
        return self.electrons.shape[0]

    def log_psi(self, electrons: Float[Array, "n n_electrons 3"]) -> Array:
        """Log psi of configurations at the present parameters."""
        return self.present_wavefunction(self.parameters, electrons)

    @property
    def present_wavefunction(self) -> LogPsi:
        """The wave function with the nuclei where they are now."""
        if self.nuclei is None:
            return self.wavefunction
        return self.wavefunction.with_nuclei(self.nuclei)

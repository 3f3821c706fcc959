"""The state of electrons in a molecule: parameters and walkers."""

import dataclasses

from jaxtyping import Array, Float, PyTree

from ritz.checks import check_count
from ritz.molecule.molecule import Molecule
from ritz.molecule.multistate.stacking import over_states, state_of
from ritz.molecule.wavefunction import LogPsi
from ritz.samplers import SamplerState


@dataclasses.dataclass
class ElectronState:
    """A wave function with its parameters, and walkers that sample it.

    Of several states, the arrays of parameters and walkers have the states along their first axis.
    """

    molecule: Molecule
    wavefunction: LogPsi
    parameters: PyTree
    sampler_state: SamplerState
    n_states: int = 1
    nuclei: Float[Array, "n_nuclei 3"] | None = None
    """Where the nuclei are, in bohr, if they move; None for where the molecule has them."""

    @property
    def electrons(self) -> Float[Array, "*n_states n_walkers n_electrons 3"]:
        """Where the walkers are, in bohr; electrons with spin up first."""
        return self.sampler_state.positions

    @property
    def n_walkers(self) -> int:
        """Number of walkers of each state, each of which gives one sample a step."""
        return self.electrons.shape[-3]

    def of_state(self, state: int) -> "ElectronState":
        """One of several states, with its parameters and walkers.

        Args:
            state: Its number, from 0.

        Raises:
            ValueError: If there is no such state.
        """
        check_count("state", state, 0)
        if state >= self.n_states:
            raise ValueError(
                f"state must be a number from 0 to {self.n_states - 1}, but {state!r} was given."
            )
        if self.n_states == 1:
            return self
        params, sampler_state = state_of((self.parameters, self.sampler_state), state)
        return ElectronState(
            self.molecule, self.wavefunction, params, sampler_state, nuclei=self.nuclei
        )

    def log_psi(self, electrons: Float[Array, "n n_electrons 3"]) -> Array:
        """Log psi of configurations at the present parameters; of several states, of each."""
        log_psi = self.present_wavefunction
        if self.n_states == 1:
            return log_psi(self.parameters, electrons)
        return over_states(lambda params: log_psi(params, electrons), self.parameters)

    @property
    def present_wavefunction(self) -> LogPsi:
        """The wave function with the nuclei where they are now."""
        if self.nuclei is None:
            return self.wavefunction
        return self.wavefunction.with_nuclei(self.nuclei)

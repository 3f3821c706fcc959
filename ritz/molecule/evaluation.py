"""Expectation values of molecules at fixed parameters."""

from collections.abc import Mapping
from typing import ClassVar

import jax
from flax import linen as nn
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.processes.division import on_host
from ritz.driver.signatures import suggests_names
from ritz.estimators.chain_moments import ChainMoments
from ritz.estimators.evaluation import EvaluationKernel
from ritz.molecule.driver import ENERGY, MoleculeDriver
from ritz.molecule.kernel import EvaluationCarry
from ritz.molecule.molecule import Molecule
from ritz.molecule.state import ElectronState
from ritz.molecule.wavefunction import Psi
from ritz.samplers import FIXED, AbstractSampler


class Evaluation(MoleculeDriver):
    """Estimates energies and other quantities of a wave function, and changes no parameter.

    Each step draws samples; its row has their statistics. The width of the moves is adapted in
    `burn_in` and fixed afterwards. `chain_moments` has the moments of each walker over all steps,
    for R-hat. Rows of several states are those of `VMC`, without penalties.

    Args:
        molecule: The molecule.
        wavefunction: See `MoleculeDriver`.
        params: The trained parameters.
        electrons: Initial positions; best those of trained walkers, which are in equilibrium.
        sampler: A sampler of `ritz.samplers`; by default `default_sampler(molecule)`.
        n_walkers: Number of walkers.
        estimators: Name -> estimator, besides those of the energies.
        energy: The estimator that is the loss in rows.
        dtype: Type of the coordinates, "float32" or "float64".
        chunk_size: Number of walkers of which derivatives are computed at once; None for all.
        seed: Seed of all random numbers.
        n_states: Number of states. One of several is evaluated alone with its parameters, see
            `ElectronState.of_state`.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If a value is not allowed.
    """

    gain: ClassVar[float] = FIXED

    @suggests_names
    def __init__(
        self,
        molecule: Molecule,
        wavefunction: nn.Module | Psi,
        params: PyTree,
        *,
        electrons: Float[Array, "*n_states n_walkers n_electrons 3"] | None = None,
        sampler: AbstractSampler | None = None,
        n_walkers: int = 512,
        estimators: Mapping[str, object] | None = None,
        energy: str = ENERGY,
        dtype: str = "float32",
        chunk_size: int | None = None,
        seed: int = 0,
        n_states: int = 1,
    ):
        if params is None:
            raise TypeError(
                "params: an evaluation needs the trained parameters, such as driver.parameters of "
                "a VMC driver, but None was given."
            )
        super().__init__(
            molecule=molecule,
            wavefunction=wavefunction,
            params=params,
            sampler=sampler,
            n_walkers=n_walkers,
            estimators=estimators,
            energy=energy,
            dtype=dtype,
            electrons=electrons,
            chunk_size=chunk_size,
            seed=seed,
            n_states=n_states,
        )
        with self._precision():
            carry = self.carry_with({})
            _, samples = jax.eval_shape(self._sampling.sample, carry)
            _, _, _, values = jax.eval_shape(self._sampling.estimate, carry, samples)
            walkers = carry.sampler_state.positions
            one = walkers if n_states == 1 else walkers[0]
            n_devices = len(one.sharding.device_set)
            layout = None if n_devices == 1 else one.sharding
            self._moments = {name: ChainMoments.empty(n_walkers, layout) for name in values}

    def carry_with(self, moments: dict[str, ChainMoments]) -> EvaluationCarry:
        """The carry with these moments."""
        state: ElectronState = self.state
        return EvaluationCarry(state.parameters, state.sampler_state, moments)

    @property
    @override
    def kernel(self) -> EvaluationKernel:
        return EvaluationKernel(self._sampling)

    @property
    @override
    def carry(self) -> EvaluationCarry:
        return self.carry_with(self._moments)

    @carry.setter
    def carry(self, carry: EvaluationCarry) -> None:
        state: ElectronState = self.state
        state.parameters, state.sampler_state = carry.params, carry.sampler_state
        self._moments = carry.moments

    @property
    def settings(self) -> dict[str, object]:
        """Settings on which the results depend, here with the parameters, which stay fixed."""
        return {**super().settings, "parameters": self.state.parameters}

    @property
    def chain_moments(self) -> dict[str, ChainMoments]:
        """Count, means and squared deviations of each walker, by the name of the quantity."""
        self._refuse_deferred("asked for driver.chain_moments")
        return on_host(self._moments)

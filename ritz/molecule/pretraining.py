"""Pretraining: orbitals of a wave function towards those of a mean field."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_seed
from ritz.driver import Kernel, OwnPrecision, Proposal
from ritz.driver.processes.division import ONE_DEVICE, Division
from ritz.driver.processes.layout import mesh_of
from ritz.driver.signatures import suggests_names
from ritz.molecule.belonging import check_network
from ritz.molecule.first_state import first_parameters, host_seed, shared_out
from ritz.molecule.kernel import Samples, burnt_in
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.slater_network import SlaterNetwork
from ritz.molecule.orbitals import Orbitals
from ritz.molecule.state import ElectronState
from ritz.molecule.walkers import default_sampler, initial_electrons
from ritz.molecule.wavefunction import wave_function
from ritz.samplers import BURNING_IN, RUNNING, AbstractSampler, SamplerState
from ritz.updates.carried_scale import CarriedScale, scale_array
from ritz.updates.chunks import over_samples
from ritz.updates.optimizer_step import as_transformation, optimizer_step
from ritz.updates.schedules import check_transformation


class PretrainingCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    sampler_state: SamplerState
    optimizer_state: PyTree
    rate_scale: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PretrainingKernel(Kernel):
    """Pretraining = sampling of the mean field's determinant + squared differences of orbitals."""

    orbitals: Orbitals
    network: SlaterNetwork = dataclasses.field(metadata={"static": True})
    sampler: AbstractSampler = dataclasses.field(metadata={"static": True})
    optimizer: optax.GradientTransformation = dataclasses.field(metadata={"static": True})
    division: Division = dataclasses.field(default=ONE_DEVICE, metadata={"static": True})

    def _log_psi(self, params: PyTree, electrons: Float[Array, "n n_electrons 3"]) -> Array:
        return jax.vmap(self.orbitals.sign_and_log)(electrons)[1]

    @override
    def sample(self, carry: PretrainingCarry) -> tuple[PretrainingCarry, Samples]:
        electrons, state, drawing = self.sampler.sample(self._log_psi, (), carry.sampler_state)
        return carry._replace(sampler_state=state), Samples(electrons, drawing)

    def _distance(self, params: PyTree, electrons: Float[Array, "n_electrons 3"]) -> Array:
        """Sum over orbitals and electrons of the squared differences, a mean over determinants."""
        found: Any = self.network.apply({"params": params}, electrons, method="orbitals")
        wanted = self.orbitals.matrices(electrons)
        total = jnp.zeros(())
        first = 0
        for matrices, target in zip(found, wanted, strict=True):
            n, n_orbitals = target.shape[-1], matrices.shape[-1]
            if target.ndim == 3:  # the determinants of the network take turns
                target = target[jnp.arange(len(matrices)) % len(target)]
            # A determinant over all electrons begins as the product of those of each spin.
            place = first if n_orbitals > n else 0
            whole = jnp.zeros((*target.shape[:-1], n_orbitals), target.dtype)
            apart = matrices - whole.at[..., place : place + n].set(target)
            squares = jnp.real(apart * jnp.conj(apart))  # with a derivative at 0, unlike |.|
            total = total + jnp.sum(jnp.mean(squares, axis=0))
            first += n
        return total

    @override
    def propose(self, carry: PretrainingCarry, batch: Samples) -> tuple[PretrainingCarry, Proposal]:
        def part(
            given: tuple[PretrainingKernel, PyTree], electrons: Float[Array, "n n_electrons 3"]
        ) -> tuple[Array, PyTree]:
            kernel, params = given

            def total(params: PyTree) -> Array:
                return jnp.sum(jax.vmap(kernel._distance, in_axes=(None, 0))(params, electrons))

            return jax.value_and_grad(total)(params)

        sums = over_samples(self.division, part, (self, carry.params), (batch.electrons,))
        loss, update = jax.tree.map(lambda found: found / len(batch.electrons), sums)
        update = jax.tree.map(jnp.conj, update)  # the steepest descent of complex parameters
        return carry, Proposal(loss.astype(float), update, dict(batch.drawing))

    @override
    def apply(self, carry: PretrainingCarry, update: PyTree) -> PretrainingCarry:
        params, optimizer_state = optimizer_step(
            self.optimizer, carry.params, carry.optimizer_state, update, carry.rate_scale
        )
        return carry._replace(params=params, optimizer_state=optimizer_state)


class Pretraining(OwnPrecision):
    """Pretraining = sampling of a mean field's determinant + squared differences of orbitals.

    The loss is the sum over electrons and orbitals of the squared difference between the orbitals
    of a `SlaterNetwork` and those of the mean field, a mean over determinants and samples (Pfau et
    al., Phys. Rev. Research 2, 033429, 2020, appendix B). A determinant over all electrons begins
    as the product of those of each spin. If the orbitals are those of several determinants, as of
    `excited_orbitals`, the determinants of the network take turns with them.

    Args:
        molecule: The molecule.
        network: A `FermiNet`, `Psiformer`, `LapNet` or other `SlaterNetwork`.
        orbitals: From `hartree_fock` or `slater_orbitals`, or one of `excited_orbitals`.
        optimizer: An optax transformation, or a learning rate or schedule for `optax.sgd`; by
            default Adam with the rate 3e-3.
        params: Initial parameters; drawn by default.
        sampler: A sampler of `ritz.samplers`; by default `default_sampler(molecule)`.
        n_walkers: Number of walkers.
        dtype: Type of the coordinates, "float32" or "float64".
        seed: Seed of all random numbers.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If a value is not allowed.
    """

    dtype = "float64"
    adjustable: ClassVar[frozenset[str]] = frozenset({"rate_scale"})

    rate_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the optimiser's steps, set by callbacks; 1 by default."""

    @suggests_names
    def __init__(
        self,
        molecule: Molecule,
        network: SlaterNetwork,
        orbitals: Orbitals,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule | None = None,
        *,
        params: PyTree = None,
        sampler: AbstractSampler | None = None,
        n_walkers: int = 512,
        dtype: str = "float32",
        seed: int = 0,
    ):
        if not isinstance(network, SlaterNetwork):
            raise TypeError(
                "only wave functions with orbitals can be pretrained, such as FermiNet(molecule) "
                f"and Psiformer(molecule), but {network!r} was given."
            )
        check_network(network, check_molecule(molecule))
        if not isinstance(orbitals, Orbitals):
            listed = isinstance(orbitals, list) and bool(orbitals)
            hint = "one of the list, such as orbitals[1]" if listed else "hartree_fock(molecule)"
            raise TypeError(
                f"orbitals takes Orbitals; give {hint}, but {orbitals!r:.80} was given."
            )
        sizes = orbitals.up.shape[-1], orbitals.down.shape[-1]
        if sizes != (molecule.n_up, molecule.n_down):
            raise ValueError(
                f"the orbitals are for {sizes[0]} electrons with spin up and {sizes[1]} with spin "
                f"down, but {molecule.name} has {molecule.n_up} and {molecule.n_down}."
            )
        n_determinants = orbitals.up.shape[0] if orbitals.up.ndim == 3 else 1
        if network.n_determinants < n_determinants:
            raise ValueError(
                f"the orbitals are those of a state of {n_determinants} determinants, and the "
                f"network has {network.n_determinants}; give it n_determinants={n_determinants}, "
                "or a multiple of that."
            )
        check_choice("dtype", dtype, ("float32", "float64"))
        check_count("n_walkers", n_walkers, 2)
        check_seed("seed", seed)
        self.sampler = default_sampler(molecule) if sampler is None else sampler
        self.optimizer = as_transformation(optax.adam(3e-3) if optimizer is None else optimizer)
        with self._precision():
            of_params, of_walkers = jax.random.split(jax.random.key(seed))
            number = jnp.dtype(dtype)
            begin = initial_electrons(molecule, n_walkers, host_seed(of_walkers))
            walkers = shared_out(begin, molecule, n_walkers, number)
            params = first_parameters(network, params, of_params, walkers[0])
            self.orbitals: Orbitals = jax.tree.map(lambda x: jnp.asarray(x, number), orbitals)
            kernel = PretrainingKernel(
                self.orbitals, network, self.sampler, self.optimizer, Division(mesh_of(walkers))
            )
            sampler_state = self.sampler.init(of_walkers, kernel._log_psi, (), walkers)
            self.optimizer_state = check_transformation("optimizer", self.optimizer, params)
            log_psi = wave_function(network, params, molecule.n_electrons, dtype)
        self._kernel = kernel
        super().__init__(ElectronState(molecule, log_psi, params, sampler_state))
        self._batch: Samples | None = None

    @property
    def kernel(self) -> PretrainingKernel:
        """Samples the mean field's determinant, and compares orbitals."""
        return self._kernel

    @property
    @override
    def carry(self) -> PretrainingCarry:
        state: ElectronState = self.state
        scale = scale_array(self, "rate_scale")
        return PretrainingCarry(state.parameters, state.sampler_state, self.optimizer_state, scale)

    @carry.setter
    def carry(self, carry: PretrainingCarry) -> None:
        state: ElectronState = self.state
        state.parameters, state.sampler_state = carry.params, carry.sampler_state
        self.optimizer_state = carry.optimizer_state

    @property
    def batch(self) -> Samples | None:
        """The samples of this step, or None if none were drawn."""
        return self._batch

    @batch.setter
    def batch(self, batch: Samples | None) -> None:
        self._batch = batch

    def burn_in(self, n_steps: int) -> None:
        """Draw the samples of `n_steps` steps and throw them away; the width adapts fast."""
        state: ElectronState = self.state
        sampler = self.sampler
        with self._precision():
            state.sampler_state = sampler.with_gain(state.sampler_state, BURNING_IN)
            self._spread()
            self.carry = burnt_in(self.step_kernel, self.carry, np.int32(n_steps))
            state.sampler_state = sampler.with_gain(state.sampler_state, RUNNING)
        self.batch = None

    @property
    @override
    def settings(self) -> dict[str, object]:
        state: ElectronState = self.state
        return {
            **super().settings,
            "molecule": state.molecule,
            "wavefunction": state.wavefunction,
            "orbitals": jax.tree.map(np.asarray, self.orbitals),
            "sampler": self.sampler,
            "optimizer": self.optimizer,
            "n_walkers": state.n_walkers,
            "coordinates": str(state.electrons.dtype),
        }

    @override
    def snapshot_parameters(self) -> PyTree:
        return self.state.parameters


def enough_steps(molecule: Molecule) -> int:
    """Number of steps after which the orbitals of the preset "small" are close to their targets.

    Nitrogen with a pseudopotential, five electrons, is at -9.32 hartree after 300 steps, with nodes
    in its core that training does not mend soon; at -9.63, that of Hartree-Fock, after 2,000.
    """
    return 300 if molecule.n_electrons <= 4 else 2000

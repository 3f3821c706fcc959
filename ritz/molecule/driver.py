"""Base class of drivers of molecules: the walkers, and how samples are drawn and estimated."""

import contextlib
import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_seed
from ritz.driver import OwnPrecision
from ritz.driver.hooks import HookList
from ritz.driver.processes.division import Division
from ritz.driver.processes.layout import mesh_of
from ritz.estimators.base import AbstractEstimator, as_estimator, evaluate_all, in_order, used_by
from ritz.molecule.belonging import check_network, check_same
from ritz.molecule.estimators.standard import ENERGY as ENERGY
from ritz.molecule.estimators.standard import check_total
from ritz.molecule.estimators.standard import energy_estimators as energy_estimators
from ritz.molecule.first_state import first_state
from ritz.molecule.kernel import REMEDIES, Samples, Sampling, burnt_in
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.multistate.kernel import REMEDIES as OVERLAP_REMEDIES
from ritz.molecule.multistate.kernel import MultiStateSampling
from ritz.molecule.multistate.stacking import state_of
from ritz.molecule.state import ElectronState
from ritz.molecule.walkers import default_sampler
from ritz.molecule.wavefunction import Psi
from ritz.samplers import BURNING_IN, AbstractSampler
from ritz.updates.blas_threads import limited_blas

TAKEN = (
    "acceptance", "width", "autocorrelation_time", "clipped", "info", "wallclock", "attempts",
    "block", "retries", "doubts", "suspect",
)  # fmt: skip
"""Names in rows that no estimator can have."""


class MoleculeDriver(OwnPrecision):
    """A driver whose steps draw samples of electrons and estimate quantities from them.

    Energies and linear systems are in double precision, whatever is set in JAX; the wave function
    computes in its own.

    Args:
        molecule: The molecule.
        wavefunction: A flax module such as `FermiNet(molecule)`, electrons of the shape
            (n_electrons, 3), in bohr -> (sign, log |psi|), or a function of its parameters and
            electrons.
        params: Its parameters; those of a flax module are drawn by default.
        sampler: A sampler of `ritz.samplers`.
        n_walkers: Number of walkers, each of which gives one sample a step. They are shared out
            over all devices.
        estimators: Name -> estimator, or function (params, electrons) -> value, estimated besides
            kinetic, potential and total energy; if `energy` is among them, only those of the three
            are added that they use.
        energy: The estimator whose mean is the energy.
        dtype: Type of the coordinates, "float32" or "float64", as the wave function has it.
        electrons: Initial positions, shape (n_walkers, n_electrons, 3) in bohr; by default around
            the nuclei.
        chunk_size: Number of walkers of which derivatives are computed at once; None for all.
        seed: Seed of all random numbers.
        n_states: Number of states. Of several, `params` is a list with those of each state, or a
            tree of arrays with the states along their first axis, and so are `electrons`; each
            state has `n_walkers`.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If a value is not allowed.
    """

    dtype = "float64"
    doubt_remedies: Mapping[str, str] = {**REMEDIES, **OVERLAP_REMEDIES}
    blas_threads: int | None = 1
    """Number of threads that BLAS may use during runs; None for all. More compete with XLA's."""
    nuclei_move: ClassVar[bool] = False
    """Whether nuclei leave the places where they are in the molecule that is given."""
    gain: ClassVar[float]
    """How fast the width of moves follows the acceptance after burn-in."""

    def __init__(
        self,
        molecule: Molecule,
        wavefunction: nn.Module | Psi,
        params: PyTree,
        sampler: AbstractSampler | None,
        n_walkers: int,
        estimators: Mapping[str, object] | None,
        energy: str,
        dtype: str,
        electrons: Float[Array, "n_walkers n_electrons 3"] | None,
        chunk_size: int | None,
        seed: int,
        n_states: int = 1,
    ):
        check_molecule(molecule)
        sampler = default_sampler(molecule) if sampler is None else sampler
        if not isinstance(sampler, AbstractSampler):
            raise TypeError(
                "sampler must be one of ritz.samplers, such as Metropolis(), but "
                f"{sampler!r} was given."
            )
        check_choice("dtype", dtype, ("float32", "float64"))
        check_count("n_walkers", n_walkers, 2)
        check_count("n_states", n_states, 1)
        check_seed("seed", seed)
        if chunk_size is not None:
            check_count("chunk_size", chunk_size, 1)
        check_network(wavefunction, molecule, moves=self.nuclei_move)
        checked = _checked(estimators, n_states)
        given = {name: as_estimator(name, one) for name, one in checked.items()}
        check_total(molecule, given)
        for name, one in given.items():
            _check_estimator(name, one, molecule, self.nuclei_move)
        known = energy_estimators(molecule, chunk_size) | given
        if energy in given:
            known = used_by(given, known)
        if energy not in known:
            raise ValueError(f"energy={energy!r} is none of the estimators: {', '.join(known)}.")
        in_order(known)
        with self._precision():
            of_params, of_walkers, self._key = jax.random.split(jax.random.key(seed), 3)
            state = first_state(
                molecule, wavefunction, params, sampler, electrons, n_walkers=n_walkers,
                n_states=n_states, dtype=dtype, keys=(of_params, of_walkers),
            )  # fmt: skip
            if not given.keys().isdisjoint(used_by([energy], known)):
                _check_energy(energy, known, state.of_state(0))
        super().__init__(state, energy)
        division = Division(mesh_of(state.electrons))
        self._single = Sampling(state.wavefunction, sampler, tuple(known.items()), energy, division)
        self._sampling: Sampling | MultiStateSampling = self._single
        if n_states > 1:
            self._sampling = MultiStateSampling(self._single, n_states)
        self._batch: Samples | None = None

    @property
    def molecule(self) -> Molecule:
        """The molecule whose electrons are sampled, with its nuclei in bohr."""
        return self._variational_state.molecule

    @property
    def sampler(self) -> AbstractSampler:
        """The sampler that moves the walkers between steps."""
        return self._single.sampler

    @property
    def estimators(self) -> dict[str, AbstractEstimator]:
        """The estimators by name."""
        return dict(self._single.estimators)

    @property
    def batch(self) -> Samples | None:
        """The samples of this step, or None if none were drawn."""
        return self._batch

    @batch.setter
    def batch(self, batch: Samples | None) -> None:
        self._batch = batch

    @override
    def environment(self) -> contextlib.AbstractContextManager[object]:
        return limited_blas(self.blas_threads)

    def burn_in(self, n_steps: int) -> None:
        """Draw the samples of `n_steps` steps and throw them away; the width adapts fast."""
        with self._precision():
            state: ElectronState = self._variational_state
            state.sampler_state = self.sampler.with_gain(state.sampler_state, BURNING_IN)
            self._spread()
            self.carry = burnt_in(self.step_kernel, self.carry, np.int32(n_steps))
        self.batch = None

    @override
    def begin_step(self, hooks: HookList) -> None:
        state: ElectronState = self._variational_state
        if self._replay is None and float(np.ravel(state.sampler_state.gain)[0]) != self.gain:
            state.sampler_state = self.sampler.with_gain(state.sampler_state, self.gain)
        super().begin_step(hooks)

    @property
    @override
    def settings(self) -> dict[str, object]:
        state: ElectronState = self._variational_state
        several = {"n_states": state.n_states} if state.n_states > 1 else {}
        return {
            **super().settings,
            **several,
            "molecule": self.molecule,
            "wavefunction": state.wavefunction,
            "sampler": self.sampler,
            "estimators": self.estimators,
            "n_walkers": state.n_walkers,
            "coordinates": str(state.electrons.dtype),
        }

    @override
    def snapshot_parameters(self) -> PyTree:
        return self.state.parameters

    @override
    def check_observable(self, observable: object) -> None:
        as_estimator("obs", observable)

    def _estimate_one(self, observable: object, fullsum: bool) -> Any:
        if fullsum:
            return super()._estimate_one(observable, fullsum)
        estimator, state = as_estimator("obs", observable), self.state
        check_total(self.molecule, {"obs": estimator})
        _check_estimator("obs", estimator, self.molecule, self.nuclei_move)
        samples = state.electrons if self.batch is None else self.batch.electrons
        with self._precision():
            known = {**self.estimators, "obs": estimator}
            in_order(known)
            needed = tuple(used_by(["obs"], known).items())
            sampling = Sampling(state.wavefunction, self.sampler, needed, "obs")
            estimated = _compiled if isinstance(estimator, Hashable) else _estimated
            if state.n_states == 1:
                found = estimated(sampling, state.parameters, samples, state.nuclei)
                return jax.device_get(found)
            each = (
                estimated(sampling, state_of(state.parameters, k), samples[k])
                for k in range(state.n_states)
            )
            return jax.device_get(list(each))


def _check_estimator(name: str, estimator: object, molecule: Molecule, moves: bool) -> None:
    """Refuse an estimator of another molecule, if it has one."""
    of_estimator = getattr(estimator, "molecule", None)
    if isinstance(of_estimator, Molecule):
        kind = type(estimator).__name__
        remedy = f"give {kind}(molecule) of the same one"
        part = f"the molecule of the estimator {name} ({kind})"
        check_same(part, of_estimator, molecule, remedy, moves=moves)


def _estimated(
    sampling: Sampling, params: PyTree, electrons: Array, nuclei: Array | None = None
) -> Any:
    """What is logged of the first estimator, from these samples and with the nuclei there."""
    if nuclei is not None:
        sampling = dataclasses.replace(sampling, log_psi=sampling.log_psi.with_nuclei(nuclei))
    return sampling.estimates(sampling.values(params, Samples(electrons, {})))[0]


_compiled = jax.jit(_estimated)


def _check_energy(
    energy: str, estimators: Mapping[str, AbstractEstimator], state: ElectronState
) -> None:
    """Refuse an energy that is not one number for each sample."""
    electrons = state.electrons

    def values(params: PyTree, electrons: Array) -> Any:
        used = used_by([energy], estimators)
        return evaluate_all(used, state.wavefunction, params, electrons)[energy]

    found = jax.eval_shape(values, state.parameters, electrons)
    if getattr(found, "shape", None) == electrons.shape[:1]:
        return
    shapes = jax.tree.map(lambda part: part.shape, found)
    raise ValueError(
        f"energy={energy!r} must be an estimator with one number for each sample, an array of the "
        f"shape {electrons.shape[:1]}, but {estimators[energy]!r} gives {shapes}."
    )


def _checked(estimators: Mapping[str, object] | None, n_states: int) -> Mapping[str, object]:
    if estimators is None:
        return {}
    if not isinstance(estimators, Mapping):
        raise TypeError(
            f"estimators takes a dict of name -> estimator, but {estimators!r} was given."
        )
    pairs = [f"overlap_{i}_{j}" for j in range(n_states) for i in range(j)]
    taken = [name for name in estimators if name in (*TAKEN, *pairs)]
    if taken:
        raise ValueError(
            f"an estimator cannot be called {taken[0]!r}; rows already have this name."
        )
    return estimators

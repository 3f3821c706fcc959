"""The variational Monte Carlo driver on NetKet's states."""

import contextlib
import copy
import functools
import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
from threadpoolctl import threadpool_limits

from ritz.driver import CompiledDriver
from ritz.driver.callback import AbstractCallback
from ritz.lattice.flips import Flips, flip_operator
from ritz.lattice.interop import adapt_netket
from ritz.lattice.kernel import FullSumKernel, LatticeCarry, LatticeKernel, SamplingKernel, Settings
from ritz.lattice.local_update import TwoStates, local_update
from ritz.lattice.operators import fingerprint, sparse_matrix, traceable
from ritz.lattice.sampling import samples_compiled
from ritz.updates import SR, AbstractUpdateRule, MinSR, Problem
from ritz.updates.problem import MODES, default_mode

State = nk.vqs.MCState | nk.vqs.FullSumState


class VMC(CompiledDriver):
    """Finds a ground state: lattice VMC = sampling + local energies + an update rule + optax.

    Each row has the energy's statistics as `Energy`, its V-score, the sampler's `acceptance` and
    what the update rule tells as `info`.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        optimizer: An optax transformation; a number or schedule stands for `optax.sgd` with it.
        variational_state: NetKet's `MCState` or `FullSumState`. The driver changes it, and goes by
            its settings (samples, chunk size) also when they are changed between steps.
        update: A rule of `ritz.updates`. By default `SR`, or `MinSR` if there are more parameters
            than samples.
        mode: "real", "complex" or "holomorphic", see `ritz.updates.Problem`; by default "real" if
            parameters and log psi are real, otherwise "complex".
        chunk_size_bwd: How many samples are differentiated at once; by default the state's
            `chunk_size`.
        energy_offset: The energy at infinite temperature, for the V-score; zero for spin models
            without a constant.
        n_dof: The number of particles for the V-score; by default the number of sites, or of
            fermions where it is fixed.
        seed: Seeds what is random in update rules.
        single_scores: Whether the derivatives of log psi, and the products of them that SR and its
            relatives need, are computed in single precision. Energies, and the solution of the
            linear system, stay in double: two to four times faster where those products dominate.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: How many threads BLAS may use while the driver runs. Those of XLA do the
            work, and more of BLAS get in their way; None leaves the number as it is, which may
            be better on many cores for systems of thousands of unknowns.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If Hamiltonian and state live on different spaces, or a value is not allowed.
    """

    adjustable = frozenset({"rate_scale", "damping_scale", "chunk_sizes"})

    def __init__(
        self,
        hamiltonian: Any,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule,
        *,
        variational_state: State,
        update: AbstractUpdateRule | None = None,
        mode: str | None = None,
        chunk_size_bwd: int | None = None,
        energy_offset: float = 0.0,
        n_dof: int | None = None,
        seed: int = 0,
        single_scores: bool = False,
        local_updates: bool = True,
        blas_threads: int | None = 1,
    ):
        mixed = isinstance(variational_state, nk.vqs.MCMixedState)
        if mixed or not isinstance(variational_state, State):
            raise TypeError(
                "variational_state must be a netket.vqs.MCState or FullSumState, but "
                f"{variational_state!r} was given."
            )
        super().__init__(variational_state, minimized_quantity_name="Energy")
        state: Any = variational_state
        self._hamiltonian = hamiltonian
        self._operator = traceable(hamiltonian, state.hilbert)
        self._sums = isinstance(state, nk.vqs.FullSumState)
        n_samples = state.hilbert.n_states if self._sums else state.n_samples
        if update is None:
            update = MinSR() if state.n_parameters > n_samples else SR()
        if not isinstance(update, AbstractUpdateRule):
            raise TypeError(
                f"update must be a rule of ritz.updates, such as SR(), but {update!r} was given."
            )
        self.rule = update
        self.optimizer = _as_transformation(optimizer)
        self.mode = self._checked_mode(mode)
        self.chunk_size_bwd = chunk_size_bwd
        self.energy_offset = energy_offset
        self.n_dof = n_dof or getattr(state.hilbert, "n_fermions", None) or state.hilbert.size
        self.blas_threads = blas_threads
        self.single_scores = single_scores
        self._flips = self._find_flips() if local_updates else None
        self._scales: dict[str, jax.Array] = {}
        self.rate_scale, self.damping_scale = 1.0, 1.0
        self._key = jax.random.key(seed)
        self._compiled_kinds: dict[type, bool] = {}
        self._full_sum: tuple[Any, Any] | None = None
        self.optimizer_state = self.optimizer.init(state.parameters)
        self.rule_state = update.init(state.parameters, self._bare_problem())

    def _log_psi(self, params: Any, x: Any) -> Any:
        return self.state._apply_fun({"params": params, **(self.state.model_state or {})}, x)

    def _checked_mode(self, mode: str | None) -> str:
        if mode is None:
            x = self.state.hilbert.random_state(jax.random.key(0), 1)
            return default_mode(self._log_psi, self.state.parameters, x)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, but {mode!r} was given.")
        return mode

    def _find_flips(self) -> Flips | None:
        states = TwoStates.of(self.state.hilbert)
        if states is None or self._sums or self.state.model_state:
            return None
        update = local_update(self.state.model, states)
        operator = None if update is None else flip_operator(self._operator)
        return None if update is None or operator is None else Flips(operator, update)

    def _environment(self) -> contextlib.AbstractContextManager[Any]:
        if self.blas_threads is None:
            return contextlib.nullcontext()
        return threadpool_limits(self.blas_threads, user_api="blas")

    def _bare_problem(self) -> Problem:
        """What an update rule may know before the first step."""
        return Problem(self._log_psi, self.state.parameters, None, jnp.zeros(1), mode=self.mode)

    @property
    def hamiltonian(self) -> Any:
        """The Hamiltonian as it was given."""
        return self._hamiltonian

    @property
    def kernel(self) -> LatticeKernel:
        """The kernel, with the present settings of the state."""
        state = self.state
        settings = Settings(
            state._apply_fun, self.rule, self.optimizer, self.mode, state.chunk_size,
            self.chunk_size_bwd or state.chunk_size, self.n_dof, self.energy_offset,
            self.single_scores, self._flips,
        )  # fmt: skip
        if self._sums:
            if self._full_sum is None:
                states = jnp.asarray(state.hilbert.all_states())
                self._full_sum = (sparse_matrix(self._operator), states)
            return FullSumKernel(*self._full_sum, settings)
        compiled = self._samples_compiled
        return SamplingKernel(
            self._operator, state.sampler if compiled else None, settings,
            state._sampler_model if compiled else None, state.chain_length,
            state.n_discard_per_chain,
        )  # fmt: skip

    @property
    def carry(self) -> LatticeCarry:
        """Parameters and states of everything, for the kernel."""
        state = self.state
        return LatticeCarry(
            params=state.parameters,
            model_state=state.model_state,
            sampler_state=state.sampler_state if self._samples_compiled else None,
            optimizer_state=self.optimizer_state,
            rule_state=self.rule_state,
            key=self._key,
            rate_scale=self._scales["rate"],
            damping_scale=self._scales["damping"],
        )

    @carry.setter
    def carry(self, carry: LatticeCarry) -> None:
        state = self.state
        state.parameters = carry.params
        if carry.sampler_state is not None and carry.sampler_state is not state.sampler_state:
            state._sampler_state_previous = state.sampler_state
            state.sampler_state = carry.sampler_state
        self.optimizer_state = carry.optimizer_state
        self.rule_state = carry.rule_state
        self._key = carry.key

    @property
    def batch(self) -> Any:
        """The samples in the state, or None; a full sum needs none."""
        if self._sums:
            return ()
        samples = self.state._samples
        if samples is not None and not isinstance(samples, jax.Array):
            samples = self.state._samples = jnp.asarray(samples)  # put in by a callback
        return samples

    @batch.setter
    def batch(self, batch: Any) -> None:
        if self._sums:
            self.state.reset()
        else:
            self.state._samples = batch

    @property
    def _samples_compiled(self) -> bool:
        """Whether the kernel draws the samples; otherwise the state does, or nobody."""
        if self._sums:
            return False
        kind = type(self.state.sampler)
        if kind not in self._compiled_kinds:
            self._compiled_kinds[kind] = samples_compiled(self.state)
        return self._compiled_kinds[kind]

    @property
    def runs_blocks(self) -> bool:
        """Whether steps can run as blocks, and gain by it.

        They cannot where samples are drawn outside of compiled programs. They would lose on CPUs
        with convolutions, whose derivatives XLA computes ten times slower inside of loops.
        """
        return (self._sums or self._samples_compiled) and not self._convolves_on_cpu

    @functools.cached_property
    def _convolves_on_cpu(self) -> bool:
        if jax.default_backend() != "cpu":
            return False
        x = self.state.hilbert.random_state(jax.random.key(0), 1)
        program = jax.make_jaxpr(self._log_psi)(self.state.parameters, x)
        return "conv_general_dilated" in str(program)

    def _compute_live(self) -> tuple[Any, Any]:
        if self.batch is None and not self._samples_compiled:
            self.state.sample()
        return super()._compute_live()

    def _log_additional_data(self, log_data: dict[str, Any]) -> None:
        super()._log_additional_data(log_data)
        if self.block is None and not self._sums and not self._samples_compiled:
            acceptance = getattr(self.state.sampler_state, "acceptance", None)
            if acceptance is not None:
                log_data["acceptance"] = float(acceptance)

    @functools.cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self._operator)

    @property
    def settings(self) -> dict[str, Any]:
        """All on which the results depend besides the state."""
        state = self.state
        drawn = {}
        if not self._sums:
            drawn = {
                "sampler": state.sampler,
                "n_samples": state.n_samples,
                "n_discard_per_chain": state.n_discard_per_chain,
            }
        return {
            **super().settings,
            "hilbert": state.hilbert,
            "hamiltonian": self._fingerprint,
            "model": state.model,
            **drawn,
            "optimizer": self.optimizer,
            "update": self.rule,
            "mode": self.mode,
            "single_scores": self.single_scores,
            "local_updates": self._flips is not None,
        }

    def snapshot(self) -> LatticeCarry:
        """The whole carry; its arrays are never changed in place."""
        carry = super().snapshot()
        if self._sums or self._samples_compiled:
            return carry
        return carry._replace(sampler_state=copy.deepcopy(self.state.sampler_state))

    def restore(self, snapshot: LatticeCarry, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; with `fresh_samples` random numbers go on from where they are."""
        if fresh_samples:
            sampler_state = None  # stays as it is
            if self._samples_compiled:
                rng = self.state.sampler_state.rng
                sampler_state = snapshot.sampler_state.replace(rng=rng)
            snapshot = snapshot._replace(key=self._key, sampler_state=sampler_state)
        self.carry = snapshot

    def snapshot_parameters(self) -> Any:
        """The parameters; their arrays are never changed in place."""
        return self.state.parameters

    @property
    def rate_scale(self) -> float:  # type: ignore[override]
        """Multiplies every step of the optimiser."""
        return float(self._scales["rate"])

    @rate_scale.setter
    def rate_scale(self, scale: float) -> None:
        self._refuse_deferred("set driver.rate_scale")
        self._scales["rate"] = jnp.asarray(scale, float)

    @property
    def damping_scale(self) -> float:  # type: ignore[override]
        """Multiplies the diagonal shift of the update rule."""
        return float(self._scales["damping"])

    @damping_scale.setter
    def damping_scale(self, scale: float) -> None:
        self._refuse_deferred("set driver.damping_scale")
        self._scales["damping"] = jnp.asarray(scale, float)

    @property
    def chunk_sizes(self) -> dict[str, int | None]:
        """How many configurations are evaluated ("forward") and differentiated at once."""
        return {"forward": self.state.chunk_size, "backward": self.chunk_size_bwd}

    @chunk_sizes.setter
    def chunk_sizes(self, sizes: Mapping[str, int | None]) -> None:
        self.state.chunk_size = sizes["forward"]
        self.chunk_size_bwd = sizes["backward"]

    @property
    def whole_sizes(self) -> dict[str, int]:
        """What a chunk size of None stands for."""
        n_samples = self.state.hilbert.n_states if self._sums else self.state.n_samples
        return {"forward": n_samples, "backward": n_samples}

    def _estimate_one(self, observable: Any, fullsum: bool) -> Any:
        state = self.state
        if fullsum and not self._sums:
            state = nk.vqs.FullSumState(
                state.hilbert, state.model, variables=state.variables, chunk_size=state.chunk_size
            )
        return jax.device_get(state.expect(observable))

    def adapt(self, plugin: Any, argument: str) -> AbstractCallback:
        """Take callbacks and loggers of NetKet too."""
        return adapt_netket(plugin, argument) or super().adapt(plugin, argument)


@functools.lru_cache(maxsize=64)
def _sgd(rate: Any) -> optax.GradientTransformation:
    """One object for equal rates, so that drivers with equal settings share compiled programs."""
    return optax.sgd(rate)


def _as_transformation(optimizer: Any) -> optax.GradientTransformation:
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    is_scalar = isinstance(optimizer, np.ndarray | jax.Array) and optimizer.ndim == 0
    if callable(optimizer):
        return _sgd(optimizer)
    if isinstance(optimizer, numbers.Real) or is_scalar:
        number: Any = optimizer
        return _sgd(float(number))
    raise TypeError(
        "optimizer must be an optax transformation, or a learning rate or schedule for optax.sgd, "
        f"but {optimizer!r} was given."
    )

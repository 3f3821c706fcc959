"""Wave functions on lattices, for work stages."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import netket as nk
from flax import linen as nn
from jaxtyping import Array, Inexact, Key, PyTree
from netket.hilbert import DiscreteHilbert
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import AbstractDriver
from ritz.lattice.driver import LatticeDriver
from ritz.lattice.evaluation import Evaluation
from ritz.lattice.sampling.sweeps import MetropolisLocal
from ritz.lattice.vmc import VMC
from ritz.stages.contracts import LATTICE_SAMPLER
from ritz.stages.sampling import STANDARD_LOSS, AbstractWavefunction, StageParts


class LatticeWavefunction(AbstractWavefunction):
    """A model of NetKet or flax on a Hilbert space, for `VMCWorkStage` and `EvaluationWorkStage`.

    Estimators of its stages are operators of NetKet. Besides what every stage reads, its stages
    read from their configuration: `sampler` (made with `hilbert`; by default `MetropolisLocal` with
    a chain for each sample), `n_samples` (1,024), `n_discard_per_chain` (0), `chunk_size` and
    `full_sum` (a sum over all configurations instead of samples).

    In rows and digests the estimators keep their names.

    Args:
        model: A flax module: configurations, shape (n, n_sites) -> log psi, shape (n,).
        hilbert: The space.
    """

    settings = ("n_samples", "n_discard_per_chain", "chunk_size", "full_sum", "sampler")

    def __init__(self, model: nn.Module, hilbert: DiscreteHilbert):
        self.model, self.hilbert = model, hilbert

    @override
    def logpsi(self, params: PyTree, x: Inexact[Array, "n n_sites"]) -> Inexact[Array, " n"]:
        log_psi: Any = self.model.apply({"params": params}, x)
        return log_psi

    @property
    def n_parameters(self) -> int:
        """Number of parameters of the model, a complex one counted once.

        Raises:
            ValueError: If it has none.
        """
        key = jax.random.key(0)
        x = self.hilbert.random_state(key, 1)
        shapes = jax.eval_shape(self.model.init, key, x).get("params", {})
        n_parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        if not n_parameters:
            raise ValueError("the model has no parameters, so that nothing can be optimised.")
        return n_parameters

    def _state(self, parts: StageParts, rngs: Key[Array, ""], params: PyTree) -> Any:
        if parts.f_log_amplitude != self.logpsi:
            raise ValueError(
                "a LatticeWavefunction samples its own log psi; give wavefunction.logpsi to "
                "configure_sample_plan, or write the function as a flax module."
            )
        cfg = parts.cfg.values
        seeds = [int(seed) for seed in jax.random.randint(rngs, (2,), 0, 2**31 - 1)]
        shared = {"chunk_size": cfg.get("chunk_size"), "seed": seeds[0]}
        if cfg.get("full_sum"):
            state: Any = nk.vqs.FullSumState(self.hilbert, self.model, **shared)
        else:
            n_samples = 1024 if cfg.get("n_samples") is None else cfg["n_samples"]
            check_count("n_samples", n_samples, 1)
            n_discard = cfg.get("n_discard_per_chain") or 0
            check_count("n_discard_per_chain", n_discard, 0)
            sampler = self._sampler(parts, n_samples)
            _check_shared(n_samples, sampler.n_chains)
            state = nk.vqs.MCState(
                sampler,
                self.model,
                n_samples=n_samples,
                n_discard_per_chain=n_discard,
                sampler_seed=seeds[1],
                **shared,
            )
        if params is not None:
            state.parameters = params
        return state

    def _sampler(self, parts: StageParts, n_samples: int) -> Any:
        if len(parts.samplers) > 1:
            raise ValueError(
                "a lattice has one kind of coordinates and so one sampler, but these were given: "
                f"{', '.join(parts.samplers)}."
            )
        for sampler in parts.samplers.values():
            return sampler
        return parts.cfg.get(
            "sampler",
            lambda: MetropolisLocal(self.hilbert, n_chains=n_samples),
            takes=LATTICE_SAMPLER,
            hilbert=self.hilbert,
        )

    @override
    def training_driver(
        self, parts: StageParts, rngs: Key[Array, ""], params: PyTree = None
    ) -> AbstractDriver:
        state_key, rule_key = jax.random.split(rngs)
        if parts.loss_grads is not None:
            raise ValueError(
                "loss_grads: local energies on lattices are not clipped; leave it out, or give the "
                "name of an estimator."
            )
        observables = dict(parts.estimators)
        hamiltonian = observables.pop(str(parts.loss))
        return VMC(
            hamiltonian,
            parts.optimizer,
            variational_state=self._state(parts, state_key, params),
            observables=observables,
            loss_name=str(parts.loss),
            seed=int(jax.random.randint(rule_key, (), 0, 2**31 - 1)),
            **parts.optimizer_options,
        )

    def evaluation_driver(
        self, parts: StageParts, rngs: Key[Array, ""], params: PyTree = None
    ) -> AbstractDriver:
        """An `Evaluation` driver; its energy is the estimator "total", "energy", or the first."""
        observables = dict(parts.estimators)
        standard = [name for name in STANDARD_LOSS if name in observables]
        loss = (standard or list(observables))[0]
        hamiltonian = observables.pop(loss)
        return Evaluation(
            hamiltonian,
            variational_state=self._state(parts, rngs, params),
            observables=observables,
            loss_name=loss,
        )

    @override
    def state_of(self, driver: LatticeDriver, kind: type[Any]) -> Any:
        carry = driver.snapshot()
        fields = carry._asdict()
        own = {"params": fields.pop("params"), "sampler_state": fields.pop("sampler_state")}
        if "opt_state" in kind._fields:
            own["opt_state"] = fields.pop("optimizer_state")
        sampled = getattr(own["sampler_state"], "σ", None)
        return kind(batched_data=sampled, estimator_state=fields, **own)

    @override
    def load(self, driver: LatticeDriver, state: Any) -> None:
        fields = dict(state.estimator_state)
        if hasattr(state, "opt_state"):
            fields["optimizer_state"] = state.opt_state
        sampler_state = state.sampler_state
        if state.batched_data is not None:
            sampler_state = sampler_state.replace(σ=state.batched_data)
        driver.restore(
            type(driver.carry)(params=state.params, sampler_state=sampler_state, **fields)
        )

    @override
    def chain_moments(self, driver: Evaluation) -> Mapping[str, Any]:
        return driver.chain_moments


def _check_shared(n_samples: int, n_chains: int) -> None:
    """Refuse numbers of samples that NetKet would round up."""
    if n_samples % n_chains:
        most = -(-n_samples // n_chains) * n_chains
        raise ValueError(
            f"n_samples={n_samples} cannot be shared equally by the {n_chains} chains of the "
            f"sampler; give n_samples={most}, for example, or another n_chains."
        )

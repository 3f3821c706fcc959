"""Wave functions of molecules, for work stages."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Inexact, Key, PyTree
from typing_extensions import override

from ritz.checks import check_choice
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.molecule.evaluation import Evaluation
from ritz.molecule.first_state import first_parameters
from ritz.molecule.molecule import Molecule
from ritz.molecule.orbitals import Orbitals
from ritz.molecule.pretraining import Pretraining
from ritz.molecule.vmc import VMC
from ritz.molecule.walkers import initial_electrons
from ritz.molecule.wavefunction import LogPsi, Psi
from ritz.stages.base import WorkStageConfig
from ritz.stages.contracts import SAMPLER
from ritz.stages.sampling import (
    STANDARD_LOSS,
    AbstractWavefunction,
    SamplingStage,
    StageParts,
)
from ritz.stages.vmc import VMCState
from ritz.types import Settings

N_WALKERS = 512


class MoleculeWavefunction(AbstractWavefunction):
    """A wave function of a molecule, for `VMCWorkStage` and `EvaluationWorkStage`.

    Estimators of its stages are those of `ritz.molecule.estimators`, others, and functions (params,
    electrons) -> value; if the energy that is minimised is not among them, kinetic, potential and
    total energy are added as `kinetic`, `potential` and `energy`. Besides what every stage reads,
    its stages read from their configuration: `sampler`, `n_walkers` (512), `dtype` ("float32"),
    `chunk_size`, `n_states` (1) and, in training, `overlap_penalty`; see `VMC`.

    Args:
        molecule: The molecule.
        wavefunction: See `MoleculeDriver`.
        params: Its parameters, unless it is a flax module, whose are drawn.
    """

    settings = ("n_walkers", "dtype", "chunk_size", "sampler", "n_states", "overlap_penalty")

    def __init__(self, molecule: Molecule, wavefunction: nn.Module | Psi, params: PyTree = None):
        self.molecule, self.psi, self.params = molecule, wavefunction, params
        self._log_psi = LogPsi(wavefunction)

    @override
    def logpsi(self, params: PyTree, x: Float[Array, "n n_electrons 3"]) -> Inexact[Array, " n"]:
        return self._log_psi(params, x)

    def _shared(self, parts: StageParts, rngs: Key[Array, ""], params: PyTree) -> Settings:
        """Arguments that all drivers take."""
        if len(parts.samplers) > 1:
            raise ValueError(
                "a molecule has one kind of coordinates and so one sampler, but these were given: "
                f"{', '.join(parts.samplers)}."
            )
        cfg = parts.cfg.values
        n_walkers = cfg.get("n_walkers")
        given = next(iter(parts.samplers.values()), None)
        sampler = given or parts.cfg.get("sampler", lambda: None, takes=SAMPLER)
        return {
            "params": self.params if params is None else params,
            "sampler": sampler,
            "n_walkers": N_WALKERS if n_walkers is None else n_walkers,
            "dtype": _dtype(parts),
            "seed": int(jax.random.randint(rngs, (), 0, 2**31 - 1, jnp.int32)),
        }

    def _several(self, parts: StageParts) -> Settings:
        """Arguments about several states, those that were given."""
        cfg = parts.cfg.values
        given = {name: cfg.get(name) for name in ("n_states", "overlap_penalty")}
        return {name: value for name, value in given.items() if value is not None}

    def _drawn(self, dtype: str, rngs: Key[Array, ""], n_states: int) -> PyTree:
        """Parameters for a stage that was given none."""
        check_choice("dtype", dtype, ("float32", "float64"))
        with jax.enable_x64(True):
            electrons = jnp.asarray(initial_electrons(self.molecule, 1, 0)[0], dtype)
            if n_states == 1:
                return first_parameters(self.psi, None, rngs, electrons)
            keys = jax.random.split(rngs, n_states)
            return [first_parameters(self.psi, None, key, electrons) for key in keys]

    @override
    def training_driver(
        self, parts: StageParts, rngs: Key[Array, ""], params: PyTree = None
    ) -> AbstractDriver:
        loss_grads = {} if parts.loss_grads is None else {"loss_grads": parts.loss_grads}
        return VMC(
            self.molecule,
            self.psi,
            parts.optimizer,
            estimators=parts.estimators,
            energy=str(parts.loss),
            chunk_size=parts.cfg.values.get("chunk_size"),
            **loss_grads,
            **self._several(parts),
            **self._shared(parts, rngs, params),
            **parts.optimizer_options,
        )

    @override
    def evaluation_driver(
        self, parts: StageParts, rngs: Key[Array, ""], params: PyTree = None
    ) -> AbstractDriver:
        names = [name for name in STANDARD_LOSS if name in parts.estimators]
        several = self._several(parts)
        several.pop("overlap_penalty", None)
        if params is None and self.params is None:
            params = self._drawn(_dtype(parts), rngs, several.get("n_states", 1))
        return Evaluation(
            self.molecule,
            self.psi,
            estimators=parts.estimators,
            energy=names[0] if names else "energy",
            chunk_size=parts.cfg.values.get("chunk_size"),
            **several,
            **self._shared(parts, rngs, params),
        )

    def pretraining_driver(
        self,
        parts: StageParts,
        orbitals: Orbitals,
        rngs: Key[Array, ""],
        params: PyTree = None,
    ) -> AbstractDriver:
        """A driver that brings the orbitals close to those of a mean field."""
        psi: Any = self.psi
        return Pretraining(
            self.molecule,
            psi,
            orbitals,
            parts.optimizer,
            **self._shared(parts, rngs, params),
        )

    @override
    def state_of(self, driver: Any, kind: type[Any]) -> Any:
        fields = driver.snapshot()._asdict()
        found = {"params": fields.pop("params"), "sampler_state": fields.pop("sampler_state")}
        if "opt_state" in kind._fields:
            found["opt_state"] = fields.pop("optimizer_state")
        walkers = found["sampler_state"].positions
        return kind(batched_data=walkers, estimator_state=fields, **found)

    @override
    def load(self, driver: Any, state: Any) -> None:
        fields = dict(state.estimator_state)
        if hasattr(state, "opt_state"):
            fields["optimizer_state"] = state.opt_state
        sampler_state = state.sampler_state._replace(positions=state.batched_data)
        driver.restore(
            type(driver.carry)(params=state.params, sampler_state=sampler_state, **fields)
        )

    @override
    def chain_moments(self, driver: Any) -> Mapping[str, Any]:
        return driver.chain_moments


def _dtype(parts: StageParts) -> str:
    dtype = parts.cfg.values.get("dtype")
    return "float32" if dtype is None else dtype


class PretrainWorkStage(SamplingStage):
    """Brings the orbitals of a network close to those of a mean field, before it is trained.

    Args:
        wavefunction: A `MoleculeWavefunction` of a network with orbitals.
        orbitals: Those of the mean field.
        config: Settings of the stage.
        optimizer: See `Pretraining`.
        settings: What the wave function reads: `n_walkers`, `dtype` and `sampler`.
        name: The stage's name.
        writers: Loggers for the rows.
        callbacks: Callbacks for the steps.
    """

    state_class: ClassVar[type] = VMCState

    def __init__(
        self,
        wavefunction: MoleculeWavefunction,
        orbitals: Orbitals,
        config: WorkStageConfig,
        *,
        optimizer: Any = None,
        settings: Settings | None = None,
        name: str = "pretrain",
        writers: tuple[AbstractCallback, ...] = (),
        callbacks: tuple[AbstractCallback, ...] = (),
    ):
        from ritz.stages.config import Config

        parts = StageParts(
            config=config,
            f_log_amplitude=wavefunction.logpsi,
            samplers={},
            estimators={},
            optimizer=optimizer,
            cfg=Config(dict(settings or {})),
        )
        super().__init__(parts, wavefunction, name, writers, callbacks)
        self.orbitals = orbitals

    @override
    def _new_driver(self, rngs: jax.Array, params: PyTree = None) -> AbstractDriver:
        wavefunction: Any = self.wavefunction
        return wavefunction.pretraining_driver(self.parts, self.orbitals, rngs, params)

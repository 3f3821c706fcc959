"""Time evolution by the time-dependent variational principle."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from netket.operator import AbstractOperator
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_finite, check_positive
from ritz.driver.arguments import listed
from ritz.driver.callback import AbstractCallback
from ritz.driver.run_state import Steps
from ritz.driver.signatures import suggests_names
from ritz.lattice.differentiating import DifferentiatingDriver
from ritz.lattice.doubts import REMEDIES as SAMPLING_REMEDIES
from ritz.lattice.driver import LatticeDriver, VariationalState
from ritz.lattice.dynamics.equation import PROPAGATIONS, Equation
from ritz.lattice.dynamics.step_size import ANY_SIZE, StepSize, checked_limits
from ritz.lattice.dynamics.tableau import Tableau, as_tableau
from ritz.lattice.dynamics.tdvp_kernel import (
    REMEDIES,
    TDVPCarry,
    TDVPKernel,
    TDVPSettings,
    checked_stops,
    first_clock,
)
from ritz.lattice.dynamics.time_callbacks import EndOfTime, TimeBar
from ritz.lattice.kernels.kernel import StepSettings
from ritz.lattice.mode import check_phase, checked_mode
from ritz.lattice.model_state import check_still
from ritz.updates.carried_scale import CarriedScale, scale_array
from ritz.updates.solvers import PseudoInverse, Solver, check_solver

MOST_STEPS = 1_000_000
"""Default of the largest number of steps of a run."""

_NO_STEPS = {"n_iter": "give the time T, and max_steps= to bound the number of steps."}

_OWN_NAMES = ("t", "dt", "residual", "step_error", "rejected")


class TDVP(DifferentiatingDriver):
    """Evolves a state in time: TDVP = sampling + local energies + projection + Runge-Kutta.

    The derivative -i H psi (or -H psi in imaginary time) is projected onto the directions in which
    the parameters can move the state, in each stage of a step with samples of its own. A step of
    the run is one accepted step of the integrator. With an embedded method the step size follows
    the estimated error: steps with too large an error are tried again with a smaller size, within
    the compiled step.

    Each row has the time `t` and the step `dt` that follows it; `Energy` and observables at that
    time; `residual`, r^2, the part of the exact derivative that the state cannot follow, squared,
    as a fraction of the variance of the energy (with fewer samples than parameters it is too
    small); `step_error`, the norm of the step's estimated error; and how many step sizes were
    `rejected`. The row at the last time, with `dt` of 0, belongs to no step: the next run begins
    with it.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        variational_state: NetKet's `MCState` or `FullSumState`. The driver changes it.
        dt: The step size; with adaptive steps the first one.
        integrator: "RK45", "RK23" or "RK12", pairs with an error estimate; "RK4", "Heun",
            "Midpoint" or "Euler", with fixed steps; or a `ritz.lattice.dynamics.Tableau`.
        propagation: "real" for d psi/dt = -i H psi, "imaginary" for d psi/dt = -(H - <H>) psi.
        t0: The time at the beginning.
        adaptive: Whether the error decides about the step size; by default if there is one.
        rtol: Tolerance of the error of a step relative to the norm of the state, which is 1, or
            with `error_norm="euclidean"` to that of the parameters.
        atol: Is added to that tolerance.
        dt_limits: Smallest and largest of adaptive steps, the first one included. The smallest is
            taken whatever its error. Steps that end at a stop or the end of the run may be smaller.
        error_norm: "qgt", the norm of the quantum geometric tensor, which is the distance of the
            states; or "euclidean", that of the parameters.
        controller: "PI" (proportional-integral) or "I" (the standard controller).
        max_trials: Number of step sizes tried in one step, the last of which is taken.
        solver: Inverts the quantum geometric tensor, see `ritz.updates.solvers`; by default
            `PseudoInverse` with `rtol_smooth` of 1e-8 for a full sum and 1e-5 for samples.
        diag_shift: Is added to its diagonal, which slows the dynamics; a cutoff of the solver
            disturbs it less.
        snr: With it, forces in the eigenbasis of the quantum geometric tensor are damped where
            their signal-to-noise ratio is below this number (Schmitt and Heyl, Phys. Rev. Lett.
            125, 100503 (2020)); 2 to 4 are usual. A full sum has no noise. Needs a `PseudoInverse`.
        mode: "real", "complex" or "holomorphic", see `ritz.updates.Problem`; by default "real" in
            imaginary time if parameters and log psi are real, otherwise "complex".
        chunk_size_bwd: How many samples are differentiated at once; by default the state's
            `chunk_size`.
        energy_offset: The energy at infinite temperature, for the V-score.
        n_dof: The number of particles for the V-score, see `VMC`.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: Number of threads that BLAS may use during runs; None for all.
        observables: Name -> operator, estimator or function (params, sample) -> value, estimated
            on the samples of each row.
        loss_name: Name of the energy in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If Hamiltonian and state live on different spaces, the Hamiltonian is not
            Hermitian, the phase of the wave function is fixed in real time, variables besides its
            parameters are to follow the samples, the sampler cannot be part of a compiled step, or
            a value is not allowed.
    """

    adjustable = frozenset({"rate_scale", "chunk_sizes"})

    rate_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the step size, set by callbacks; 1 by default."""

    doubt_remedies: Mapping[str, str] = {**SAMPLING_REMEDIES, **REMEDIES}

    @suggests_names
    def __init__(
        self,
        hamiltonian: AbstractOperator,
        variational_state: VariationalState,
        dt: float = 0.01,
        *,
        integrator: str | Tableau = "RK23",
        propagation: str = "real",
        t0: float = 0.0,
        adaptive: bool | None = None,
        rtol: float = 1e-3,
        atol: float = 0.0,
        dt_limits: tuple[float, float] = ANY_SIZE,
        error_norm: str = "qgt",
        controller: str = "PI",
        max_trials: int = 10,
        solver: Solver | None = None,
        diag_shift: float = 0.0,
        snr: float | None = None,
        mode: str | None = None,
        chunk_size_bwd: int | None = None,
        energy_offset: float = 0.0,
        n_dof: int | None = None,
        local_updates: bool = True,
        blas_threads: int | None = 1,
        observables: Mapping[str, object] | None = None,
        loss_name: str = "Energy",
    ):
        super().__init__(
            hamiltonian=hamiltonian,
            variational_state=variational_state,
            observables=observables,
            energy_offset=energy_offset,
            n_dof=n_dof,
            local_updates=local_updates,
            blas_threads=blas_threads,
            loss_name=loss_name,
        )
        check_still(self.state)
        for name in (loss_name, *self._observables):
            if name in _OWN_NAMES:
                raise ValueError(f"{name!r} is taken: rows of a time evolution have that name.")
        tableau = as_tableau(integrator)
        is_adaptive = tableau.is_adaptive(adaptive)
        least, largest = checked_limits(dt_limits, is_adaptive)
        self._step_size = StepSize(
            adaptive=is_adaptive,
            atol=atol,
            rtol=rtol,
            least=least,
            largest=largest,
            norm=error_norm,
            controller=controller,
            max_trials=max_trials,
        )
        if solver is None:
            solver = PseudoInverse(rtol_smooth=1e-8 if self._sums else 1e-5)
        check_solver(solver)
        if snr is not None and not isinstance(solver, PseudoInverse):
            raise ValueError(f"snr needs solver=PseudoInverse(...), but {solver!r} was given.")
        self.mode = checked_mode(mode, self.state, self._log_psi)
        check_choice("propagation", propagation, tuple(PROPAGATIONS))
        if propagation == "real":
            check_phase(self.mode, self.state, self._log_psi)
        self.propagation, self.tableau = propagation, tableau
        self._equation = Equation(
            solver=solver,
            diag_shift=check_positive("diag_shift", diag_shift, or_zero=True),
            snr=None if snr is None else check_positive("snr", snr),
            sums=self._sums,
        )
        self.chunk_size_bwd = chunk_size_bwd
        t0 = check_finite("t0", t0)
        self._clock_now = self._following = first_clock(t0, self._bounded(dt))
        self._duration, self._stops = 0.0, checked_stops((), t0, 0.0)
        self._check_sampler()
        super().register_hook(EndOfTime())

    def _check_sampler(self) -> None:
        if not self._sums and not self._samples_compiled:
            raise ValueError(
                "each stage of a step draws samples within the compiled step, which "
                f"{type(self.state.sampler).__name__} cannot; use another sampler, such as "
                "ritz.lattice.MetropolisLocal, or a FullSumState."
            )

    @property
    def t(self) -> float:
        """Time that the state has reached, in units of 1 over those of the Hamiltonian."""
        self._refuse_deferred("asked for driver.t")
        return float(self._clock_now.t)

    @property
    def dt(self) -> float:
        """Size of the next step, unless the run ends before; may be set, within `dt_limits`."""
        self._refuse_deferred("asked for driver.dt")
        return float(self._clock_now.dt)

    @dt.setter
    def dt(self, dt: float) -> None:
        self._refuse_deferred("set driver.dt")
        self._clock_now = self._clock_now._replace(dt=self._bounded(dt))

    def _bounded(self, dt: float) -> Float[Array, ""]:
        return self._step_size.bounded(jnp.asarray(check_positive("dt", dt), float))

    @property
    def run_began(self) -> float:
        """The time at which the present (or last) run began."""
        return float(self._clock_now.began)

    @functools.partial(suggests_names, more=(LatticeDriver.run,), instead=_NO_STEPS)
    def run(  # type: ignore[override]
        self,
        T: float,
        *arguments: Any,
        tstops: Sequence[float] = (),
        max_steps: int = MOST_STEPS,
        show_progress: bool | None = True,
        callback: Any = None,
        **options: Any,
    ) -> tuple[AbstractCallback, ...]:
        """Evolve by the time `T`; the last step is cut so that it ends there.

        Args:
            T: How long, from the present time on. A resumed run takes what is left of it.
            *arguments: `out`, `obs` and `step_size`, see `AbstractDriver.run`.
            tstops: Times at which steps also end, so that rows have them.
            max_steps: Largest number of steps.
            show_progress: Whether to show a progress bar on stderr.
            callback: A callback or several, called at each step as in every driver.
            **options: Other arguments of `AbstractDriver.run`.

        Returns:
            The loggers in `out`.

        Raises:
            ValueError: If an argument has a bad value; no hook has run then.
        """
        n_steps = self._prepare(T, tstops, max_steps)
        bars = [TimeBar(self._duration)] if show_progress else []
        return super().run(
            n_steps, *arguments, show_progress=False, callback=[*listed(callback), *bars], **options
        )

    @functools.partial(suggests_names, more=(LatticeDriver.steps,), instead=_NO_STEPS)
    def steps(  # type: ignore[override]
        self,
        T: float,
        *arguments: Any,
        tstops: Sequence[float] = (),
        max_steps: int = MOST_STEPS,
        **options: Any,
    ) -> Steps:
        """The steps of `run` as a generator, see `AbstractDriver.steps`."""
        return super().steps(self._prepare(T, tstops, max_steps), *arguments, **options)

    def _prepare(self, T: float, tstops: Sequence[float], max_steps: int) -> int:
        """Set the end of a run; returns the largest number of steps."""
        if self.run_state.is_running:
            raise RuntimeError(
                "this driver is running already; finish or close its loop before a second run."
            )
        duration = check_positive("T", T, or_zero=True)
        n_steps = check_count("max_steps", max_steps, 0)
        self._stops = checked_stops(tstops, self.t, duration)
        self._clock_now = self._clock_now._replace(began=self._clock_now.t)
        self._duration = duration
        return n_steps if duration else 0

    # Kernel and carry.

    @property
    @override
    def kernel(self) -> TDVPKernel:
        self._check_sampler()
        state = self.state
        inner = self._lattice_kernel(
            StepSettings(
                apply_fun=state._apply_fun,
                mode=self.mode,
                chunk_size=state.chunk_size,
                n_dof=self.n_dof,
                energy_offset=self.energy_offset,
                flips=self._flips,
                loss_name=self.loss_name,
            )
        )
        settings = TDVPSettings(
            tableau=self.tableau,
            equation=self._equation,
            step_size=self._step_size,
            factor=PROPAGATIONS[self.propagation],
            mode=self.mode,
            chunk_size_bwd=self.chunk_size_bwd or state.chunk_size,
        )
        return TDVPKernel(
            inner=inner,
            duration=jnp.asarray(self._duration, float),
            stops=self._stops,
            settings=settings,
        )

    @property
    @override
    def carry(self) -> TDVPCarry:
        state = self.state
        return TDVPCarry(
            params=state.parameters,
            model_state=state.model_state,
            sampler_state=self._carried_sampler,
            clock=self._clock_now,
            following=self._following,
            rate_scale=scale_array(self, "rate_scale"),
            watch=self._watch,
        )

    @carry.setter
    def carry(self, carry: TDVPCarry) -> None:
        self._put(carry)
        self._clock_now, self._following = carry.clock, carry.following
        self._watch = carry.watch

    @property
    @override
    def settings(self) -> dict[str, object]:
        return {
            **super().settings,
            "integrator": self.tableau,
            "step_size": self._step_size,
            "equation": self._equation,
            "propagation": self.propagation,
            "mode": self.mode,
        }

"""Find the ground state of the transverse-field Ising chain and check it against the exact energy.

Writes the logs, the parameters and a picture into a folder under runs/.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ritz.driver import StopReason
from ritz.extras import needs
from ritz.folders.lock import FolderLock
from ritz.folders.summary import write_summary
from ritz.full_precision import in_full_precision
from ritz.loggers import CSVLog, JsonLog
from ritz.plotting import plot_runs
from ritz.wording import counted

if TYPE_CHECKING:
    import netket as nk

_EVALUATION_CHAINS = 256


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} was given, but a whole number of at least {least} is needed"
            )
        return number

    return parse


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} was given, but a finite number is needed")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz demo` takes."""
    parser.add_argument("--sites", type=_whole(3), default=20, help="number of spins")
    parser.add_argument("--field", type=_finite, default=1.0, help="transverse field h; J = 1")
    parser.add_argument("--iterations", type=_whole(1), default=300, help="optimisation steps")
    parser.add_argument("--samples", type=_whole(16), default=1024, help="samples a step")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="where to write")


def run(options: argparse.Namespace) -> None:
    """Optimise, evaluate on fresh samples, draw, and print the result.

    Raises:
        FolderInUseError: If another run goes on in the folder.
    """
    with FolderLock(options.folder).held():
        _run(options)


def _run(options: argparse.Namespace) -> None:
    with needs("ritz demo", "lattice"):
        import netket as nk
        import optax

    from ritz.lattice import VMC
    from ritz.lattice.ising import ising_chain, ising_chain_energy
    from ritz.updates import SR

    exact = ising_chain_energy(options.sites, options.field)
    hamiltonian = ising_chain(options.sites, options.field)
    # One short chain for every sample: on a CPU the depth of sequential moves costs most.
    sampler = nk.sampler.MetropolisLocal(hamiltonian.hilbert, n_chains=options.samples)
    state = nk.vqs.MCState(
        sampler,
        nk.models.RBM(alpha=1),
        n_samples=options.samples,
        n_discard_per_chain=0,
        seed=options.seed,
        sampler_seed=options.seed + 1,
    )
    # Careful first steps: the chains follow the wave function by one sweep a step.
    shift = optax.exponential_decay(0.1, 10, 0.5, end_value=1e-3)
    rate = optax.linear_schedule(0.05, 0.01, options.iterations)
    driver = VMC(hamiltonian, rate, variational_state=state, update=SR(diag_shift=shift))

    folder: Path = options.folder
    sys.stdout.write(
        f"Transverse-field Ising chain of {options.sites} spins, h = {options.field:g}; RBM with "
        f"{counted(state.n_parameters, 'parameter')}, {options.samples} samples a step.\n"
    )
    driver.run(
        options.iterations,
        out=[JsonLog(folder / "run"), CSVLog(folder / "run.csv", mode="write")],
    )
    if driver.stop_reason is StopReason.DIVERGED:
        raise SystemExit(f"the demo has no result: {driver.stop_message}.")
    energy = evaluate(state, hamiltonian, options.seed + 2)
    result = {
        "energy": float(energy.mean.real),
        "error": float(energy.error_of_mean),
        "exact": exact,
        "relative_error": abs(float(energy.mean.real) - exact) / abs(exact),
        "steps": driver.step_count,
        "seconds": driver.elapsed,
        "stop_reason": None if driver.stop_reason is None else driver.stop_reason.name,
        "message": driver.stop_message,
    }
    write_summary(folder, result)
    picture = plot_runs([folder], folder / "energy.png")
    sys.stdout.write(
        f"\nenergy on fresh samples  {result['energy']:.6f} +- {result['error']:.6f}\n"
        f"exact energy             {exact:.6f}\n"
        f"relative error           {result['relative_error']:.1e}\n\n"
        f"logs and parameters in {folder}, picture in {picture}\n"
    )


def evaluate(
    state: "nk.vqs.MCState", hamiltonian: "nk.operator.AbstractOperator", seed: int
) -> "nk.stats.Stats":
    """The energy of frozen parameters on samples of new, thermalised chains."""
    import netket as nk

    sampler = nk.sampler.MetropolisLocal(hamiltonian.hilbert, n_chains=_EVALUATION_CHAINS)
    fresh = nk.vqs.MCState(
        sampler,
        state.model,
        variables=state.variables,
        n_samples=128 * _EVALUATION_CHAINS,
        n_discard_per_chain=64,
        sampler_seed=seed,
        chunk_size=2**14,
    )
    return in_full_precision(fresh.expect)(hamiltonian)

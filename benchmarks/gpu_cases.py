"""The runs of `benchmarks.gpu`; each imports the packages that it needs when it is made."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from ritz.driver.callback import AbstractCallback


@dataclasses.dataclass(frozen=True)
class Case:
    """A driver to be measured."""

    label: str
    driver: Any
    remark: str = ""
    """Sizes."""
    callback: AbstractCallback | None = None
    exact: float | None = None
    """The lowest loss there is, or its best estimate; None leaves the loss out."""
    share: float = 1.0
    """Seconds of measurement, in multiples of those of other cases."""
    more: Callable[[], dict[str, float]] = dict
    """Further figures, measured afterwards."""


N_SAMPLES = 4096
N_WALKERS = 4096
N_PRETRAINED = 200
"""Steps of pretraining of molecules, so that energies begin near Hartree-Fock's."""
N_STRUCTURES = 1024


def null(small: bool) -> Iterator[Case]:
    """Steps that compute nothing: the cost of the loop, in blocks and live."""
    from benchmarks.null_driver import NullDriver
    from ritz.callbacks import LambdaCallback

    yield Case("nothing, in blocks", NullDriver(), "8 parameters")
    live = LambdaCallback(on_step_end=lambda step, log_data, driver: None)
    yield Case("nothing, live", NullDriver(), "8 parameters", live)


def _ising(n: int, n_samples: int, rule: Any) -> Case:
    import netket as nk

    from ritz.lattice import VMC, mc_state
    from ritz.lattice.ising import ising_chain, ising_chain_energy

    hamiltonian = ising_chain(n, 1.0)
    state = mc_state(
        nk.models.RBM(alpha=1), hamiltonian.hilbert, n_samples=n_samples, seed=1, sampler_seed=2
    )
    driver = VMC(hamiltonian, 0.02, variational_state=state, update=rule)
    sizes = f"RBM, {type(rule).__name__}, {n_samples:,} samples, double precision"
    return Case(f"TFIM {n}", driver, sizes, exact=ising_chain_energy(n, 1.0))


def tfim20(small: bool) -> Iterator[Case]:
    """The critical Ising chain with a restricted Boltzmann machine and SR."""
    from ritz.updates import SR

    yield _ising(8 if small else 20, 64 if small else N_SAMPLES, SR(diag_shift=1e-2))


def tfim100(small: bool) -> Iterator[Case]:
    """A longer chain, and minSR."""
    from ritz.updates import MinSR

    yield _ising(12 if small else 100, 64 if small else N_SAMPLES, MinSR(diag_shift=1e-2))


def heisenberg(small: bool) -> Iterator[Case]:
    """The square lattice with a residual convolutional network and minSR."""
    import netket as nk

    from ritz.lattice import VMC, mc_state
    from ritz.lattice.models import ResNet
    from ritz.updates import MinSR

    length, n_samples = (4, 32) if small else (10, N_SAMPLES)
    graph = nk.graph.Square(length)
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
    operator = nk.operator.Heisenberg(hilbert, graph, sign_rule=True).to_jax_operator()
    network = ResNet((length, length), depth=1 if small else 2, width=2 if small else 8)
    chunk = None if small else 2048
    state = mc_state(
        network,
        hilbert,
        graph=graph,
        n_samples=n_samples,
        chunk_size=chunk,
        seed=1,
        sampler_seed=2,
    )
    driver = VMC(operator, 0.02, variational_state=state, update=MinSR(diag_shift=1e-2))
    exact = -44.91393283371539 if small else -0.671549 * 4 * 100  # Sandvik, PRB 56, 11678 (1997)
    sizes = f"ResNet of {network.depth} x {network.width}, MinSR, {n_samples:,} samples"
    yield Case(f"Heisenberg {length}x{length}", driver, sizes, exact=exact)


def _molecule(name: str, rule: str, small: bool) -> Iterator[Case]:
    from benchmarks.molecule_stages import pretrained
    from ritz.molecule import VMC, Molecule
    from ritz.molecule.presets import preset
    from ritz.molecule.vmc import default_rate, default_update
    from ritz.updates import KFAC

    molecule = Molecule({"LiH": "H2", "N2": "He"}[name] if small else name)
    network = preset("small" if small else "ferminet", molecule)
    n_walkers, n_steps = (16, 2) if small else (N_WALKERS, N_PRETRAINED)
    first = pretrained(molecule, network, n_steps, n_walkers=n_walkers)
    update = {"KFAC": KFAC(1e-3), "SPRING": default_update()}[rule]
    driver = VMC(molecule, network, default_rate, update=update, **first)
    sizes = f"FermiNet, {rule}, {n_walkers:,} walkers, single precision"
    yield Case(f"{molecule.name} {rule}", driver, sizes, exact=molecule.energy, share=4.0)


def rutile(n: int) -> list[Any]:
    """Displaced rutile TiO2, 24 atoms each, with energies and forces of a pair potential."""
    import numpy as np
    from ase.spacegroup import crystal

    from ritz.relax import LennardJones, relax

    cell = [4.594, 4.594, 2.959, 90, 90, 90]
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    unit = crystal(["Ti", "O"], basis=sites, spacegroup=136, cellpar=cell)
    rng, found = np.random.default_rng(0), []
    for _ in range(n):
        atoms = unit * (2, 2, 1)
        atoms.positions += rng.normal(size=atoms.positions.shape) * 0.08
        found.append(atoms)
    pairs = LennardJones({"Ti": 0.3, "O": 0.1}, {"Ti": 2.2, "O": 2.0}, cutoff=6.0)
    return relax(found, pairs, max_steps=0).atoms


def _training(small: bool, n_members: int) -> Iterator[Case]:
    from benchmarks.data import folder, has_data
    from benchmarks.potentials import HIDDEN, committee, config, descriptor
    from ritz.mlip import ANNPotential, read_structures

    settings = config(0.1)
    if has_data() and not small:
        structures = read_structures(sorted((folder() / "tio2" / "xsf").glob("*.xsf"))[:200])
        source = "TiO2 of RITZ_DATA"
    else:
        structures = rutile(20 if small else 200)
        settings = dataclasses.replace(settings, atomic_energies={"Ti": 0.0, "O": 0.0})
        source = "displaced rutile"
    if n_members == 1:
        made = ANNPotential({"Ti": HIDDEN, "O": HIDDEN}, descriptor())
        driver: Any = made.driver(structures, settings)
    else:
        driver = committee(structures, settings)
    label = "TiO2" if n_members == 1 else f"TiO2, {n_members} members"
    sizes = f"{len(structures)} structures, {source}, batches of 32, forces, double precision"
    yield Case(label, driver, sizes)


def relaxation(small: bool) -> Iterator[Case]:
    """Argon, all structures at once: one step, and from `ase.Atoms` to `ase.Atoms`."""
    from benchmarks.relax import FMAX, argon, model
    from ritz.relax import FIRE, ConvergenceHook, Relaxation, relax

    n = 8 if small else N_STRUCTURES
    structures = [argon(seed, (2, 2, 2) if small else (3, 3, 3)) for seed in range(n)]

    def rate() -> dict[str, float]:
        def run() -> float:
            began = time.perf_counter()
            relax(structures, model(), fmax=FMAX, slots=n)
            return n / (time.perf_counter() - began)

        run()
        return {"structures/s": run()}

    stage = FIRE(convergence_hook=ConvergenceHook.from_fmax(1e-30))  # never met
    driver = Relaxation(structures, model(), stage, slots=n)
    sizes = f"argon, {len(structures[0])} atoms, FIRE, double precision"
    yield Case(f"{n:,} structures", driver, sizes, more=rate)


CASES: dict[str, Callable[[bool], Iterator[Case]]] = {
    "null": null,
    "tfim20": tfim20,
    "tfim100": tfim100,
    "heisenberg": heisenberg,
    "tio2": lambda small: _training(small, 1),
    "tio2-committee": lambda small: _training(small, 4),
    "relax": relaxation,
    "lih-kfac": lambda small: _molecule("LiH", "KFAC", small),
    "lih-spring": lambda small: _molecule("LiH", "SPRING", small),
    "n2-kfac": lambda small: _molecule("N2", "KFAC", small),
    "n2-spring": lambda small: _molecule("N2", "SPRING", small),
}
"""Name -> the drivers of a case, given whether they should be small."""

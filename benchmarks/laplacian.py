"""Kinetic energies by the forward Laplacian with dense and with sparse derivatives."""

from functools import partial

import jax

from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.molecule import Molecule
from ritz.molecule.estimators.kinetic import Kinetic
from ritz.molecule.presets import preset
from ritz.molecule.wavefunction import wave_function

SYSTEMS = ("LiH", "N", "Ne", "N2")
NETWORKS = {"small": 64, "ferminet": 16, "lapnet": 16}
"""Presets and numbers of walkers."""


def _row(system: str, name: str, n_walkers: int) -> list[object]:
    molecule = Molecule(system)
    network = preset(name, molecule)
    electrons = jax.random.normal(jax.random.key(0), (n_walkers, molecule.n_electrons, 3))
    params = network.init(jax.random.key(1), electrons[0])["params"]
    log_psi = wave_function(network, params, molecule.n_electrons, "float32")
    contenders = {}
    for method in ("dense", "sparse"):
        estimator = Kinetic(method)
        energy = jax.jit(partial(estimator.evaluate, log_psi, values={}))
        contenders[method] = lambda energy=energy: energy(params, electrons).block_until_ready()
    found = interleaved(contenders, 7)
    dense, sparse = found["dense"], found["sparse"]
    milliseconds = [1e3 * min(timing.times) / n_walkers for timing in (dense, sparse)]
    ratio = milliseconds[0] / milliseconds[1]
    return [
        system, molecule.n_electrons, name, *milliseconds, ratio, dense.first, sparse.first
    ]  # fmt: skip


def measure() -> Table:
    """A row for each system and network."""
    rows = [_row(system, *network) for system in SYSTEMS for network in NETWORKS.items()]
    return Table(
        name="laplacian",
        title="Forward Laplacian with dense and with sparse derivatives",
        header=[
            "system", "electrons", "preset", "dense, ms a walker", "sparse, ms a walker",
            "dense / sparse", "first call, dense (s)", "first call, sparse (s)",
        ],
        rows=rows,
        remarks="The kinetic energy alone, single precision; the shortest of seven calls in turns. "
        '`Kinetic("auto")` takes sparse derivatives from ten electrons on.',
    )  # fmt: skip

"""Pipelines of stages, whose logs and states must not depend on devices and processes.

`python -m tests.stages.many_devices OUT [NAME...]`, see `tests.arrangements`.
"""

import sys

from tests.arrangements import columns, report

N_SAMPLES = 24
FOLDERS = sys.argv[1:2]
"""Where runs are: beside what this module writes, the same for all processes."""


def cases():
    """Name -> function that returns a folder, wave function, settings and estimators."""
    import jax.numpy as jnp

    def lattice():
        import netket as nk

        from ritz.lattice import LatticeWavefunction

        hilbert = nk.hilbert.Spin(0.5, 4)
        hamiltonian = nk.operator.IsingJax(hilbert, graph=nk.graph.Chain(4), h=1.0)
        wavefunction = LatticeWavefunction(nk.models.RBM(alpha=1), hilbert)
        return "lattice", wavefunction, {"n_samples": N_SAMPLES}, {"energy": hamiltonian}

    def molecule():
        from ritz.molecule import FermiNet, Molecule, MoleculeWavefunction
        from ritz.molecule.driver import energy_estimators

        helium = Molecule("He")
        network = FermiNet(helium, hidden=((8, 4),), n_determinants=2, dtype=jnp.float64)
        settings = {"n_walkers": N_SAMPLES, "dtype": "float64"}
        return (
            "molecule",
            MoleculeWavefunction(helium, network),
            settings,
            energy_estimators(helium),
        )

    return {"lattice": lattice, "molecule": molecule}


def found(case):
    """Rows, digest and parameters of training and evaluation, and of the same pipeline again."""
    import jax
    import numpy as np

    from ritz.plotting import read_log
    from ritz.stages import (
        EvaluationWorkStage,
        Pipeline,
        RunContext,
        VMCWorkStage,
        read_digest,
    )
    from ritz.updates import SR

    name, wavefunction, settings, estimators = case
    folder = f"{FOLDERS[0]}-{name}"

    def built(stage, name, iterations):
        cfg = {"iterations": iterations, "burn_in": 2, "save_step_interval": 2, **settings}
        builder = stage.builder(cfg, wavefunction, name=name)
        builder.configure_estimators(**estimators)
        return builder

    def run():
        train = built(VMCWorkStage, "train", 5)
        train.configure_optimizer(default=0.02, f_log_psi=wavefunction.logpsi, update=SR(0.01))
        stages = [train.build(), built(EvaluationWorkStage, "evaluate", 6).build()]
        return Pipeline(stages).run(RunContext(folder), jax.random.key(3))

    numbers = {}
    for time in ("first", "again"):
        states = run()
        for stage in ("train", "evaluate"):
            numbers |= {
                f"{time}.{stage}.{key}": values
                for key, values in columns(read_log(f"{folder}/{stage}/{stage}.log")).items()
            }
        leaves = jax.tree.leaves(states["evaluate"].params)
        numbers |= {f"{time}.parameters.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        for key, estimate in read_digest(f"{folder}/evaluate").items():
            numbers[f"{time}.digest.{key}"] = [estimate.mean, estimate.error]
    return numbers


if __name__ == "__main__":
    report(cases, found)

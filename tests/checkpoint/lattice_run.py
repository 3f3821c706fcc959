"""A lattice run that saves often, for tests that kill it: `python -m ... FOLDER N_STEPS`."""

import sys
from pathlib import Path

import jax
import netket as nk
import numpy as np
import optax

from ritz.callbacks import BestState, LambdaCallback, ParameterEMA, ReduceLROnPlateau
from ritz.checkpoint import Checkpoint
from ritz.lattice import VMC, mc_state
from ritz.loggers import CSVLog, HDF5Log, JsonLog
from ritz.plotting import read_log
from ritz.updates import SPRING

LOGS = ("run.log", "run.csv", "run.h5")


def make_driver(seed=1, n_samples=64, alpha=1, optimizer=None):
    hilbert = nk.hilbert.Spin(0.5, 6)
    hamiltonian = nk.operator.Ising(hilbert, nk.graph.Chain(6), h=1.0)
    state = mc_state(
        nk.models.RBM(alpha=alpha), hilbert, n_samples=n_samples, seed=seed, sampler_seed=seed + 1
    )
    optimizer = optax.adam(5e-3) if optimizer is None else optimizer
    return VMC(hamiltonian, optimizer, variational_state=state, update=SPRING(diag_shift=1e-2))


def callbacks():
    return [
        BestState("Energy"),
        ParameterEMA(),
        ReduceLROnPlateau("Energy", patience=200, factor=0.9),
    ]


def loggers(folder):
    return [JsonLog(folder / "run"), CSVLog(folder / "run.csv", "write"), HDF5Log(folder / "run")]


def run(
    folder, n_steps, tell=lambda: None, more=(), driver=None, out=(), max_block=None, **options
):
    """Take the steps that are left, and say when the first has been taken."""
    driver = driver or make_driver()
    told = []

    def first(*_):
        if not told:
            told.append(tell())

    watch = LambdaCallback(on_step_end=first, live=False)
    saving = Checkpoint(folder / "checkpoints", **{"every_steps": 40, **options})
    driver.run(
        n_steps,
        out=[*loggers(folder), *out],
        callback=[*callbacks(), watch, saving, *more],
        show_progress=False,
        resume=True,
        max_block=max_block,
    )
    return driver


def parameters(driver):
    """The parameters, which every process has, as text."""
    return [np.asarray(x).tobytes().hex() for x in jax.tree.leaves(driver.parameters)]


def rows(data):
    """The energies of a log, as text."""
    return [data["Energy"].iters.tolist(), data["Energy"]["Mean"].tobytes().hex()]


def result(folder, driver):
    """All that must not depend on interruptions; times and block lengths do."""
    found = {f"state{i}": _bytes(x) for i, x in enumerate(jax.tree.leaves(driver.snapshot()))}
    for key, callback in driver.hooks.stateful.items():
        leaves = jax.tree.leaves(dict(callback.state_dict()))
        found |= {f"{key}{i}": _bytes(x) for i, x in enumerate(leaves)}
    for name in LOGS:
        found |= {f"{name}/{key}": value for key, value in columns(folder / name).items()}
    return found


def columns(log):
    """Every column of a log as bytes, by its name."""
    found = {}
    for name, history in read_log(log).items():
        if name not in ("wallclock", "block"):
            inner = history if isinstance(history, dict) else {"": history}
            for part, column in inner.items():
                for field, values in column.to_dict().items():
                    found[f"{name}/{part}/{field}"] = values.tobytes()
    return found


def _bytes(leaf):
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def main():
    folder, n_steps = Path(sys.argv[1]), int(sys.argv[2])
    driver = run(folder, n_steps, lambda: print("running", flush=True))
    found = result(folder, driver)
    np.savez(folder / "result.npz", **{k: np.frombuffer(v, np.uint8) for k, v in found.items()})
    print("done", flush=True)


if __name__ == "__main__":
    main()

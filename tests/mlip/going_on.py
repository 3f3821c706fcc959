"""Trains or relaxes to a step and saves; goes on if there is a checkpoint: `OUT FOLDER STEPS`."""

import logging
import sys

import jax

from ritz.checkpoint import Checkpoint
from ritz.driver.processes.division import on_host
from ritz.loggers import RuntimeLog
from ritz.relax import Relaxation
from tests.arrangements import columns, join, write
from tests.mlip.many_devices import driver_of
from tests.relax.many_devices import many
from tests.relax.systems import fire, lennard_jones

MAKERS = {
    "forces": lambda: driver_of("forces"),
    "kfac": lambda: driver_of("kfac"),
    "streamed": lambda: driver_of("committee, streamed"),
    "waiting": lambda: Relaxation(many(), lennard_jones(), fire(), slots=3),
}


def main():
    rank = join()
    jax.config.update("jax_enable_x64", True)
    logging.basicConfig(level=logging.INFO)
    _, _, folder, *steps = sys.argv
    found = {}
    for (name, make), last in zip(MAKERS.items(), steps, strict=True):
        driver, log = make(), RuntimeLog()
        driver.run(
            int(last),
            out=[log],
            callback=[Checkpoint(f"{folder}/{name}", every_steps=1000)],
            show_progress=False,
            resume=True,
        )
        parameters = {} if name == "waiting" else on_host(driver.parameters)
        found[name] = columns(log.data) | {
            f"parameters {place}": leaf for place, leaf in enumerate(jax.tree.leaves(parameters))
        }
        if name == "waiting":
            found[name] |= {"energy": driver.state.energy, "steps": driver.state.steps}
    write(found, rank)


if __name__ == "__main__":
    main()

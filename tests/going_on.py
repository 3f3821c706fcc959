"""Runs to a step and saves; goes on if there is a checkpoint: `OUT FOLDER DOMAIN before|whole`."""

import logging
import sys

import jax

from ritz.checkpoint import Checkpoint
from ritz.driver.processes.division import on_host
from ritz.loggers import RuntimeLog
from tests.arrangements import columns, join, write


def lattice():
    """Name -> function that returns a driver, and after how many steps it is saved and ends."""
    from tests.lattice.many_devices import cases

    names = "SPRING", "KFAC", "netket's Hamiltonian", "autoregressive", "evaluation, few chains"
    made = cases()
    return {name: (made[name], 4, 9) for name in names}


def molecule():
    """The same of molecules."""
    from tests.molecule.many_devices import cases

    names = "SPRING", "KFAC, in chunks", "one particle", "MARCH"
    made = cases()
    return {name: (lambda name=name: made[name]()[0], 4, 9) for name in names}


def potential():
    """The same of potentials: saved in the middle of an epoch."""
    from tests.mlip.many_devices import driver_of

    saved = {"forces": 4, "kfac": 5, "committee, streamed": 4}
    return {name: (lambda name=name: driver_of(name), n, 9) for name, n in saved.items()}


def relaxation():
    """The same of relaxations, saved in the middle of a queue, and of dynamics."""
    from tests.relax.many_devices import cases

    made, saved = cases(), {"waiting": (60, 400), "dynamics": (12, 30)}
    return {name: (lambda name=name: made[name]()[0], *steps) for name, steps in saved.items()}


DOMAINS = {made.__name__: made for made in (lattice, molecule, potential, relaxation)}


def main():
    rank = join()
    jax.config.update("jax_enable_x64", True)
    logging.basicConfig(level=logging.INFO)
    _, _, folder, domain, until = sys.argv
    found = {}
    for name, (make, *steps) in DOMAINS[domain]().items():
        driver, log = make(), RuntimeLog()
        driver.run(
            steps[until == "whole"],
            out=[log],
            callback=[Checkpoint(f"{folder}/{name}", every_steps=1000)],
            show_progress=False,
            resume=True,
        )
        found[name] = columns(log.data)
        if domain == "relaxation":
            found[name] |= {"energy": driver.state.energy, "steps": driver.state.steps}
        else:
            leaves = enumerate(jax.tree.leaves(on_host(driver.parameters)))
            found[name] |= {f"parameters {place}": leaf for place, leaf in leaves}
    write(found, rank)


if __name__ == "__main__":
    main()

"""What devices send one another in a step of training, as a process of `tests.arrangements`."""

import functools

import jax

from ritz.mlip import ANNPotential
from ritz.testing.collectives import block_collectives, described, totals
from tests.arrangements import report
from tests.mlip.many_devices import driver_of
from tests.mlip.systems import config, descriptor, tio2

NAMES = ("forces", "kfac", "committee", "streamed", "graph")


def cases():
    made = {name: functools.partial(driver_of, name) for name in NAMES}
    wide = ANNPotential({"Ti": [(80, "tanh")], "O": [(80, "tanh")]}, descriptor())
    return {**made, "wide": lambda: wide.driver(tio2(), config(testpercent=25))}


def found_by(driver):
    driver.run(2, show_progress=False)
    found = block_collectives(driver)
    print(described(found))
    curvature = driver._curvature
    return {
        "n_parameters": sum(x.size for x in jax.tree.leaves(driver.parameters)),
        "n_curvature": 0
        if curvature is None
        else sum(x.size for x in jax.tree.leaves(curvature.zeros("float64"))),
        "in a step": totals(one for one in found if one.loops and "cond/" not in one.source),
        "in an epoch": totals(one for one in found if one.loops and "cond/" in one.source),
        "in a block": totals(one for one in found if not one.loops),
    }


if __name__ == "__main__":
    report(cases, found_by)

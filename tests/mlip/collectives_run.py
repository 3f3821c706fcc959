"""What devices send one another in a step of training, as a process of `tests.arrangements`."""

import functools

import jax

from ritz.testing.collectives import block_collectives, described, totals
from tests.arrangements import report
from tests.mlip.many_devices import driver_of

CASES = ("forces", "kfac", "committee", "streamed", "graph")


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
    report(lambda: {name: functools.partial(driver_of, name) for name in CASES}, found_by)

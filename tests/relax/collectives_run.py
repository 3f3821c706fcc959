"""What devices send one another in a step of a relaxation, as a process of `tests.arrangements`."""

from ritz.testing.collectives import block_collectives, described, totals
from tests.arrangements import report
from tests.relax.many_devices import cases


def found_by(made):
    driver, _ = made
    driver.run(3, show_progress=False)
    found = block_collectives(driver)
    print(described(found))
    return {
        "n_devices": driver.kernel.division.n_devices,
        "n_slots": [len(slots.member) for slots in driver.carry.slots],
        "in a step": totals(one for one in found if one.loops),
        "in a block": totals(one for one in found if not one.loops),
    }


if __name__ == "__main__":
    report(cases, found_by)

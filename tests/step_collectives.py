"""What devices send one another in a step of some runs, as a process of `tests.arrangements`.

`python -m tests.step_collectives OUT MODULE NAMES...`, where the module has `cases`.
"""

import importlib
import sys

from tests.arrangements import join, write


def main():
    rank = join()
    import jax

    from ritz.testing.collectives import described, step_collectives, totals

    jax.config.update("jax_enable_x64", True)
    _, _, module, *names = sys.argv
    cases, found = importlib.import_module(module).cases(), {}
    for name in names:
        made = cases[name]()
        driver = made[0] if isinstance(made, list) else made
        driver.run(1, show_progress=False)
        sent = step_collectives(driver)
        print(f"{name}\n{described(sent)}")
        found[name] = {
            "n_parameters": sum(x.size for x in jax.tree.leaves(driver.parameters)),
            **totals(sent),
        }
    write(found, rank)


if __name__ == "__main__":
    main()

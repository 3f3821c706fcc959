"""Describes the settings of short runs of many kinds; `python -m tests.described FILE`."""

import importlib
import json
import sys
import warnings
from pathlib import Path

DOMAINS = ("lattice", "molecule", "relax")


def main():
    import jax

    from ritz.driver.description import describe

    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("error")
    found = {}
    for domain in DOMAINS:
        for name, make in importlib.import_module(f"tests.{domain}.many_devices").cases().items():
            made = make()
            for number, driver in enumerate(made if isinstance(made, list | tuple) else [made]):
                if hasattr(driver, "settings"):  # others are made when this one has ended
                    found[f"{domain}, {name}, {number}"] = describe(driver.settings)
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

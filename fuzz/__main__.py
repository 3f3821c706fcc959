"""Fuzzing: random damage, of which nothing may end silently wrong.

Usage: python -m fuzz [--minutes M] [--seed S] [--only KIND] [--case N]

Each finding prints what was done, what came out and how to repeat it; the status is then 1.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(
    JAX_PLATFORMS="cpu",
    TF_CPP_MIN_LOG_LEVEL="3",
    JAX_COMPILATION_CACHE_DIR=str(Path(tempfile.gettempdir()) / "ritz_fuzz_programs"),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
)

KINDS = {
    "run_folders": ("fuzz.run_folders", "RunFolders", 0.33),
    "structures": ("fuzz.structures", "Structures", 0.25),
    "settings": ("fuzz.settings", "Settings", 0.22),
    "processes": ("fuzz.processes", "Processes", 0.2),
}
"""Module, class and share of the time of each kind."""


def fuzz(name: str, seed: int, seconds: float, numbers: range) -> tuple[int, list[object]]:
    """Go through cases of one kind until the time is over; their count, and what was found."""
    from fuzz.case import Kind

    module, kind_name, _ = KINDS[name]
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz_{name}_"))
    kind: Kind = getattr(importlib.import_module(module), kind_name)(folder)
    found: list[object] = []
    count = 0
    began = time.monotonic()
    try:
        kind.prepare()
        for number in numbers:
            place = folder / f"case{number}"
            place.mkdir()
            finding = kind.try_case(seed, number, place)
            count += 1
            if finding is not None:
                found.append(finding)
                print(finding, flush=True)
            shutil.rmtree(place, ignore_errors=True)
            if time.monotonic() - began > seconds:
                break
    finally:
        kind.close()
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    print(f"{name}: {count} cases in {seconds:.0f} s, {len(found)} findings", flush=True)
    return count, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=6.0, help="time for all kinds together")
    parser.add_argument("--seed", type=int, default=None, help="default: one of the clock")
    parser.add_argument("--only", choices=KINDS, help="one kind, which gets all of the time")
    parser.add_argument("--case", type=int, help="one case of that kind")
    options = parser.parse_args()
    if options.case is not None and options.only is None:
        parser.error("--case needs --only")
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    first, last = (0, 10**6) if options.case is None else (options.case, options.case + 1)
    total, findings = 0, []
    for name, (_, _, share) in KINDS.items():
        if options.only in (None, name):
            seconds = 60 * options.minutes * (1 if options.only else share)
            count, found = fuzz(name, seed, seconds, range(first, last))
            total += count
            findings += found
    print(f"{total} cases, {len(findings)} findings, seed {seed}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

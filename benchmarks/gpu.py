"""Steps of all domains on one GPU, beside the time in which the device computes.

Usage: python -m benchmarks.gpu [--seconds S] [--only NAME ...] [--small] [--out FILE]

Takes at most eight minutes: S seconds (450), after which cases that are left are told as left out.
Each case has a process of its own, so that its peak of memory is its own and none stops the others;
one that fails, or that needs a package which is not installed, is told. Results are printed and
written as JSON, by default into benchmarks/results/gpu.json. `--small` takes sizes for a CPU.

A step in blocks cannot be faster than what the device computes in it; the quotient of the two is
what Python, launches and transfers cost. `share` is that of the longest kernels in the sum of all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.blocking import blocked
from benchmarks.device_time import device_time
from benchmarks.gpu_cases import CASES, Case
from benchmarks.report import RESULTS, Table, report
from ritz.loggers import RuntimeLog

ROOT = Path(__file__).parents[1]
SECONDS = 450.0
MEASURED = 4.0
"""Seconds of steps of a case, if there is time."""
MEASURED_SMALL = 0.2
ROUNDS = 5
MOST_TRACED, TRACED = 50, 0.5
"""The most steps that are profiled, and seconds of them."""
N_KERNELS = 5


def measured(case: Case, seconds: float) -> dict[str, Any]:
    """All figures of a case.

    Args:
        case: The case.
        seconds: How long its steps are measured, compilation apart.
    """
    driver, log = case.driver, RuntimeLog()
    out = () if case.exact is None else log

    def run(n: int) -> float:
        began = time.perf_counter()
        driver.run(n, callback=case.callback or (), out=out, show_progress=False)
        return time.perf_counter() - began

    first = run(1)
    run(2)
    n_steps, spent = 4, run(4)
    while spent < seconds / ROUNDS / 4 and n_steps < 10**6:
        n_steps *= 4
        spent = run(n_steps)
    n_steps = max(1, round(n_steps * seconds / ROUNDS / spent))
    times = [run(n_steps) / n_steps for _ in range(ROUNDS)]
    wall = statistics.median(times)
    traced = max(1, min(MOST_TRACED, int(TRACED / wall)))
    spent_traced: list[float] = []
    kernels = device_time(lambda: spent_traced.append(run(traced)))
    busy = kernels.busy / traced
    figures = {
        "case": case.label,
        "wall ms": 1e3 * wall,
        "fastest": 1e3 * min(times),
        "slowest": 1e3 * max(times),
        "device ms": 1e3 * busy,
        "wall/device": wall / busy,
        "profiled ms": 1e3 * spent_traced[0] / traced,
        "kernels": kernels.n_kernels / traced,
        "largest": kernels.largest(N_KERNELS),
        "compile s": max(first - wall, 0.0),
        "GiB": peak_memory(),
        "steps": driver.step_count,
        "sizes": case.remark,
    }
    if case.exact is not None:
        values = np.real(log.data[driver.loss_name]["Mean"])
        energy, error = blocked(values[-max(len(values) // 5, 2) :], 10)
        figures.update(energy=energy, error=error, exact=case.exact)
    return {**figures, **case.more()}


def peak_memory() -> float | None:
    """GiB that this process has had on its device at most; None where JAX does not count."""
    found = jax.local_devices()[0].memory_stats() or {}
    return found["peak_bytes_in_use"] / 2**30 if "peak_bytes_in_use" in found else None


def measured_here(name: str, small: bool, seconds: float) -> dict[str, Any]:
    """What a process finds out about a case: `device`, `lines`, and `error` if it has failed."""
    device = jax.devices()[0]
    found: dict[str, Any] = {
        "device": device.device_kind,
        "platform": device.client.platform_version,
        "lines": [],
    }
    try:
        for case in CASES[name](small):
            found["lines"].append(measured(case, seconds * case.share))
    except ImportError as error:
        found["error"] = f"not installed: {error}"
    except Exception as error:  # others go on, whatever it is
        found["error"] = f"{type(error).__name__}: {error}".partition("\n")[0]
        found["traceback"] = traceback.format_exc()
    return found


def measured_apart(name: str, small: bool, seconds: float, limit: float) -> dict[str, Any]:
    """The same by a process of its own, which is stopped after `limit` seconds."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--only", name, "--work", str(result)]
        command += ["--seconds", str(seconds), *["--small"] * small]
        try:
            done = subprocess.run(command, timeout=limit, env=environment)
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {limit:.0f} s, when the time was over"}
        if not result.exists():
            return {"error": f"its process ended with code {done.returncode}"}
        return json.loads(result.read_text())


def all_measured(
    names: Sequence[str], *, small: bool = False, seconds: float = SECONDS, apart: bool = True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each case and what was found out about it, as it ends.

    Args:
        names: The cases.
        small: Whether sizes are for CPUs.
        seconds: For all together; cases that are left then are left out.
        apart: Whether each has a process of its own.
    """
    began = time.perf_counter()
    each = MEASURED_SMALL if small else MEASURED * min(1.0, seconds / SECONDS)
    for name in names:
        left = seconds - (time.perf_counter() - began)
        if left <= 0:
            yield name, {"error": f"left out: the {seconds:g} s were over"}
        elif apart:
            yield name, measured_apart(name, small, each, limit=left)
        else:
            yield name, measured_here(name, small, each)


HEADER = (
    "case", "wall ms", "device ms", "wall/device", "kernels", "largest", "its share", "compile s",
    "GiB", "steps", "energy", "its error", "exact", "structures/s",
)  # fmt: skip


def table(found: dict[str, dict[str, Any]]) -> Table:
    """The table of all cases, with everything else as details."""
    rows, failed = [], {}
    for name, result in found.items():
        for line in result.get("lines", ()):
            largest, share = line["largest"][0]
            shown = {**line, "largest": largest, "its share": share, "its error": line.get("error")}
            rows.append(["" if shown.get(h) is None else shown[h] for h in HEADER])
        if "error" in result:
            failed[name] = result["error"]
    devices = {result["device"] for result in found.values() if "device" in result}
    return Table(
        "gpu",
        f"One device: {', '.join(sorted(devices)) or 'none'}",
        HEADER,
        rows,
        f"`python -m benchmarks.gpu`. Wall: of a step in blocks, the median of {ROUNDS} runs. "
        "Device: the time in which the device ran any kernel, from the profiler. Kernels: launches "
        "a step (operations on CPUs). Share: of the longest kernel in the sum of all. Compilation: "
        "the first run. Energies are means over the last fifth of all steps.",
        failed,
        details={"cases": found},
    )


def main() -> None:
    """Measure, or work as the process of a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all together")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME",
                        help=f"some of: {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--out", type=Path, help="the file for the results")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        result = measured_here(given.only[0], given.small, given.seconds)
        given.work.write_text(json.dumps(result))
        return
    found = {}
    for name, result in all_measured(given.only, small=given.small, seconds=given.seconds):
        found[name] = result
        for line in result.get("lines", ()):
            told = f"{line['wall ms']:.4g} ms, device {line['device ms']:.4g} ms"
            sys.stdout.write(f"{line['case']}: {told}\n")
        if "error" in result:
            sys.stdout.write(f"{name}: {result['error']}\n")
        sys.stdout.flush()
    file = "gpu_small.json" if given.small else "gpu.json"
    report(table(found), given.out or RESULTS / file)


if __name__ == "__main__":
    main()

"""What one row of three energies costs, early and late in a log.

Every logger writes all its rows, rewrites of documents and growing of arrays included, and the
mean over a window of rows is shown. NetKet's loggers get fewer rows, as their cost grows with the
log; their parameters are not saved.
"""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netket as nk

from benchmarks.report import Table
from ritz.loggers import CSVLog, HDF5Log, JsonLog, RuntimeLog

ROWS = 1_000_000
PEER_ROWS = 20_000
WINDOW = 1_000


def row(step: int) -> dict[str, Any]:
    """Three energies with all their statistics."""
    return {
        f"E{i}": nk.stats.Stats(-10.0 - 1 / (step + 1) + i, 0.01, 0.5, 0.3, math.nan)
        for i in range(3)
    }


def time_rows(write: Callable[[int, dict[str, Any]], None], n_rows: int) -> dict[str, float]:
    """Microseconds a row: in the window from row 10, in the last window, and over all rows."""
    cached = [row(k) for k in range(WINDOW)]  # making rows is not what is measured
    windows, start_all, late = {}, time.perf_counter(), n_rows - WINDOW
    slowest = 0.0
    for first in (0, 10, late):
        windows[first] = math.nan
    for step in range(n_rows):
        if step in (10, late):
            start = time.perf_counter()
        before = time.perf_counter()
        write(step, cached[step % WINDOW])
        slowest = max(slowest, time.perf_counter() - before)
        if step + 1 in (10 + WINDOW, n_rows):
            windows[step + 1 - WINDOW] = (time.perf_counter() - start) / WINDOW * 1e6
    total = time.perf_counter() - start_all
    return {
        "from row 10": windows[10],
        "last 1,000": windows[late],
        "all": total / n_rows * 1e6,
        "slowest row (ms)": slowest * 1e3,
    }


def measure() -> Table:
    """Write all rows with all loggers."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        loggers = {
            "RuntimeLog": RuntimeLog(),
            "JsonLog": JsonLog("run", save_params=False),
            "CSVLog": CSVLog("run"),
            "HDF5Log": HDF5Log("run"),
        }
        rows = []
        for kind, logger in loggers.items():
            stack.enter_context(logger.open(folder, "run"))
            rows.append((kind, ROWS, time_rows(logger.write, ROWS)))
        three = {
            key: sum(times[key] for kind, _, times in rows if kind != "HDF5Log")
            for key in rows[0][2]
        }
        rows.append(("RuntimeLog + JsonLog + CSVLog", ROWS, three))
        peers = {
            "netket RuntimeLog": nk.logging.RuntimeLog(),
            "netket JsonLog": nk.logging.JsonLog(str(folder / "peer"), save_params=False),
        }
        for kind, logger in peers.items():
            rows.append((kind, PEER_ROWS, time_rows(lambda s, r, log=logger: log(s, r), PEER_ROWS)))
            logger.flush()
        return Table(
            "logging_rows",
            "One row of 3 energies, microseconds",
            ["logger", "rows", *three],
            [[kind, n, *times.values()] for kind, n, times in rows],
            "Mean over the first 1,000 rows after the tenth, over the last 1,000, and over all, "
            "rewrites of files included. NetKet's parameters are not saved.",
        )

"""Starts a script on several simulated devices, or as several processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from ritz.driver.processes.division import on_host

ROOT = Path(__file__).parents[1]


def results(module: str, folder: Path, *given: str, devices: int = 1, processes: int = 1) -> list:
    """What `python -m MODULE` of each process has written, see `main`."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    # Programs are compiled quickly, as in other tests.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    started = []
    for rank in range(processes):
        place = [str(folder), str(port), str(rank), str(processes)]
        command = [sys.executable, "-m", module, *place, *given]
        with (folder / f"{rank}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
            )
    status = [process.wait(timeout=600) for process in started]
    said = "".join((folder / f"{rank}.log").read_text() for rank in range(processes))
    assert not any(status), said
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def main(run) -> None:
    """Call `run(*given)` in a process that `results` has started, and write what it returns."""
    import jax

    folder, port, rank, processes, *given = sys.argv[1:]
    if int(processes) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(rank))
    jax.config.update("jax_enable_x64", True)  # as in all tests
    found = run(*given)
    text = json.dumps(found, default=lambda array: on_host(array).tolist())
    (Path(folder) / f"{rank}.json").write_text(text)

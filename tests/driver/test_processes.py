"""Two processes on this machine decide together, through jax.distributed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, os, signal, sys
import jax

port, rank, case = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

from tests.driver.tools import Halving
from ritz.callbacks import AbstractCallback, StopRun
from ritz.loggers import JsonLog, RuntimeLog

class Local(AbstractCallback):
    '''Decides from what only one process sees.'''
    def on_compute_update_end(self, step, log_data, driver):
        return case == "reject" and rank == 0 and step == 1 and driver.step_attempt == 0
    def before_parameter_update(self, step, log_data, driver):
        if case == "stop" and rank == 1 and step == 2:
            raise StopRun("mine")
    def on_step_end(self, step, log_data, driver):
        if case == "signal" and rank == 1 and step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

driver, log = Halving(), RuntimeLog()
json_log = JsonLog(f"log{rank}", save_params=False)
try:
    driver.run(4, out=[log, json_log], callback=Local(), show_progress=False)
    raised = None
except KeyboardInterrupt as error:
    raised = str(error)
print(json.dumps({
    "steps": driver.step_count,
    "message": driver.stop_message,
    "rows": log.data["loss"].iters.tolist(),
    "json rows": json_log.data["loss"].iters.tolist(),
    "attempts": log.data["attempts"].iters.tolist() if "attempts" in log.data else [],
    "file": os.path.exists(f"log{rank}.log"),
    "raised": raised,
}))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_both(case):
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(rank), case],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [p.communicate(timeout=120) for p in processes]
    for process, (_, err) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, err
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def test_one_process_stops_both():
    first, second = run_both("stop")
    assert first["steps"] == second["steps"] == 2
    assert first["rows"] == second["rows"] == [0, 1, 2]
    assert first["json rows"] == second["json rows"] == [0, 1, 2]
    assert first["message"] == "stopped by another process"
    assert second["message"] == "stopped by Local: mine"
    assert (first["file"], second["file"]) == (True, False)  # the first process writes


def test_one_process_rejects_for_both():
    first, second = run_both("reject")
    assert first["attempts"] == second["attempts"] == [1]
    assert first["steps"] == second["steps"] == 4


def test_a_signal_to_one_process_ends_both():
    first, second = run_both("signal")
    assert first["steps"] == second["steps"] == 2
    assert first["message"] == "interrupted by SIGTERM to another process"
    assert second["message"] == second["raised"] == "interrupted by SIGTERM"

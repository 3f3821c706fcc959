"""Random events in one of two processes: both leave together, and the logs have each row once."""

import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuzz.case import Kind, Wrong

STEPS = 24
LEAVE = 20.0
"""Seconds within which both processes must have left a run."""

HOOKS = (
    "on_run_start",
    "on_step_start",
    "on_compute_update_start",
    "on_compute_update_end",
    "before_parameter_update",
    "on_step_end",
    "on_run_end",
    "check_run",
)
ACTS = ("fail", "fail", "fail", "stop", "reject", "signal", "cut", "exit", "interrupt")
ROOT = Path(__file__).parents[1]


def scenario(chance: random.Random) -> dict[str, Any]:
    """What happens in a run; as JSON holds it."""
    deeds = []
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        deeds.append(
            {
                "rank": chance.choice([0, 1, 1, None]),
                "hook": chance.choice(HOOKS),
                "act": chance.choice(ACTS),
                "step": chance.randrange(STEPS),
                "live": chance.random() < 0.4,
                "order": chance.choice([-10, 0, 5, 10, 15, 20, 25, 100]),
            }
        )
    for deed in deeds:  # a signal before the run has taken signals over ends any process
        if (deed["hook"], deed["act"]) == ("check_run", "signal"):
            deed["act"] = "fail"
    return {
        "deeds": deeds,
        "loggers": chance.sample(["csv", "json", "memory"], chance.choice([1, 2, 3])),
        "checkpoint": chance.choice([None, 1, 3, 7]),
        "max_block": chance.choice([None, 1, 4]),
        "speculate": chance.random() < 0.8,
        "seed": chance.randrange(3),
        "again": chance.random() < 0.5,
    }


class Processes(Kind):
    """Sends scenarios to a pair of processes that stay for many."""

    name = "processes"
    limit = 120.0

    def prepare(self) -> None:
        """Start the pair."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        files = [self.folder / f"stderr{rank}" for rank in range(2)]
        self.errors = [file.open("a") for file in files]
        self.pair = [
            subprocess.Popen(
                [sys.executable, "-m", "fuzz.process_pair", str(port), str(rank)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                stderr=self.errors[rank],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for rank in range(2)
        ]
        self._ask({"ready": True}, 60.0)

    def close(self) -> None:
        """End the pair."""
        for process in self.pair:
            process.kill()
            process.wait()
        for file in self.errors:
            file.close()

    def case(self, chance: random.Random, folder: Path) -> None:
        """One run, and in half of the cases the same again without events, which goes on."""
        given = scenario(chance)
        self.done.append(json.dumps(given))
        if any(process.poll() is not None for process in self.pair):
            self.prepare()
        try:
            found = self._ask({**given, "folder": str(folder / "run")}, LEAVE)
            judge(given, found)
            if given["checkpoint"] and given["again"]:
                self.done.append("the same again, without events")
                deeds = [{**deed, "act": "nothing"} for deed in given["deeds"]]
                later = {**given, "deeds": deeds, "folder": str(folder / "run")}
                judge_again(given, found, self._ask(later, LEAVE))
        except Wrong:
            self.close()  # whatever state they are in
            self.prepare()
            raise

    def _ask(self, given: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        for process in self.pair:
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(given) + "\n")
                process.stdin.flush()
            except OSError as error:
                raise Wrong(f"a process is gone: {self._stderr()}") from error
        answers: dict[int, dict[str, Any]] = {}
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for rank, process in enumerate(self.pair):
                assert process.stdout is not None
                selector.register(process.stdout, selectors.EVENT_READ, rank)
            while len(answers) < 2:
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    raise Wrong(
                        f"processes {set(range(2)) - set(answers)} had not left the run "
                        f"after {seconds:g} s; {list(answers.values())}"
                    )
                for key, _ in ready:
                    line = self.pair[key.data].stdout.readline()  # type: ignore[union-attr]
                    if not line:
                        raise Wrong(f"process {key.data} is gone: {self._stderr()}")
                    answers[key.data] = json.loads(line)
        return [answers[0], answers[1]]

    def _stderr(self) -> str:
        texts = [(self.folder / f"stderr{rank}").read_text()[-600:] for rank in range(2)]
        return " | ".join(texts)


def judge(given: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Check that both processes have come to the same end.

    Raises:
        Wrong: If they have not.
    """
    first, second = found
    fields = ["step", "reason", "parameters"] + ["losses"] * (first["error"] is None)
    for field in fields:
        if first[field] != second[field]:
            raise Wrong(f"{field}: {first[field]!r} and {second[field]!r}; {_short(found)}")
    if (first["error"] is None) != (second["error"] is None):
        raise Wrong(f"one process raised: {_short(found)}")
    hooks = {deed["hook"] for deed in given["deeds"] if deed["act"] in ("fail", "exit")}
    if not given["deeds"] and (first["error"] or first["step"] != STEPS):
        raise Wrong(f"nothing happened, and it ended so: {_short(found)}")
    rows_once(first, wanted=first["step"] if not hooks - {"on_run_end"} else None)


def rows_once(first: dict[str, Any], wanted: int | None) -> None:
    """Check that the logs of process 0 have each row once, and those of all steps.

    Raises:
        Wrong: If they have not.
    """
    for name, rows in first["rows"].items():
        if rows != list(range(len(rows))):
            raise Wrong(f"the rows of {name} are those of the steps {rows}")
        least = first["step"] if wanted is None else wanted
        if first["began"] and not least <= len(rows) <= least + 1:
            raise Wrong(f"{name} has {len(rows)} rows after {first['step']} steps")


def judge_again(
    given: dict[str, Any], before: list[dict[str, Any]], found: list[dict[str, Any]]
) -> None:
    """Check a run that has gone on: it is that of nobody who was disturbed, or had been ended.

    Raises:
        Wrong: If it is not.
    """
    first, second = found
    if first["error"] or second["error"]:
        raise Wrong(f"it did not go on: {_short(found)}")
    for field in ("step", "reason", "parameters"):
        if first[field] != second[field]:
            raise Wrong(f"gone on, {field}: {first[field]!r} and {second[field]!r}")
    stopped = before[0]["reason"] == "STOPPED"
    if first["reason"] == "STOPPED" and any(d["hook"] == "on_run_end" for d in given["deeds"]):
        # It had been stopped and saved before a callback failed in `on_run_end`.
        stopped = stopped or any(d["act"] == "stop" for d in given["deeds"])
    if not stopped and first["step"] != STEPS:
        raise Wrong(f"it went on only to step {first['step']}: {_short(found)}")
    acts = {deed["act"] for deed in given["deeds"]}
    if not stopped and "reject" not in acts and first["parameters"] != first["undisturbed"]:
        raise Wrong(f"gone on, it came to {first['parameters']}, not {first['undisturbed']}")
    for name, rows in first["rows"].items():
        complete = name != "memory" and not stopped
        if complete and rows != list(range(STEPS)):
            raise Wrong(f"gone on, the rows of {name} are those of the steps {rows}")


def _short(found: list[dict[str, Any]]) -> str:
    fields = ("error", "step", "reason", "message")
    return "; ".join(
        f"process {i}: {', '.join(f'{k}={one[k]!r}' for k in fields)}"
        for i, one in enumerate(found)
    )

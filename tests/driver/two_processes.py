"""One of two processes that run many scenarios one after another: `PORT RANK FOLDER`.

What came of each is written into `FOLDER/RANK.json`.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from ritz.callbacks import AbstractCallback, EarlyStopping, StopRun, Timeout
from ritz.checkpoint import Checkpoint, shared
from ritz.driver.processes import watchdog
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from ritz.loggers.files import LineFile
from tests.driver.fragile import FragileDriver
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import Halving

STEPS = 40


class Deed(AbstractCallback):
    """Does something in one hook of one step, on one process of two."""

    def __init__(self, rank, hook, act, step=13, live=False, order=0):
        self.rank, self.hook, self.act, self.step, self.live = rank, hook, act, step, live
        self.callback_order = order
        self.ended = []
        self.used = False

    def is_live(self, step):
        return self.live

    def do(self, hook, step, driver):
        mine = self.rank is None or self.rank == jax.process_index()
        if (
            hook == self.hook
            and mine
            and not self.used
            and (step == self.step or hook in ("check_run", "on_run_start", "on_run_end"))
        ):
            self.used = True
            return self.act(driver)
        return None

    def check_run(self, driver, resume):
        self.do("check_run", None, driver)

    def on_run_start(self, step, driver):
        self.do("on_run_start", step, driver)

    def on_step_start(self, step, log_data, driver):
        self.do("on_step_start", step, driver)

    def on_compute_update_end(self, step, log_data, driver):
        return self.do("on_compute_update_end", step, driver)

    def before_parameter_update(self, step, log_data, driver):
        self.do("before_parameter_update", step, driver)

    def on_step_end(self, step, log_data, driver):
        self.do("on_step_end", step, driver)

    def on_run_end(self, step, driver):
        self.ended.append("end")
        self.do("on_run_end", step, driver)

    def on_run_error(self, step, error, driver):
        self.ended.append("error")


class Counting(AbstractCallback):
    """A deferred callback with a state: the steps that it saw."""

    state_fields = ("seen",)
    decides = False
    callback_order = 50

    def __init__(self):
        self.seen = []

    def is_live(self, step):
        return False

    def before_parameter_update(self, step, log_data, driver):
        self.seen.append(step)


class Own(AbstractCallback):
    """A callback that only sees the end of a step."""

    def __init__(self):
        self.steps = 0

    def on_step_end(self, step, log_data, driver):
        self.steps += 1


def fail(driver):
    raise ValueError("broken on purpose")


def stop(driver):
    raise StopRun("enough")


def reject(driver):
    return True


def interrupt(driver):
    os.kill(os.getpid(), signal.SIGTERM)


def cut(driver):
    driver.after_step(lambda: None)


def cut_and_fail(driver):
    driver.after_step(lambda: fail(driver))


def scenarios():
    """Name -> (callbacks, arguments of run)."""
    found = {
        "plain": ([], {}),
        "live": ([Deed(None, None, None, live=True)], {}),
        "live, one hook": ([Own()], {}),
        "signal": ([Deed(1, "on_step_end", interrupt)], {}),
        "signal, live": ([Deed(1, "on_step_end", interrupt, live=True)], {}),
        "cut": ([Deed(1, "on_step_end", cut)], {}),
        "cut on both": ([Deed(None, "on_step_end", cut)], {}),
        "time": (
            [Own(), *([Timeout(per_run=1e-6)] if jax.process_index() else [Timeout(1e9)])],
            {},
        ),
        "nobody improves": ([EarlyStopping(patience=0)], {}),
        "fails in after_step": ([Deed(1, "on_step_end", cut_and_fail)], {}),
        "max_block": ([Deed(1, "before_parameter_update", stop)], {"max_block": 4}),
        "no speculation": ([], {"speculate": False}),
    }
    hooks = ("on_step_start", "on_compute_update_end", "before_parameter_update", "on_step_end")
    for rank in (0, 1, None):
        for hook in hooks:
            for live in (False, True):
                key = f"by {rank} in {hook}{', live' * live}"
                found[f"stop {key}"] = ([Deed(rank, hook, stop, live=live)], {})
        for live in (False, True):
            deed = Deed(rank, "on_compute_update_end", reject, live=live)
            found[f"reject by {rank}{', live' * live}"] = ([deed], {})
    for rank in (0, 1):
        for hook in ("check_run", "on_run_start", *hooks, "on_run_end"):
            found[f"fail on {rank} in {hook}"] = ([Deed(rank, hook, fail)], {})
            if hook in hooks:
                deed = Deed(rank, hook, fail, live=True)
                found[f"fail on {rank} in {hook}, live"] = ([deed], {})
    return found


def run(name, callbacks, arguments, folder, driver=None):
    """Run one scenario; what came of it, as JSON holds it."""
    gathers = 0
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        original = multihost_utils.process_allgather

        def counting(*args, **kwargs):
            nonlocal gathers
            gathers += 1
            return original(*args, **kwargs)

        multihost_utils.process_allgather = counting
    driver = driver or NoisyDriver()
    memory, seen = RuntimeLog(), Counting()
    driver.working_dir = folder / name.replace(" ", "_")
    blocks = []
    begin_step = driver.begin_step

    def noting(hooks):
        before = driver.block
        begin_step(hooks)
        if driver.block is None or before is None:
            blocks.append(driver.step_count)

    driver.begin_step = noting
    error = None
    began = time.monotonic()
    try:
        driver.run(
            arguments.pop("steps", STEPS),
            out=[memory, CSVLog("rows"), *arguments.pop("out", [])],
            callback=[*callbacks, seen],
            show_progress=False,
            **arguments,
        )
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    seconds = time.monotonic() - began
    if jax.process_count() > 1:
        multihost_utils.process_allgather = original
    losses = memory.data.get("loss", ())
    table = driver.working_dir / "rows.csv"
    lines = table.read_text().splitlines()[1:] if table.is_file() else []
    deeds = [c.ended for c in callbacks if isinstance(c, Deed)]
    return {
        "error": error,
        "seconds": seconds,
        "gathers": gathers,
        "blocks": len(blocks),
        "step": driver.step_count,
        "reason": driver.stop_reason and driver.stop_reason.name,
        "message": driver.stop_message,
        "rows": losses.iters.tolist() if losses else [],
        "loss": losses["mean" if "mean" in losses else "value"].tolist() if losses else [],
        "csv": [int(line.partition(",")[0]) for line in lines],
        "seen": seen.seen,
        "ended": deeds[0] if deeds else None,
        "parameters": np.asarray(driver.parameters).tolist(),
        "key": jax.random.key_data(driver.key).tolist() if hasattr(driver, "key") else None,
        "classes": thread_classes(),
    }


def thread_classes():
    """How many threads of Python, and others, are in each scheduling class of Linux."""
    if not hasattr(os, "SCHED_BATCH"):
        return None
    python = {thread.native_id for thread in threading.enumerate()}
    counts = Counter()
    for folder in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # threads end
            owner = "Python" if int(folder.name) in python else "others"
            counts[owner, os.sched_getscheduler(int(folder.name)) == os.SCHED_BATCH] += 1
    return {f"{owner}, {'batch' if batch else 'normal'}": n for (owner, batch), n in counts.items()}


class OfItsRank(NoisyDriver):
    @property
    def settings(self):
        return {**super().settings, "rate": 0.1, "damping": jax.process_index()}


class FullDisk:
    """The CSV file of this process takes no more from some line on."""

    def __init__(self, after):
        self.left = after
        self.write = LineFile.write_held

    def __enter__(self):
        def write(file):
            self.left -= 1
            if self.left < 0:
                file._held.clear()
                raise OSError(errno.ENOSPC, "No space left on device")
            self.write(file)

        LineFile.write_held = write

    def __exit__(self, *exc_info):
        LineFile.write_held = self.write


DIVERGING = {
    "diverges": ((), {}, {"breaks": "loss", "at": 13}),
    "diverges, live": (
        (lambda: Deed(None, None, None, live=True),),
        {},
        {"breaks": "update", "at": 13},
    ),
    "diverges and is saved": (
        (lambda: Checkpoint("diverged", every_steps=4),),
        {},
        {"breaks": "loss", "at": 13},
    ),
    "goes back": (
        (),
        {"on_divergence": "retry"},
        {"breaks": "update", "at": 7, "chance": 0.4},
    ),
    "goes back, live": (
        (lambda: Deed(None, None, None, live=True),),
        {"on_divergence": "retry"},
        {"breaks": "update", "at": 7, "chance": 0.4},
    ),
    "stops before it diverges": (
        (lambda: Deed(1, "before_parameter_update", stop, step=9),),
        {},
        {"breaks": "loss", "at": 13},
    ),
}


def disk_scenarios(folder):
    rank = jax.process_index()
    found = {}
    for name, live in (("full disk", False), ("full disk, live", True)):
        with FullDisk((6 if live else 2) if rank == 0 else 10**9):
            found[name] = run(name, [Deed(None, None, None, live=live)], {}, folder)
    for name, act in (("plain driver stops", stop), ("plain driver rejects", reject)):
        hook = "before_parameter_update" if act is stop else "on_compute_update_end"
        found[name] = run(name, [Deed(1, hook, act)], {}, folder, Halving())
    for name, (callbacks, arguments, kernel) in DIVERGING.items():
        acts = [act() for act in callbacks]
        found[name] = run(name, acts, dict(arguments), folder, FragileDriver(**kernel))
    found["other steps"] = run("other steps", [], {"steps": STEPS - 10 * rank}, folder)
    other = NoisyDriver()
    other.parameters = other.parameters + rank
    found["other parameters"] = run("other parameters", [], {}, folder, other)
    found["other settings"] = run("other settings", [], {}, folder, OfItsRank())
    name = "unshared"
    found[name] = run(name, [Checkpoint(folder / f"checkpoints{rank}")], {}, folder)
    name = "saved"
    checkpoint = Checkpoint(folder / "kept", every_seconds=1e-6 if rank else 1e9)
    found[name] = run(name, [checkpoint], {"max_block": 8, "out": [JsonLog("log")]}, folder)
    found[name]["saved"] = sorted(p.name for p in (folder / "kept").glob("0*"))
    return found


def main():
    port, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    jax.config.update("jax_enable_x64", True)  # as in all tests
    watchdog.EVERY, shared.PATIENCE = 0.05, 0.5  # quicker than for people
    found = {}
    only = sys.argv[4:]
    for name, (callbacks, arguments) in scenarios().items():
        if not only or any(part in name for part in only):
            print(name, file=sys.stderr, flush=True)
            found[name] = run(name, callbacks, arguments, folder)
    if not only or "disk" in only:
        found |= disk_scenarios(folder)
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()

"""A run of which one process fails in a way that a seed chooses: `OUT FOLDER SEED`.

With `OUT FOLDER SEED... on`, the runs of the seeds go on to their end, and others run that never
failed. See `tests.arrangements` for how it is started.
"""

import dataclasses
import errno
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import jax

from ritz.checkpoint import Checkpoint
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from tests.arrangements import columns, join, write
from tests.driver.two_processes import Counting, Deed

N_STEPS, EVERY = 60, 10
"""Length of a run, and steps between its checkpoints."""

HOOKS = ("on_step_start", "on_compute_update_end", "before_parameter_update", "on_step_end")
WORLD = 3
SEEDS = range(20)
WAYS = (
    "exception, live",
    "exception, in a block",
    "killed, live",
    "killed, in a block",
    "killed at any moment",
    "killed in a save",
    "killed in a writer",
    "disk full in a log",
    "disk full in a save",
    "disk full in a writer",
)
WRITING = WAYS[5:]
"""What happens to the process that writes, which is the first."""


@dataclasses.dataclass
class Plan:
    """What happens in the run of a seed."""

    seed: int
    way: str
    rank: int
    step: int
    hook: str
    delay: float
    domain: str


def plan_of(seed):
    """The plan of a seed: every way comes twice, the second time not to the first process."""
    drawn = random.Random(seed)
    way = WAYS[seed % len(WAYS)]
    return Plan(
        seed,
        way,
        rank=0 if way in WRITING else drawn.randrange(seed // len(WAYS), WORLD),
        step=drawn.randrange(EVERY + 1, N_STEPS - EVERY),
        hook=drawn.choice(HOOKS),
        delay=drawn.uniform(0, 0.2),
        domain="lattice" if seed % 4 == 1 or seed % 4 == 2 else "noise",
    )


def driver_of(domain):
    """A driver; that of the lattice divides its samples among the processes."""
    if domain == "lattice":
        from tests.lattice.many_devices import cases

        return cases()["SR"]()
    from tests.driver.noisy import NoisyDriver

    return NoisyDriver()


def note():
    """Note when the failure happened."""
    Path("began").write_text(str(time.time()))


def fail(driver=None):
    note()
    raise ValueError("broken on purpose")


def be_killed(*args, **kwargs):
    note()
    os.kill(os.getpid(), signal.SIGKILL)


def find_disk_full(*args, **kwargs):
    note()
    raise OSError(errno.ENOSPC, "No space left on device")


def break_saves(way):
    """From now on writing fails in this process."""
    from ritz.checkpoint.folder import CheckpointFolder
    from ritz.loggers.files import LineFile

    act = be_killed if way.startswith("killed") else find_disk_full
    if way.endswith("log"):
        LineFile.write_held = act
    elif way.endswith("save"):
        CheckpointFolder.save = act
    else:
        from orbax.checkpoint._src.handlers.pytree_checkpoint_handler import (
            PyTreeCheckpointHandler,
        )

        PyTreeCheckpointHandler.finalize = act  # all of it is there, under its temporary name


def deed_of(plan, fails=True):
    """The callback by which a process fails, or one in its place that does nothing."""

    def act(driver):
        if plan.way.startswith("exception"):
            fail()
        elif plan.way == "killed at any moment":
            threading.Timer(plan.delay, be_killed).start()
        elif plan.way.startswith("killed,"):
            be_killed()
        else:
            break_saves(plan.way)

    live = plan.way.endswith("live")
    return Deed(plan.rank if fails else WORLD, plan.hook, act, plan.step, live)


def run(folder, domain, deeds=()):
    """Run to the end, from the newest checkpoint if there is one."""
    driver, log, counting = driver_of(domain), RuntimeLog(), Counting()
    driver.run(
        N_STEPS,
        out=[log, CSVLog(f"{folder}/log.csv"), JsonLog(f"{folder}/log")],
        callback=[*deeds, counting, Checkpoint(f"{folder}/saved", every_steps=EVERY)],
        show_progress=False,
        resume=True,
    )
    leaves = {f"parameters {i}": x for i, x in enumerate(jax.tree.leaves(driver.parameters))}
    return columns(log.data) | leaves | {"seen": counting.seen}


def main():
    jax.config.update("jax_enable_x64", True)
    _, _, folder, *seeds = sys.argv
    rank = join()
    if seeds[-1] == "on":
        plans = {seed: plan_of(int(seed)) for seed in seeds[:-1]}
        found = {
            seed: run(f"{folder}/{seed}", plan.domain, [deed_of(plan, fails=False)])
            for seed, plan in plans.items()
        }
        found |= {domain: run(f"{folder}/{domain}", domain) for domain in ("noise", "lattice")}
        write(found, rank)
        return
    plan = plan_of(int(seeds[0]))
    print(plan, flush=True)
    try:
        run(folder, plan.domain, [deed_of(plan)])
    finally:
        print("left", time.time(), flush=True)


if __name__ == "__main__":
    main()

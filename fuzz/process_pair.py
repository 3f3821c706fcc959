"""One of the two processes of `fuzz.processes`: `PORT RANK`, scenarios on stdin, ends on stdout."""

import dataclasses
import functools
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fuzz.processes import STEPS
from ritz.callbacks import AbstractCallback, StopRun
from ritz.checkpoint import Checkpoint, shared
from ritz.driver import CompiledDriver, Kernel, Proposal
from ritz.driver.processes import watchdog
from ritz.loggers import CSVLog, JsonLog, RuntimeLog


class Carry(NamedTuple):
    """What the walk carries."""

    params: jax.Array
    key: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Walk(Kernel):
    """A noisy descent, so that a step that is lost or taken twice shows."""

    def sample(self, carry: Any) -> Any:
        key, own = jax.random.split(carry.key)
        return carry._replace(key=key), jax.random.normal(own, (5, 3))

    def propose(self, carry: Any, batch: Any) -> Any:
        distance = carry.params + 0.1 * jnp.mean(batch, axis=0)
        return carry, Proposal(jnp.sum(distance**2), distance, {"largest": jnp.max(batch)})

    def apply(self, carry: Any, update: Any) -> Any:
        return carry._replace(params=carry.params - 0.1 * update)


class WalkDriver(CompiledDriver):
    """Walks."""

    batch = None

    def __init__(self, seed: int):
        super().__init__(types.SimpleNamespace(parameters=jnp.array([1.0, -2.0, 0.5])))
        self.key = jax.random.key(seed)

    @property
    def kernel(self) -> Any:
        return _walk()

    @property
    def carry(self) -> Any:
        return Carry(self.state.parameters, self.key)

    @carry.setter
    def carry(self, carry: Any) -> None:
        self.state.parameters, self.key = carry


@functools.cache
def _walk() -> Walk:
    return Walk()


class Deed(AbstractCallback):
    """Does one thing, once, in one hook of one step on one process (or on both)."""

    def __init__(self, number: int, given: dict[str, Any]):
        self.name = f"deed{number}"
        self.given = given
        self.callback_order = given["order"]
        self.used = False

    def is_live(self, step: int) -> bool:
        return self.given["live"]

    def _do(self, hook: str, step: int | None, driver: Any) -> Any:
        mine = self.given["rank"] in (None, jax.process_index())
        now = step == self.given["step"] or hook in ("check_run", "on_run_start", "on_run_end")
        if hook != self.given["hook"] or not mine or not now or self.used:
            return None
        self.used = True
        return getattr(self, f"_{self.given['act']}")(driver)

    def _nothing(self, driver: Any) -> None:
        return

    def _fail(self, driver: Any) -> None:
        raise ValueError("broken on purpose\nin two lines, with an é")

    def _exit(self, driver: Any) -> None:
        raise SystemExit(3)

    def _interrupt(self, driver: Any) -> None:
        raise KeyboardInterrupt

    def _stop(self, driver: Any) -> None:
        raise StopRun("enough")

    def _reject(self, driver: Any) -> bool:
        return True

    def _signal(self, driver: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def _cut(self, driver: Any) -> None:
        driver.after_step(lambda: None)

    def check_run(self, driver: Any, resume: bool) -> None:
        self._do("check_run", None, driver)

    def on_run_start(self, step: int, driver: Any) -> None:
        self._do("on_run_start", step, driver)

    def on_step_start(self, step: int, log_data: Any, driver: Any) -> None:
        self._do("on_step_start", step, driver)

    def on_compute_update_start(self, step: int, log_data: Any, driver: Any) -> None:
        self._do("on_compute_update_start", step, driver)

    def on_compute_update_end(self, step: int, log_data: Any, driver: Any) -> Any:
        return self._do("on_compute_update_end", step, driver)

    def before_parameter_update(self, step: int, log_data: Any, driver: Any) -> None:
        self._do("before_parameter_update", step, driver)

    def on_step_end(self, step: int, log_data: Any, driver: Any) -> None:
        self._do("on_step_end", step, driver)

    def on_run_end(self, step: int, driver: Any) -> None:
        self._do("on_run_end", step, driver)


def go(given: dict[str, Any]) -> dict[str, Any]:
    """One run; what came of it, as JSON holds it."""
    folder = Path(given["folder"])
    driver = WalkDriver(given["seed"])
    driver.working_dir = folder
    memory = RuntimeLog()
    known: dict[str, Any] = {"csv": CSVLog("rows"), "json": JsonLog("rows", save_params=False)}
    loggers = [memory, *(known[name] for name in given["loggers"] if name in known)]
    callbacks: list[Any] = [Deed(i, deed) for i, deed in enumerate(given["deeds"])]
    if given["checkpoint"]:
        callbacks.append(Checkpoint("saved", every_steps=given["checkpoint"]))
    error = None
    try:
        driver.run(
            STEPS,
            out=loggers,
            callback=callbacks,
            show_progress=False,
            resume=bool(given["checkpoint"]),
            max_block=given["max_block"],
            speculate=given["speculate"],
        )
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    losses = memory.data.get("loss")
    rows = {"memory": [] if losses is None else losses.iters.tolist()}
    if jax.process_index() == 0:
        rows |= files(folder, given["loggers"])
    reason = driver.stop_reason
    return {
        "error": error,
        "step": driver.step_count,
        "reason": reason and reason.name,
        "message": driver.stop_message,
        "rows": rows,
        "began": reason is not None,
        "losses": [] if losses is None else np.asarray(losses["value"]).tolist(),
        "parameters": np.asarray(driver.state.parameters).tolist(),
        "undisturbed": undisturbed(given["seed"]),
    }


def files(folder: Path, names: list[str]) -> dict[str, list[int]]:
    """The steps of the rows in each log on disk."""
    from ritz.plotting import read_log

    found = {}
    for name, file in (("csv", "rows.csv"), ("json", "rows.log")):
        if name in names and (folder / file).exists():
            try:
                found[name] = read_log(folder / file)["loss"].iters.tolist()
            except (KeyError, ValueError):  # without rows
                found[name] = []
    return found


@functools.cache
def undisturbed(seed: int) -> list[float]:
    """To which parameters nothing but the kernel comes."""
    carry: Any = WalkDriver(seed).carry
    step = jax.jit(lambda carry: _step(carry))
    for _ in range(STEPS):
        carry = step(carry)
    return np.asarray(carry.params).tolist()


def _step(carry: Any) -> Any:
    carry, batch = _walk().sample(carry)
    carry, proposal = _walk().propose(carry, batch)
    return _walk().apply(carry, proposal.update)


def main() -> None:
    port, rank = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever is printed
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    jax.config.update("jax_enable_x64", True)
    watchdog.EVERY, shared.PATIENCE = 0.05, 0.5  # quicker than for people
    for line in sys.stdin:
        given = json.loads(line)
        answers.write(json.dumps({} if "ready" in given else go(given)) + "\n")


if __name__ == "__main__":
    main()

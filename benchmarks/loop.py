"""What the loop itself costs: gradient descent on a parabola, which takes no time to compute.

Ritz with five callbacks (bar, early stopping, timeout, RuntimeLog, JsonLog) against a bare
`lax.scan` and against NetKet's loop with its equivalents, in turns.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import optax

from benchmarks.null_driver import SIZE, BareState, Carry, Loss, NullDriver, NullKernel, loss_of
from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.callbacks import EarlyStopping, LambdaCallback, Timeout
from ritz.loggers import JsonLog, RuntimeLog

STEPS = 10_000
PEER_STEPS = 10_000
ROUNDS = 3
NEVER = 10**9


@jax.jit
def loss_and_gradient(params: jax.Array) -> tuple[Loss, jax.Array]:
    """The same for NetKet."""
    return loss_of(params), 2 * params


class NetKetNull(nk.driver.AbstractVariationalDriver):
    """The same on NetKet's loop; one compiled function computes, one moves the parameters."""

    def __init__(self) -> None:
        super().__init__(BareState(), optax.sgd(1e-4), minimized_quantity_name="loss")

    def reset_step(self, hard: bool = False) -> None:
        """Nothing to forget."""

    def compute_loss_and_update(self) -> tuple[Loss, jax.Array]:
        """Loss and gradient."""
        return loss_and_gradient(self.state.parameters)


@jax.jit
def scan(params: jax.Array) -> tuple[Carry, Loss]:
    """The bare loop."""
    kernel = NullKernel()

    def step(carry: Carry, _: None) -> tuple[Carry, Loss]:
        carry, proposal = kernel.propose(carry, ())
        return kernel.apply(carry, proposal.update), proposal.loss

    return jax.lax.scan(step, Carry(params), None, length=STEPS)


def live() -> LambdaCallback:
    """A callback that wants to see the state at every step."""
    return LambdaCallback(on_step_end=lambda step, log_data, driver: None)


def measure() -> Table:
    """Run all contenders."""
    ritz, peer = NullDriver(), NetKetNull()
    limits = {"patience": NEVER}

    def with_ritz(*extra: Any, full: bool = True, steps: int = STEPS) -> Callable[[], None]:
        def run() -> None:
            callbacks = [EarlyStopping(**limits), Timeout(1e6)] if full else []
            out = [RuntimeLog(), JsonLog("ritz")] if full else None
            ritz.run(steps, out=out, callback=[*callbacks, *extra], show_progress=full)

        return run

    def with_netket(full: bool) -> Callable[[], None]:
        def run() -> None:
            callbacks = [nk.callbacks.EarlyStopping(**limits), nk.callbacks.Timeout(1e6)]
            logs = [nk.logging.RuntimeLog(), nk.logging.JsonLog("netket")]
            peer.run(
                PEER_STEPS,
                out=logs if full else (),
                callback=callbacks if full else (),
                show_progress=full,
            )
            jax.block_until_ready(peer.state.parameters)

        return run

    def bare_scan() -> None:
        jax.block_until_ready(scan(jnp.ones(SIZE)))

    contenders = {
        "lax.scan": (bare_scan, STEPS),
        "Ritz, no callbacks": (with_ritz(full=False), STEPS),
        "Ritz, 5 callbacks": (with_ritz(), STEPS),
        "Ritz, 5 callbacks and a live one": (with_ritz(live(), steps=PEER_STEPS), PEER_STEPS),
        "Ritz, a live callback only": (with_ritz(live(), full=False, steps=PEER_STEPS), PEER_STEPS),
        "NetKet, no callbacks": (with_netket(False), PEER_STEPS),
        "NetKet, 5 callbacks": (with_netket(True), PEER_STEPS),
    }
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        os.chdir(folder)
        try:
            timings = interleaved({name: run for name, (run, _) in contenders.items()}, ROUNDS)
        finally:
            os.chdir(before)
    per_step = {name: timings[name].median / n * 1e6 for name, (_, n) in contenders.items()}
    over_scan = per_step["Ritz, 5 callbacks"] - per_step["lax.scan"]
    ratio = per_step["NetKet, 5 callbacks"] / over_scan
    live_ratio = per_step["NetKet, no callbacks"] / per_step["Ritz, 5 callbacks and a live one"]
    return Table(
        "loop",
        "The loop itself, on a parabola",
        ["loop", "steps a run", "us a step", "fastest", "slowest"],
        [
            [name, n, *(x / n * 1e6 for x in timings[name].spread)]
            for name, (_, n) in contenders.items()
        ],
        f"Median of {ROUNDS} runs in turns. The callbacks are the bar, EarlyStopping, Timeout, "
        "RuntimeLog and JsonLog, all as they come. The loss is a mean, its error and a variance.",
        {
            "Ritz with 5 callbacks over lax.scan, us a step (target: at most 10)": over_scan,
            "NetKet's overhead in multiples of it (target: at least 50)": ratio,
            "NetKet without callbacks, in multiples of Ritz with 5 and a live one (target: 1)": (
                live_ratio
            ),
        },
    )

"""A step of minSR with one residual convolutional network: Ritz, NetKet, and Quantax.

Two blocks of two 4 x 4 convolutions with 8 channels, 1,024 samples of as many chains, one sweep of
as many moves as sites between them, single precision in the network. NetKet gets the network as its
users write it, with flax's convolutions, and Ritz's module besides.

Quantax needs an environment of its own: RITZ_QUANTAX_PYTHON names its interpreter. It is timed in a
process of its own, before and after the others, and left out where the variable is not set.
"""

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import optax

from benchmarks.lattice import runner
from benchmarks.report import Table
from benchmarks.timing import Timing, interleaved
from ritz.lattice import VMC, MetropolisExchange
from ritz.lattice.models import ResNet
from ritz.updates import MinSR

N_SAMPLES = CHUNK = 1024
STEPS, ROUNDS = 4, 3
RATE, SHIFT = 0.02, 0.01
TARGET = 1.5


class Convolutions(nn.Module):
    """The network of `ResNet` in flax's own layers."""

    length: int
    depth: int = 2
    width: int = 8
    kernel: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Log psi of configurations, shape (..., length^2)."""

        def conv(y: jax.Array) -> jax.Array:
            return nn.Conv(
                self.width, (self.kernel,) * 2, padding="CIRCULAR", param_dtype=jnp.float32
            )(y)

        y = conv(x.reshape(-1, self.length, self.length, 1).astype(jnp.float32))
        for _ in range(self.depth):
            y = y + conv(nn.gelu(conv(nn.gelu(y))))
        y = nn.gelu(y / math.sqrt(2))
        weights = self.param("amplitude", nn.initializers.normal(0.1), (self.width,), jnp.float32)
        return (jnp.sum(y, axis=(1, 2)) @ weights).reshape(x.shape[:-1])


def heisenberg(length: int) -> tuple[Any, Any]:
    """Hamiltonian with Marshall's signs, and graph."""
    graph = nk.graph.Square(length)
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
    return nk.operator.Heisenberg(hilbert, graph, sign_rule=True).to_jax_operator(), graph


def state(operator: Any, graph: Any, model: nn.Module, ours: bool) -> nk.vqs.MCState:
    """A fresh state, with Ritz's or NetKet's sampler."""
    kind: Any = MetropolisExchange if ours else nk.sampler.MetropolisExchange
    sampler = kind(operator.hilbert, graph=graph, n_chains=N_SAMPLES, sweep_size=graph.n_nodes)
    return nk.vqs.MCState(
        sampler,
        model,
        n_samples=N_SAMPLES,
        n_discard_per_chain=0,  # NetKet's default would be five sweeps more
        chunk_size=CHUNK,
        seed=1,
        sampler_seed=2,
    )


def with_quantax(length: int) -> list[float]:
    """Seconds of steps of Quantax, the first of each kind left out; empty where it is missing."""
    python = os.environ.get("RITZ_QUANTAX_PYTHON")
    if not python:
        return []
    script = Path(__file__).with_name("quantax_steps.py")
    numbers = (length, N_SAMPLES, RATE, STEPS * ROUNDS)
    done = subprocess.run(
        [python, str(script), *map(str, numbers)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure_lattice(length: int) -> tuple[list[list[Any]], dict[str, float]]:
    """Rows of the table and the ratios that matter."""
    operator, graph = heisenberg(length)
    ours, theirs = ResNet((length, length)), Convolutions(length)

    def ritz(has_sampler: bool) -> VMC:
        return VMC(
            operator,
            RATE,
            variational_state=state(operator, graph, ours, has_sampler),
            update=MinSR(SHIFT),
        )

    def netket(model: nn.Module) -> nk.driver.VMC_SR:
        return nk.driver.VMC_SR(
            operator,
            optax.sgd(RATE),
            variational_state=state(operator, graph, model, False),
            diag_shift=SHIFT,
            use_ntk=True,
            on_the_fly=False,  # faster here
        )

    drivers = {
        "NetKet, flax's convolutions": netket(theirs),
        "NetKet, Ritz's network": netket(ours),
        "Ritz, NetKet's sampler": ritz(False),
        "Ritz": ritz(True),
    }
    quantax = with_quantax(length)
    timings = interleaved({name: runner(d, STEPS) for name, d in drivers.items()}, ROUNDS)
    quantax += with_quantax(length)
    per_step = {
        name: Timing(t.first, tuple(s / STEPS for s in t.times)) for name, t in timings.items()
    }
    if quantax:
        per_step["Quantax"] = Timing(0.0, tuple(quantax))
    best, name = per_step["Ritz"].median, f"Heisenberg {length}x{length}"
    rows = [
        [name, who, *(1e3 * s for s in t.spread), t.median / best, t.first or "not timed"]
        for who, t in per_step.items()
    ]
    ratios = {
        f"{name}: speed against {who} (target: {TARGET})": per_step[who].median / best
        for who in ("NetKet, flax's convolutions", "NetKet, Ritz's network", "Quantax")
        if who in per_step
    }
    return rows, ratios


def measure() -> Table:
    """Both lattices."""
    rows, ratios = [], {}
    for length in (4, 6):
        more, found = measure_lattice(length)
        rows += more
        ratios.update(found)
    head = ("system", "driver", "ms a step", "least", "most", "times Ritz's", "first turn, s")
    remarks = (
        f"{N_SAMPLES} samples of as many chains, minSR; medians of turns of {STEPS} steps. Quantax "
        "has its network of the same shape, in a process of its own, steps one by one."
    )
    title = "Lattices: a residual convolutional network"
    return Table("lattice_networks", title, head, rows, remarks, ratios)

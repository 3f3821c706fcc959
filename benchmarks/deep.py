"""A deep convolutional network on the 8 x 8 Heisenberg model, where arithmetic is all.

No local update helps here; the table also gives the step as a multiple of the floor that its
forward and backward passes set, each timed alone as one batch on the same machine.
"""

import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import optax

from benchmarks.lattice import runner
from benchmarks.report import Table
from benchmarks.timing import interleaved
from ritz.lattice import VMC, MetropolisExchange
from ritz.updates import MinSR

SIZE = 8
N_SAMPLES = 128
CHUNK = 1024
STEPS = 2
ROUNDS = 3


class ConvNet(nn.Module):
    """Residual convolutions with periodic boundaries, then a sum over all outputs."""

    layers: int = 4
    channels: int = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Log psi of configurations, shape (..., 64)."""
        y = x.reshape(-1, SIZE, SIZE, 1).astype(jnp.float32)
        for _ in range(self.layers):
            z = nn.Conv(self.channels, (3, 3), padding="CIRCULAR", param_dtype=jnp.float32)(
                nn.gelu(y)
            )
            y = y + z if y.shape == z.shape else z
        total = jnp.sum(nk.nn.activation.log_cosh(y), axis=(1, 2, 3)) / self.channels
        return total.reshape(x.shape[:-1])


def best_time(function: Callable[..., Any], *arguments: Any, repeats: int = 5) -> float:
    """Seconds of a compiled call, at best."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


def floor(state: nk.vqs.MCState, operator: Any) -> dict[str, float]:
    """Seconds of what a step must compute: moves, connected configurations, derivatives."""
    model, params = state.model, state.parameters
    n = state.n_samples
    x = state.samples.reshape(n, -1)
    connected, elements = operator.get_conn_padded(x)
    needed = int(jnp.sum(elements != 0))
    batch = connected.reshape(-1, x.shape[1])[:CHUNK]

    def forward(params: Any, x: jax.Array) -> jax.Array:
        return model.apply({"params": params}, x)

    def derivatives(params: Any, x: jax.Array) -> Any:
        one = jax.grad(lambda p, x: forward(p, x[None])[0])
        rows = jax.vmap(lambda x: one(params, x))(x)
        return jnp.concatenate([leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(rows)], axis=1)

    rows = jax.jit(derivatives)(params, x)
    return {
        f"{x.shape[1]} moves of {n} chains": x.shape[1] * best_time(forward, params, x),
        f"{needed} connected configurations": best_time(forward, params, batch)
        * needed
        / len(batch),
        "derivatives": best_time(derivatives, params, x),
        "Gram matrix": best_time(lambda o: o @ o.T, rows),
    }


def measure() -> Table:
    """Both drivers, and the floor."""
    graph = nk.graph.Square(SIZE)
    hilbert = nk.hilbert.Spin(0.5, SIZE**2, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, sign_rule=True).to_jax_operator()

    def state(make: Any) -> nk.vqs.MCState:
        sampler = make(hilbert, graph=graph, n_chains=N_SAMPLES)
        return nk.vqs.MCState(
            sampler,
            ConvNet(),
            n_samples=N_SAMPLES,
            n_discard_per_chain=0,
            chunk_size=CHUNK,
            seed=1,
            sampler_seed=2,
        )

    peer = nk.driver.VMC_SR(
        hamiltonian,
        optax.sgd(0.02),
        variational_state=state(nk.sampler.MetropolisExchange),
        diag_shift=0.1,
        chunk_size_bwd=N_SAMPLES,
    )
    drivers: dict[str, Any] = {
        "NetKet": peer,
        "Ritz, NetKet's sampler": VMC(
            hamiltonian,
            0.02,
            variational_state=state(nk.sampler.MetropolisExchange),
            update=MinSR(0.1),
            chunk_size_bwd=N_SAMPLES,
        ),
        "Ritz": VMC(
            hamiltonian,
            0.02,
            variational_state=state(MetropolisExchange),
            update=MinSR(0.1),
            chunk_size_bwd=N_SAMPLES,
        ),
    }
    timings = interleaved({name: runner(d, STEPS) for name, d in drivers.items()}, ROUNDS)
    parts = floor(drivers["Ritz"].state, hamiltonian)
    least = sum(parts.values())
    rows = []
    for name, driver in drivers.items():
        energy = driver._loss_stats
        per_step = [x / STEPS for x in timings[name].spread]
        rows.append(
            [
                name,
                *per_step,
                timings["NetKet"].median / timings[name].median,
                per_step[0] / least,
                timings[name].first,
                driver.step_count,
                float(energy.mean.real),
                float(energy.error_of_mean),
            ]
        )
    return Table(
        "deep",
        "A deep network: 4 convolutions of 16 channels, 8x8 Heisenberg, minSR",
        [
            "driver",
            "s a step",
            "fastest",
            "slowest",
            "speed",
            "times the floor",
            "first turn (s)",
            "steps",
            "energy",
            "error bar",
        ],
        rows,
        f"{N_SAMPLES} samples, one chain each, {peer.state.n_parameters} parameters in single "
        f"precision, chunks of {CHUNK}. Median of {ROUNDS} turns of {STEPS} steps. The floor is "
        "the sum of its parts, each timed alone: "
        + ", ".join(f"{what} {seconds:.3g} s" for what, seconds in parts.items())
        + ".",
        {
            "Speed against NetKet (target: 1.0)": timings["NetKet"].median / timings["Ritz"].median,
            "The same with NetKet's sampler": timings["NetKet"].median
            / timings["Ritz, NetKet's sampler"].median,
        },
    )

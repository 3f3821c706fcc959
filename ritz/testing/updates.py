"""Conformance check of update rules."""

import jax
import jax.numpy as jnp
import numpy as np

from ritz.testing.requirement import require
from ritz.updates import AbstractUpdateRule, Problem


def small_problem(mode: str, seed: int = 0, n_samples: int = 24) -> Problem:
    """A linear wave function with random samples and local losses.

    Args:
        mode: "real", "complex" or "holomorphic", which sets the types of the parameters.
        seed: Seed of all random numbers.
        n_samples: The number of samples.
    """
    random = np.random.default_rng(seed)

    def numbers(*shape: int, complex_: bool = False) -> np.ndarray:
        values = random.standard_normal(shape)
        return values + 1j * random.standard_normal(shape) if complex_ else values

    holomorphic = mode == "holomorphic"
    params = {"w": jnp.asarray(numbers(5, complex_=holomorphic)), "b": jnp.asarray(numbers(1)[0])}
    if holomorphic:
        params["b"] = params["b"] + 0j
    elif mode == "complex":
        params["v"] = jnp.asarray(numbers(5, complex_=True))

    losses = numbers(n_samples, complex_=mode != "real")
    return Problem(
        _log_psi, params, jnp.asarray(numbers(n_samples, 5)), jnp.asarray(losses), mode=mode
    )


def _log_psi(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    hidden = x @ p["w"] + p["b"]
    value = jnp.log(jnp.cosh(hidden)) + p["b"]
    return value + jnp.abs(x @ p["v"]) ** 2 * (0.1 + 0.2j) if "v" in p else value


def check_update(rule: AbstractUpdateRule, modes: tuple[str, ...] = ("real", "complex")) -> None:
    """Check a rule: hashable, one compilation, constant state structure, downhill, repeatable.

    Args:
        rule: The rule.
        modes: Modes of the wave functions to check with.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    hash(rule)
    for mode in modes:
        first = small_problem(mode)
        traces = []

        def step(
            state: object,
            losses: jax.Array,
            key: jax.Array,
            first: Problem = first,
            traces: list[int] = traces,
        ) -> object:
            traces.append(1)
            problem = Problem(first.log_psi, first.params, first.samples, losses, mode=first.mode)
            return rule.update(state, problem, first.params, key)

        compiled = jax.jit(step)
        state = rule.init(first.params, first)
        shapes = jax.tree.map(lambda x: (jnp.shape(x), jnp.asarray(x).dtype), state)
        key = jax.random.key(0)
        losses = first.losses * 1.0
        direction, new_state, metrics = compiled(state, losses, key)
        again, _, _ = compiled(state, losses, key)
        compiled(new_state, losses * 2.0, key)

        require(len(traces) == 1, f"{rule} was compiled {len(traces)} times")
        require(
            shapes == jax.tree.map(lambda x: (jnp.shape(x), jnp.asarray(x).dtype), new_state),
            f"{rule} changed the structure of its state",
        )
        require(all(isinstance(name, str) for name in metrics), "metrics must be named")
        for a, b, p in zip(*map(jax.tree.leaves, (direction, again, first.params)), strict=True):
            require(np.array_equal(a, b), f"{rule} gave two directions for one problem")
            require((a.shape, a.dtype) == (p.shape, p.dtype), f"{rule}: a direction unlike params")
        descent = sum(
            float(jnp.vdot(g, d).real)
            for g, d in zip(*map(jax.tree.leaves, (first.gradient(), direction)), strict=True)
        )
        require(descent > 0, f"{rule} does not go downhill in the mode {mode}")

"""Conformance check of samplers."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ritz.samplers import FIXED, AbstractSampler, SamplerState
from ritz.testing.requirement import require

_WALKERS = 4096
_MOST = 4.5
"""Standard errors by which a mean may be off."""
_TOGETHER = 0.99
"""Share of walkers that are alike on one and on several devices; rounding may turn a choice."""


def _log_psi(params: PyTree, positions: Array) -> Array:
    """exp(-r) of two particles: the density of a hydrogen atom in each, with a cusp at 0."""
    return -params["slope"] * jnp.sum(jnp.sqrt(jnp.sum(positions**2, axis=-1)), axis=-1)


def _exact_walkers() -> np.ndarray:
    """Independent samples of that density: r^2 exp(-2r) in a random direction."""
    random = np.random.default_rng(0)
    radius = random.gamma(3.0, 0.5, size=(_WALKERS, 2, 1))
    direction = random.normal(size=(_WALKERS, 2, 3))
    return radius * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def check_sampler(sampler: AbstractSampler) -> None:
    """Check a sampler of continuous coordinates.

    It must be hashable, keep the structure of its state, repeat itself from the same state, work
    inside of compiled loops, move its walkers, and keep the density |psi|^2: walkers that are
    drawn from it independently must stay so, whatever the width, which detailed balance ensures.
    The width must follow the acceptance where it may, and stay where it is fixed. Where there are
    several devices, walkers shared out over them must go where those on one device do.

    Args:
        sampler: The sampler.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    hash(sampler)
    params = {"slope": jnp.ones(())}
    walkers = jnp.asarray(_exact_walkers(), jnp.float32)
    first = sampler.with_gain(sampler.init(jax.random.key(1), _log_psi, params, walkers), FIXED)

    @jax.jit
    def repeated(state: SamplerState) -> tuple[SamplerState, Array]:
        def step(state: SamplerState, _: None) -> tuple[SamplerState, Array]:
            _positions, state, metrics = sampler.sample(_log_psi, params, state)
            return state, metrics["acceptance"]

        return jax.lax.scan(step, state, None, length=4)

    last, acceptance = repeated(first)
    again, _ = repeated(first)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), state) for state in (first, last)]
    require(shapes[0] == shapes[1], f"{sampler} changed the structure of its state")
    require(np.array_equal(last.positions, again.positions), f"{sampler} does not repeat itself")
    moved = np.any(np.asarray(last.positions != walkers), axis=(1, 2)).mean()
    require(moved > 0.5, f"{sampler} moved only {moved:.0%} of its walkers in four samples")
    require(np.all((acceptance >= 0) & (acceptance <= 1)), "acceptance is no fraction")
    require(last.width == first.width, f"{sampler} changed a width that was fixed")
    if len(jax.devices()) > 1:
        shared, _ = repeated(_shared_out(first))
        together = np.isclose(shared.positions, last.positions, atol=1e-4).all(axis=(1, 2))
        require(
            together.mean() > _TOGETHER,
            f"{sampler} moves only {together.mean():.0%} of its walkers alike when they are shared "
            f"out over {len(jax.devices())} devices",
        )
        require(
            not shared.positions.sharding.is_fully_replicated,
            f"{sampler} gathers walkers that are shared out over devices",
        )
    for width in (0.3, 1.0):
        state = first._replace(width=jnp.asarray(width, first.width.dtype))
        _check_density(sampler, np.asarray(repeated(state)[0].positions, float))
    for width, grows in ((1e-3, True), (30.0, False)):
        state = first._replace(width=jnp.asarray(width, first.width.dtype))
        adapted = sampler.sample(_log_psi, params, sampler.with_gain(state, 1.0))[1].width
        require(
            (adapted > state.width) == grows,
            f"{sampler} made a width of {width} into {adapted}, away from its target acceptance",
        )


def _shared_out(state: SamplerState) -> SamplerState:
    """The state with its walkers on all devices, and everything else on each of them."""
    mesh = Mesh(jax.devices(), ("walkers",))

    def placed(leaf: Array) -> Array:
        of_walkers = leaf.ndim > 0 and leaf.shape[0] == _WALKERS
        axes = PartitionSpec("walkers") if of_walkers else PartitionSpec()
        return jax.device_put(leaf, NamedSharding(mesh, axes))

    return jax.tree.map(placed, state)


def _check_density(sampler: AbstractSampler, positions: np.ndarray) -> None:
    """Compare means of walkers, which are independent, with those of the density."""
    radius = np.linalg.norm(positions, axis=-1)
    for name, values, exact in (
        ("r", radius, 1.5), ("r^2", radius**2, 3.0), ("1/r", 1 / radius, 1.0),
        ("z", positions[..., 2], 0.0),
    ):  # fmt: skip
        means = values.mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(len(means))
        off = abs(means.mean() - exact) / error
        require(
            off < _MOST,
            f"{sampler} does not keep the density: <{name}> is {means.mean():.4f} +- {error:.4f} "
            f"where it is {exact}; its moves lack detailed balance",
        )

"""The direction of kfac-jax for a small network: python -m tests.updates.kfac_jax_oracle FILE.

kfac-jax changes settings of JAX when it is imported, and works with few versions of it; so it runs
in a process of its own. tests/data/kfac_jax.npz was written by kfac-jax 0.0.8 with jax 0.9.1.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

N, ELECTRONS, FEATURES = 40, 3, 4
DAMPINGS = (1e-3, 0.3)


def numbers() -> dict[str, np.ndarray]:
    """Parameters, samples, and a vector like the parameters."""
    random = np.random.default_rng(5)
    shapes = {
        "each/kernel": (FEATURES, 5),
        "each/bias": (5,),
        "hidden/kernel": (5, 6),
        "hidden/bias": (6,),
        "last/kernel": (6, 1),
        "last/bias": (1,),
    }
    made = {name: random.standard_normal(shape) / 2 for name, shape in shapes.items()}
    made |= {f"v/{name}": random.standard_normal(shape) for name, shape in shapes.items()}
    return {**made, "x": random.standard_normal((N, ELECTRONS, FEATURES))}


def log_psi(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Three dense layers, the first of which is used by each electron."""
    h = jnp.tanh(x @ p["each/kernel"] + p["each/bias"])
    h = jnp.tanh(jnp.mean(h, axis=1) @ p["hidden/kernel"] + p["hidden/bias"])
    return h @ p["last/kernel"] + p["last/bias"]


def main() -> None:
    """Write the factors of the layers, and the directions at both dampings."""
    import kfac_jax

    jax.config.update("jax_enable_x64", True)
    given = {name: jnp.asarray(value) for name, value in numbers().items()}
    x = given.pop("x")
    vector = {name[2:]: given.pop(name) for name in list(given) if name.startswith("v/")}

    def model(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        value = log_psi(p, x)
        # The curvature of this loss is <O O^T> / variance.
        kfac_jax.register_normal_predictive_distribution(value, variance=1.0)
        return value

    key = jax.random.key(0)
    curvature = kfac_jax.BlockDiagonalCurvature(model, default_estimation_mode="fisher_exact")
    state = curvature.init(key, (given, x), exact_powers_to_cache=None, approx_powers_to_cache=-1)
    state = curvature.update_curvature_matrix_estimate(
        state, 0.0, 1.0, identity_weight=0.0, batch_size=N, rng=key, func_args=(given, x)
    )
    found = {}
    for k, block in enumerate(state.blocks_states):
        for side, factor in zip("ag", block.factors, strict=True):
            found[f"{side}{k}"] = factor.value
    for damping in DAMPINGS:
        direction = curvature.multiply_matpower(
            state, vector, damping, power=-1, exact_power=False, use_cached=False,
            pmap_axis_name=None,
        )  # fmt: skip
        found |= {f"{damping}/{name}": value for name, value in direction.items()}
    np.savez(sys.argv[1], **{name: np.asarray(value) for name, value in found.items()})


if __name__ == "__main__":
    main()

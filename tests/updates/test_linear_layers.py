"""Derivatives by linear layers, as sums of outer products, against those of each sample."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ritz.testing import check_layer
from ritz.updates import KFAC, MatrixProduct, register_layer
from ritz.updates.derivatives import sample_derivatives
from tests.updates.problems import lattice_samples, model_problem


class Convolutions(nn.Module):
    """Layers of all kinds, over a 4 x 4 lattice."""

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(nn.Conv, param_dtype=float)
        h = x.reshape(len(x), 4, 4, 1)
        h = jnp.tanh(conv(3, (3, 3), padding="CIRCULAR", name="circular")(h))
        h = jnp.tanh(conv(4, (2, 3), strides=(2, 1), padding="SAME", name="same")(h))
        h = conv(
            4, (2, 2), kernel_dilation=(1, 2), padding=((1, 0), (0, 2)), input_dilation=(2, 1),
            name="dilated",
        )(h)  # fmt: skip
        h = conv(4, (3, 3), padding="SAME", feature_group_count=2, name="groups")(h)
        h = h.reshape(len(x), -1, 4)
        h = conv(4, 2, padding="CAUSAL", name="causal")(h)
        h = conv(4, 3, padding="REFLECT", use_bias=False, name="reflected")(h)
        heads = nn.MultiHeadDotProductAttention(num_heads=2, param_dtype=float, name="attention")
        h = nn.LayerNorm(param_dtype=float, name="norm")(h + heads(h))
        h = nn.Einsum((2, 4, 3), "b...c,dce->be...d", param_dtype=float, name="einsum")(h)
        h = nn.DenseGeneral((2, 3), axis=(-2, -1), param_dtype=float, name="general")(jnp.tanh(h))
        return jnp.sum(jnp.log(jnp.cosh(h)), axis=(1, 2, 3))


def check_layers(problem):
    """Sums of outer products against derivatives of each sample; returns the blocks."""
    blocks = KFAC().blocks(problem)
    layers = [block.layer for block in blocks if block.layer is not None]

    @jax.jit
    def both(params, x):
        def real(p, sample):
            return problem.log_psi(p, sample[None])[0].real

        found = jax.vmap(
            lambda sample: sample_derivatives(
                problem.log_psi, params, sample, mode=problem.mode, layers=layers, groups=[]
            )[1]
        )(x)
        return found, jax.vmap(jax.grad(real), in_axes=(None, 0))(params, x)

    found, slopes = both(problem.params, problem.samples)
    slopes = jax.tree.leaves(slopes)
    for layer, factors in zip(layers, found, strict=True):
        products = jnp.einsum("nri,nro->nio", factors.inputs, factors.slopes[:, 0])
        wanted = np.asarray(jax.vmap(layer.matrix)(slopes))
        np.testing.assert_allclose(products, wanted, atol=1e-12 * max(np.abs(wanted).max(), 1))
        leaves = jax.tree.leaves(problem.params)
        new = list(leaves)
        layer.put(new, layer.matrix(leaves))
        assert all(map(np.array_equal, new, leaves))
    return blocks


@pytest.mark.medium
def test_layers_of_flax_are_sums_of_outer_products():
    blocks = check_layers(model_problem(Convolutions(), lattice_samples()))
    kinds = {block.parameters[0].split("/")[0]: block.kind for block in blocks}
    assert set(kinds.values()) == {"Kronecker", "exact"}
    [exact] = [block for block in blocks if block.kind == "exact"]
    assert exact.parameters == ("groups/bias", "groups/kernel", "norm/bias", "norm/scale")


@pytest.mark.medium
@pytest.mark.netket
def test_layers_of_netket_are_sums_of_outer_products():
    import netket as nk

    import ritz.lattice  # noqa: F401 (tells update rules of these layers)

    lattice = nk.graph.Chain(6)
    group = lattice.automorphisms()

    class Symmetric(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nk.nn.DenseSymm(group, features=2, mode="matrix", param_dtype=float)(x[:, None])
            equivariant = nk.nn.DenseEquivariant(
                group, features=3, mode="matrix", param_dtype=float
            )
            return jnp.sum(jnp.log(jnp.cosh(equivariant(jnp.tanh(h)))), axis=(1, 2))

    x = lattice_samples(n_sites=6)
    convolutional = nk.models.GCNN(lattice, layers=2, features=2, mode="fft", param_dtype=complex)
    by_irreps = nk.models.GCNN(group, layers=2, features=2, mode="irreps", param_dtype=complex)
    models = [
        (Symmetric(), "real", 2),
        (convolutional, "complex", 2),
        (by_irreps, "complex", 2),
        (nk.models.RBM(param_dtype=complex), "complex", 1),
        (nk.models.RBMSymm(group, alpha=2, param_dtype=float), "real", 1),
    ]
    for model, mode, n_layers in models:
        blocks = check_layers(model_problem(model, x, mode))
        assert sum(block.kind == "Kronecker" for block in blocks) == n_layers


@pytest.mark.medium
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dense(3), (5, 2)),
        (nn.DenseGeneral((2, 3), axis=(-2, -1)), (5, 4, 2)),
        (nn.Einsum((2, 4, 3), "b...c,dce->be...d"), (5, 6, 4)),
        (nn.Conv(3, (2, 3), padding="CIRCULAR", kernel_dilation=(2, 1)), (5, 6, 4, 2)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_layers_of_flax_pass_the_check(layer, shape):
    check_layer(layer, jnp.asarray(np.random.default_rng(0).standard_normal(shape), np.float32))


def test_the_check_finds_what_is_wrong():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            return 2 * x @ self.param("kernel", nn.initializers.ones, (x.shape[-1], 3))

    x = jnp.ones((5, 2))
    with pytest.raises(AssertionError, match="is no product; is Twice registered"):
        check_layer(Twice(), x)
    register_layer(Twice, lambda module, args, kernel, out: MatrixProduct(args[0], (0, 1), (0, 1)))
    with pytest.raises(AssertionError, match="Twice"):
        check_layer(Twice(), x)
    with pytest.raises(TypeError, match="kind must be a class of flax modules, but 'Dense'"):
        register_layer("Dense", print)
    with pytest.raises(TypeError, match="as_product must be a function"):
        register_layer(Twice, None)

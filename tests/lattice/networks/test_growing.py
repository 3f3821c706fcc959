"""Parameters of larger lattices and networks from those of smaller ones."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice.models import JastrowRBM, ResNet, ViT, grown
from ritz.lattice.models.jastrow_rbm import _coupling

X = nk.hilbert.Spin(0.5, 16).random_state(jax.random.key(0), 6)
F = {"param_dtype": float}

SAME_LATTICE = [
    (ResNet((4, 4), depth=1, width=2, kernel_size=3, **F),
     ResNet((4, 4), depth=3, width=5, kernel_size=4, **F)),
    (ResNet((4, 4), depth=0, width=2, kernel_size=2, complex_output=True, **F),
     ResNet((4, 4), depth=1, width=3, kernel_size=2, complex_output=True, **F)),
    (ViT((4, 4), depth=1, width=4, patch_size=2, **F),
     ViT((4, 4), depth=2, width=4, patch_size=2, **F)),
    (JastrowRBM((4, 4), alpha=1), JastrowRBM((4, 4), alpha=3)),
    (JastrowRBM((4, 4), alpha=0), JastrowRBM((4, 4), alpha=1)),
]  # fmt: skip


@pytest.mark.medium
@pytest.mark.parametrize(("small", "large"), SAME_LATTICE)
def test_on_the_same_lattice_psi_stays(small, large):
    params = small.init(jax.random.key(1), X)["params"]
    begin = grown(params, small, large, 16, jax.random.key(2))
    psi, whole = small.apply({"params": params}, X), large.apply({"params": begin}, X)
    assert np.ptp(np.abs(psi)) > 1e-3
    np.testing.assert_allclose(whole - whole[0], psi - psi[0], atol=1e-12)
    # What is new can move, at once or as soon as the layers after it have moved.
    grad = jax.grad(lambda p: jnp.sum(large.apply({"params": p}, X).real ** 2))(begin)
    moves = [bool(np.any(leaf != 0)) for leaf in jax.tree.leaves(grad)]
    assert sum(moves) >= 0.6 * len(moves)


@pytest.mark.medium
@pytest.mark.parametrize(
    "make",
    [
        lambda n: ResNet((n, n), depth=1, width=2, kernel_size=3, **F),
        lambda n: ViT((n, n), depth=1, width=4, **F),
        lambda n: JastrowRBM((n, n), alpha=1),
    ],
    ids=["ResNet", "ViT", "JastrowRBM"],
)
def test_on_a_larger_lattice_distances_stay(make):
    small, large = make(3), make(5)
    params = small.init(jax.random.key(1), X[:, :9])["params"]
    begin = grown(params, small, large, 25, jax.random.key(2))
    shapes = jax.eval_shape(lambda: large.init(jax.random.key(0), jnp.ones((1, 25)))["params"])
    assert jax.tree.map(jnp.shape, begin) == jax.tree.map(jnp.shape, shapes)
    if isinstance(small, JastrowRBM):  # pairs are coupled as before, in both directions
        assert np.sum(begin["jastrow"] != 0) == 9
        near = small.cells.pairs()[0, 1], large.cells.pairs()[0, 1]
        back = small.cells.pairs()[1, 0], large.cells.pairs()[1, 0]
        for one, other in (near, back):
            np.testing.assert_array_equal(params["jastrow"][one], begin["jastrow"][other])


@pytest.mark.parametrize(
    ("small", "large", "error", "text"),
    [
        (ResNet((4, 4)), ViT((4, 4)), TypeError, "two modules of the same class"),
        (ResNet((4, 4)), ResNet((3, 4)), ValueError, "must not shrink"),
        (ResNet((4, 4), depth=2), ResNet((4, 4), depth=1), ValueError, "depth cannot go"),
        (ViT((4, 4), width=4), ViT((4, 4), width=8), ValueError, "width cannot go"),
        (ResNet((4,), False), ResNet((5,), False), ValueError, "open sides"),
        (ResNet((4,)), ResNet((4,), False), ValueError, "same cells and boundaries"),
        (ResNet((4,)), ResNet((4,), complex_output=True), ValueError, "complex_output must be"),
        (JastrowRBM((4,), param_dtype=complex), JastrowRBM((4,)), ValueError, "bias are complex"),
    ],
)
def test_what_cannot_grow_is_refused(small, large, error, text):
    params = {"bias": jnp.zeros(2, getattr(small, "param_dtype", float))}
    with pytest.raises(error, match=text):
        grown(params, small, large, large.cells.n_cells, jax.random.key(0))


def test_pairs_at_half_of_the_lattice_are_coupled_both_ways():
    small, large = JastrowRBM((4, 2), alpha=0), JastrowRBM((8, 6), alpha=0)
    params = small.init(jax.random.key(1), X[:, :8])["params"]
    begin = grown(params, small, large, 48, jax.random.key(2))
    before, after = (
        _coupling(m.cells, 1, p["jastrow"]) for m, p in ((small, params), (large, begin))
    )
    # Displacements (2, 0) and (-2, 0), then (2, 1) and (-2, -1) of the larger lattice.
    for others, one in (([2 * 6, 6 * 6], 4), ([2 * 6 + 1, 6 * 6 + 5], 5)):
        assert before[0, one] != 0
        np.testing.assert_allclose(after[0, others], before[0, one])

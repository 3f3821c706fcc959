"""Convolutions over cells against flax's, and cells of lattices."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from flax import linen as nn

import ritz.lattice.models.lattice_conv as lattice_conv
from ritz.lattice.models import JastrowRBM, LatticeConv, Pfaffian, ResNet, SlaterBackflow, ViT
from ritz.lattice.models.cells import Cells
from ritz.testing.layers import check_layer
from ritz.updates import Problem

SIZES = [((5,), (3,)), ((4, 6), (3, 2)), ((4, 4), (4, 4))]


@pytest.mark.parametrize("by_matrix", [True, False])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("extent", "size"), SIZES)
def test_it_is_the_convolution_of_flax(extent, size, periodic, by_matrix, monkeypatch):
    monkeypatch.setattr(lattice_conv, "LARGEST_SPREAD", np.inf if by_matrix else 0)
    cells = Cells.of(extent, periodic)
    layer = LatticeConv(cells, 3, size, param_dtype=float, bias_init=nn.initializers.normal())
    x = jax.random.normal(jax.random.key(0), (2, cells.n_cells, 2))
    variables = layer.init(jax.random.key(1), x)
    padding = "CIRCULAR" if periodic else [((k - 1) // 2, k // 2) for k in size]
    conv = nn.Conv(3, size, padding=padding, param_dtype=float)
    wanted = conv.apply(variables, x.reshape(2, *extent, 2))
    np.testing.assert_allclose(
        layer.apply(variables, x), jnp.reshape(wanted, (2, cells.n_cells, 3)), atol=1e-12
    )


@pytest.mark.parametrize("periodic", [True, (True, False)])
def test_update_rules_see_it(periodic):
    cells = Cells.of((3, 4), periodic)
    layer = LatticeConv(cells, 2, (3, 3), param_dtype=float)
    check_layer(layer, jax.random.normal(jax.random.key(0), (5, 12, 3)))


@pytest.mark.medium
def test_scores_are_those_of_plain_derivatives():
    model = ResNet((3, 4), depth=1, width=2, periodic=(True, False), param_dtype=float)
    x = nk.hilbert.Spin(0.5, 12).random_state(jax.random.key(0), 6)
    params = model.init(jax.random.key(1), x)["params"]

    def log_psi(params, x):
        return model.apply({"params": params}, x)

    found = Problem(log_psi, params, x, jnp.zeros(6), mode="real").scores()
    rows = jax.jacrev(log_psi)(params, x)
    flat = np.concatenate([np.reshape(leaf, (6, -1)) for leaf in jax.tree.leaves(rows)], axis=1)
    np.testing.assert_allclose(found, (flat - flat.mean(axis=0)) / np.sqrt(6), atol=1e-10)


def test_values_are_sorted_by_cell():
    graph = nk.graph.Honeycomb([2, 3])
    cells = Cells.of(graph.extent, sites_per_cell=2)
    by_cell = np.asarray(cells.by_cell(jnp.arange(2 * graph.n_nodes)))  # two spins
    for cell, values in enumerate(by_cell):
        sites = [2 * cell, 2 * cell + 1]
        assert values.tolist() == [*sites, *(site + graph.n_nodes for site in sites)]
        where = np.unravel_index(cell, graph.extent)
        assert all(np.array_equal(graph.basis_coords[site][:2], where) for site in sites)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Cells.of((4, 0)), "extent must be a whole number of at least 1, but 0"),
        (lambda: Cells.of(()), "at least one direction"),
        (lambda: Cells.of((4, 4), (True,)), "one for each of the 2 directions"),
        (lambda: Cells.of((4, 4)).kernel_size((3,)), "for each of the 2 directions"),
        (lambda: Cells.of((4, 4)).by_cell(jnp.zeros(12)), "12 values do not fit the 16 cells"),
        (lambda: Cells.of((4, 3)).patches(jnp.zeros((12, 1)), 2), "do not fill a lattice"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("model", [ResNet, ViT, JastrowRBM])
def test_graphs_and_types_that_parameters_cannot_have_are_refused(model):
    for graph in (nk.graph.Square(4), nk.graph.Graph(edges=[(0, 1)])):
        with pytest.raises(TypeError, match="the graph .* was given; give graph.extent"):
            model(graph)
    for kind, shown in ((int, "int"), (None, "None"), ("x", "'x'"), (jnp.int32, "int32")):
        with pytest.raises(TypeError, match=f"param_dtype must be a real .*, but {shown} was"):
            model((4,), param_dtype=kind)
    for kind in (float, jnp.float32, np.float64, "float32", jnp.bfloat16):
        model((4,), param_dtype=kind)


def test_complex_parameters_are_those_of_models_that_take_them():
    for model in (ResNet, ViT):
        with pytest.raises(TypeError, match="but complex was given; for .* complex_output=True"):
            model((4,), param_dtype=complex)
    assert JastrowRBM((4,), param_dtype=complex).param_dtype is complex
    hilbert = nk.hilbert.SpinOrbitalFermions(4, n_fermions=2)
    for fermions in (SlaterBackflow, Pfaffian):
        with pytest.raises(TypeError, match="must be a real or complex type, .*, but int was"):
            fermions(hilbert, param_dtype=int)
        assert fermions(hilbert, param_dtype=complex).param_dtype is complex

"""Wave functions under translations, projections and Marshall's sign rule."""

import functools
import operator
import warnings

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from flax import linen as nn

from ritz.lattice import VMC
from ritz.lattice.models import JastrowRBM, MarshallSign, ResNet, Symmetrized, ViT, group_check

RING = (np.arange(4) + np.arange(4)[:, None]) % 4
TURNS = nk.graph.Square(2, pbc=False).point_group()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about sides of 2
    SMALL = nk.graph.Square(2)
SQUARE, HONEYCOMB = nk.graph.Square(4), nk.graph.Honeycomb([2, 2])


@pytest.mark.medium
@pytest.mark.parametrize("model", [ResNet, ViT, JastrowRBM])
@pytest.mark.parametrize("complex_output", [False, True])
def test_translations_leave_it_as_it_is(model, complex_output):
    kind = {"param_dtype": complex if complex_output else float}
    if model is not JastrowRBM:
        kind = {"param_dtype": float, "complex_output": complex_output, "width": 4}
    for graph, per_cell in ((SQUARE, 1), (HONEYCOMB, 2)):
        psi = model(graph.extent, sites_per_cell=per_cell, **kind)
        x = nk.hilbert.Spin(0.5, graph.n_nodes).random_state(jax.random.key(0), 3)
        moved = x[:, graph.translation_group().to_array()]
        found, _ = psi.init_with_output(jax.random.key(1), moved)
        assert jnp.iscomplexobj(found) == complex_output
        np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], found.shape), atol=1e-10)
        assert np.ptp(np.abs(found[:, 0])) > 1e-3


@pytest.mark.medium
def test_only_what_is_periodic_is_invariant():
    x = nk.hilbert.Spin(0.5, 12).random_state(jax.random.key(0), 8)
    grid = x.reshape(8, 3, 4)
    for model in (ResNet, ViT, JastrowRBM):
        psi = model((3, 4), periodic=(True, False), param_dtype=float)
        variables = psi.init(jax.random.key(1), x)
        here = psi.apply(variables, x)
        down, right = (jnp.roll(grid, 1, axis=axis).reshape(8, 12) for axis in (1, 2))
        np.testing.assert_allclose(psi.apply(variables, down), here, atol=1e-10)
        assert np.abs(psi.apply(variables, right) - here).max() > 1e-4


@pytest.mark.medium
def test_patches_are_translated_as_a_whole():
    psi = ViT((4, 4), patch_size=2, width=4, param_dtype=float)
    x = nk.hilbert.Spin(0.5, 16).random_state(jax.random.key(0), 8)
    variables = psi.init(jax.random.key(1), x)
    by_two, by_one = (jnp.roll(x.reshape(8, 4, 4), n, axis=2).reshape(8, 16) for n in (2, 1))
    here = psi.apply(variables, x)
    np.testing.assert_allclose(psi.apply(variables, by_two), here, atol=1e-10)
    assert np.abs(psi.apply(variables, by_one) - here).max() > 1e-4


class Table(nn.Module):
    """Psi as a table."""

    hilbert: nk.hilbert.DiscreteHilbert

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.normal(1.0)
        psi = self.param("psi", init, (self.hilbert.n_states,), complex)
        return jnp.log(psi[self.hilbert.states_to_numbers(x)])


def hubbard(hilbert, graph):
    number, create, destroy = (
        getattr(nk.operator.fermion, name) for name in ("number", "create", "destroy")
    )
    terms = [4.0 * number(hilbert, i, 1) @ number(hilbert, i, -1) for i in graph.nodes()]
    for spin in (1, -1):
        for i, j in graph.edges():
            hop = create(hilbert, i, spin) @ destroy(hilbert, j, spin)
            terms += [-1.0 * hop, -1.0 * hop.H]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about speed
        return functools.reduce(operator.add, terms).to_dense()


def projected(hilbert, psi, **symmetry):
    model = Symmetrized(Table(hilbert), **symmetry)
    variables = {"params": {"psi": jnp.asarray(psi, complex)}}
    return np.exp(np.asarray(model.apply(variables, hilbert.all_states())))


def test_sectors_of_momentum_of_spins():
    graph, hilbert = nk.graph.Chain(6), nk.hilbert.Spin(0.5, 6, total_sz=0)
    group, states = graph.translation_group(), hilbert.all_states()
    psi = np.random.default_rng(0).normal(size=hilbert.n_states) + 0j
    total = 0
    for character in group.character_table():
        found = projected(hilbert, psi, group=group, character=character)
        total = total + found
        for element, of_element in zip(group.to_array(), character, strict=True):
            back = states[:, np.argsort(element)]  # g^-1 x
            moved = found[hilbert.states_to_numbers(back)]
            np.testing.assert_allclose(moved, of_element * found, atol=1e-12)
    np.testing.assert_allclose(total, psi, atol=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize("n_per_spin", [(2, 2), (2, 1)])
def test_projections_of_fermions_commute_with_the_hamiltonian(n_per_spin):
    graph = nk.graph.Chain(4)
    hilbert = nk.hilbert.SpinOrbitalFermions(4, s=1 / 2, n_fermions_per_spin=n_per_spin)
    matrix = hubbard(hilbert, graph)
    psi = np.random.default_rng(0).normal(size=hilbert.n_states) + 0j
    group = graph.space_group()
    rows = [row for row in group.character_table() if np.isclose(row[0], 1)]
    assert len(rows) == 4
    for character in rows:
        symmetry = {"group": group, "character": character, "fermions": True}
        found = projected(hilbert, psi, **symmetry)
        np.testing.assert_allclose(
            projected(hilbert, matrix @ psi, **symmetry), matrix @ found, atol=1e-10
        )
        np.testing.assert_allclose(projected(hilbert, found, **symmetry), found, atol=1e-12)


def test_inversion_and_characters_with_signs():
    hilbert = nk.hilbert.Spin(0.5, 4, total_sz=0)
    psi = np.random.default_rng(0).normal(size=hilbert.n_states)
    flipped = hilbert.states_to_numbers(-hilbert.all_states())
    even, odd = (projected(hilbert, psi, inversion=sign) for sign in (1, -1))
    np.testing.assert_allclose(even, (psi + psi[flipped]) / 2, atol=1e-12)
    np.testing.assert_allclose(odd, (psi - psi[flipped]) / 2, atol=1e-12)
    nothing = projected(hilbert, even, inversion=-1)
    np.testing.assert_array_equal(nothing, 0)


@pytest.mark.medium
def test_it_has_the_parameters_of_the_model():
    model = ResNet((4, 4), depth=1, width=2)
    symmetric = Symmetrized(model, SQUARE.point_group(), inversion=1)
    x = nk.hilbert.Spin(0.5, 16).random_state(jax.random.key(0), 2)
    variables = model.init(jax.random.key(1), x)
    inside, outside = (m.init(jax.random.key(1), x) for m in (symmetric, model))
    jax.tree.map(np.testing.assert_array_equal, inside, outside)
    turned = x[:, SQUARE.point_group().to_array()[3]]
    plain = model.apply(variables, x) - model.apply(variables, turned)
    assert np.abs(plain).max() > 1e-4
    found = symmetric.apply(variables, x)
    assert not jnp.iscomplexobj(found)
    np.testing.assert_allclose(symmetric.apply(variables, turned), found, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group": np.zeros((2, 4), int)}, r"shape \(2, 4\) was given whose rows are none"),
        ({"group": [[0, 1, 2]]}, "permutes 3 sites, but configurations have 4 values"),
        ({"group": [[0, 1, 2, 3]], "character": [1, 1]}, "one number for each of the 1 elements"),
        ({"group": [[0, 1, 2, 3], [1, 2, 3, 0]]}, r"but not their product \[2, 3, 0, 1\]"),
        ({"group": [*RING, RING[0]]}, "5 elements, of which 4 differ, and some"),
        ({"group": RING, "character": [0, 0, 0, 0]}, "it is 0 for the identity"),
        ({"group": RING, "character": 1j ** (np.arange(4) / 2)}, "repeated, is another one"),
        ({"group": RING, "character": [1, 1, 0, 0]}, "repeated, is another one"),
        ({"group": TURNS, "character": np.arange(8) == 0}, "a finite number for each"),
        ({"group": TURNS, "character": [1, 2, 3, 4, 5, 6, 7, 8]}, "it differs within a class"),
        ({"character": [1]}, "character needs a group"),
        ({"group": "space_group"}, "group takes permutations, but 'space_group' was given"),
        ({"group": SQUARE}, r"but Square.* was given; give .*graph.space_group\(\)"),
        ({"group": [[0, 1], [1]]}, "group takes permutations"),
        ({"inversion": 2}, "inversion must be 1, -1 or None"),
        ({"inversion": True}, "inversion must be 1, -1 or None, but True"),
        ({"inversion": 1, "fermions": True}, "of spins or bosons, not of fermions"),
        ({"model": None}, "model must be a flax module"),
    ],
)
def test_symmetries_that_do_not_fit_are_refused(options, text):
    with pytest.raises((TypeError, ValueError), match=text):
        Symmetrized(**{"model": nk.models.RBM(), **options}).init(
            jax.random.key(0), jnp.ones((1, 4))
        )


@pytest.mark.parametrize("graph", [nk.graph.Square(2, pbc=False), nk.graph.Chain(6)])
def test_characters_are_taken_with_the_groups_of_lattices(graph):
    for group in (graph.point_group(), graph.space_group(), graph.translation_group()):
        table = group.character_table()
        for character in table:
            Symmetrized(nk.models.RBM(), group, character)
            Symmetrized(nk.models.RBM(), group.to_array().tolist(), character.real * 0 + 1)
        if len(table) > 1:
            dimensions = [row[0].real for row in table]
            with pytest.raises(ValueError, match="character is none"):
                Symmetrized(nk.models.RBM(), group, 2 * table[0] + table[1])
            assert sum(d**2 for d in dimensions) == pytest.approx(len(group))


def test_elements_of_small_lattices_may_be_there_several_times():
    group = SMALL.point_group()  # the identity and one reflection, each four times
    assert len(group) == 8 and len(np.unique(group.to_array(), axis=0)) == 2
    even = Symmetrized(nk.models.RBM(), group)
    x = np.array([[1, 1, -1, 1], [1, -1, 1, 1]])
    found, _ = even.init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
    for row in group.character_table():
        Symmetrized(nk.models.RBM(), group, row)
    twice = np.repeat([1.0, -1.0], 4)  # of which nothing is left
    with pytest.raises(ValueError, match="character is none"):
        Symmetrized(nk.models.RBM(), np.tile(np.arange(4), (8, 1)), twice)


def test_groups_that_are_known_are_not_multiplied_out_again(monkeypatch):
    group = SQUARE.space_group()
    Symmetrized(nk.models.RBM(), group)
    monkeypatch.setattr(group_check, "_products", None)  # an error, if it were called
    Symmetrized(nk.models.RBM(), group).clone()


def test_inversion_exchanges_the_states_of_the_space():
    hilbert = nk.hilbert.Fock(1, 4)
    operator = nk.operator.boson.number(hilbert, 0).to_jax_operator()
    for states_sum, hint in ((0, "give states_sum=1"), (1, "")):
        model = Symmetrized(nk.models.RBM(), inversion=1, states_sum=states_sum)
        state = nk.vqs.FullSumState(hilbert, model)
        if hint:
            with pytest.raises(ValueError, match=hint):
                VMC(operator, 0.1, variational_state=state)
        else:
            VMC(operator, 0.1, variational_state=state)


def test_models_that_take_rows_only():
    hilbert = nk.hilbert.Spin(0.5, 4)
    model = nk.models.ARNNDense(hilbert=hilbert, layers=1, features=2)
    symmetric = Symmetrized(model, nk.graph.Chain(4).translation_group())
    x = hilbert.all_states()
    variables = symmetric.init(jax.random.key(0), x)
    found = symmetric.apply(variables, x)
    psi = [np.exp(model.apply(variables, jnp.roll(x, k, axis=-1))) for k in range(4)]
    np.testing.assert_allclose(np.exp(found), np.mean(psi, axis=0), rtol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("outer", ["symmetrized", "signed", "symmetrized twice"])
def test_wrappers_wrap_wrappers(outer):
    """In any order, with the parameters of the innermost model."""
    graph, x = nk.graph.Chain(4), nk.hilbert.Spin(0.5, 4).all_states()
    model = nk.models.RBM(alpha=1)
    signed, shifts = MarshallSign(model, graph), graph.translation_group()
    variables = model.init(jax.random.key(0), x)
    images = [jnp.roll(x, k, axis=-1) for k in range(4)]
    if outer == "signed":
        made = MarshallSign(Symmetrized(model, shifts), graph)
        parts = [model.apply(variables, i) for i in images]
        sign = np.exp(signed.apply(variables, x) - model.apply(variables, x))
    else:
        made, sign = Symmetrized(signed, shifts), 1.0
        parts = [signed.apply(variables, i) for i in images]
    if outer == "symmetrized twice":  # translations commute with the exchange of the two states
        made = Symmetrized(made, inversion=1)
        parts += [signed.apply(variables, -i) for i in images]
    shapes, own = (jax.tree.map(np.shape, v) for v in (made.init(jax.random.key(1), x), variables))
    assert shapes == own
    psi = sign * np.mean(np.exp(np.asarray(parts, complex)), axis=0)
    np.testing.assert_allclose(np.exp(made.apply(variables, x)), psi, rtol=1e-5, atol=1e-6)


@pytest.mark.medium
def test_marshalls_signs_are_those_of_the_hamiltonian():
    graph, hilbert = SQUARE, nk.hilbert.Spin(0.5, 16, total_sz=0)
    model = JastrowRBM(graph.extent)
    plain, signed = (nk.operator.Heisenberg(hilbert, graph, sign_rule=s) for s in (False, True))
    x = hilbert.random_state(jax.random.key(0), 1)
    params = model.init(jax.random.key(1), x)["params"]
    states = [
        nk.vqs.FullSumState(hilbert, m, variables={"params": params})
        for m in (MarshallSign(model, graph), model)
    ]
    energies = [s.expect(h).mean.real for s, h in zip(states, (plain, signed), strict=True)]
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-12)
    with pytest.raises(ValueError, match="no two sublattices"):
        MarshallSign(model, nk.graph.Triangular([3, 3]))

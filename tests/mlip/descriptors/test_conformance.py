"""The contract of descriptors, checked on all that Ritz has and on broken ones."""

import dataclasses
import inspect

import jax.numpy as jnp
import pytest

import ritz.mlip
from ritz.mlip import (
    G2,
    G4,
    G5,
    AbstractDescriptor,
    ACEDescriptor,
    Adam,
    ANNPotential,
    ChebyshevDescriptor,
    SymmetryFunctions,
    load_potential,
)
from ritz.testing import check_descriptor
from tests.mlip.systems import ATOMS, config, tio2

MANY = [G2("O", 0.4, 1.0, 4.0), G4(("Ti", "O"), 0.02, -1, 2, 3.5), G5(("O", "O"), 0.05, 1, 1.5)]

MADE = {
    ACEDescriptor: [
        lambda: ACEDescriptor(["Ti", "O"], 4.0, (3, 3, 2, 2)),
        lambda: ACEDescriptor(["Ti"], 3.5, (4,)),
    ],
    ChebyshevDescriptor: [
        lambda: ChebyshevDescriptor(["Ti", "O"], 3, 4.0, 2, 3.0),
        lambda: ChebyshevDescriptor(["Ti"], 2, 3.0, 3, 3.5, min_cutoff=0.0),
    ],
    SymmetryFunctions: [
        lambda: SymmetryFunctions({"Ti": MANY, "O": MANY[1:]}, "tanh3"),
        lambda: SymmetryFunctions({"Ti": [G2("Ti", 0.5, 1.0, 3.0)]}),
        lambda: SymmetryFunctions({"O": [G4(("O", "O"), 0.1, 1, 1, 3.0)]}),
    ],
}


def test_all_descriptors_are_checked():
    exported = {
        value for value in vars(ritz.mlip).values()
        if inspect.isclass(value) and issubclass(value, AbstractDescriptor)
    }  # fmt: skip
    assert exported - {AbstractDescriptor} == set(MADE)


@pytest.mark.medium
@pytest.mark.parametrize("make", [make for several in MADE.values() for make in several])
def test_what_every_descriptor_must_do(make):
    check_descriptor(make())


@dataclasses.dataclass(frozen=True)
class Decaying(AbstractDescriptor):
    """Features alone; everything else is the contract's."""

    species: tuple[str, ...]
    cutoff: float = 3.0
    wrong: str = ""

    n_features = 2

    def features(self, vectors, pairs, kinds, centres, near=None):
        squares = jnp.sum(vectors**2, axis=-1)
        if self.wrong == "rotated":
            squares = jnp.sum(vectors**4, axis=-1)
        distances = jnp.sqrt(jnp.where(squares > 0, squares, 1))
        if self.wrong == "not finite":
            distances = jnp.sqrt(squares)
        smooth = jnp.maximum(1 - squares / self.cutoff**2, 0) ** 3
        terms = jnp.exp(-distances) * (1 if self.wrong == "cutoff" else smooth)
        terms = jnp.where(pairs, terms, 0)
        if self.wrong == "order":
            terms = terms * (1 + jnp.arange(terms.shape[-1]) / 10)
        rows = [jnp.sum(jnp.where(kinds == kind, terms, 0), axis=-1) for kind in (0, 1)]
        return jnp.stack(rows, axis=-1)

    def pullback(self, by_feature, local, kinds):
        along, across = super().pullback(by_feature, local, kinds)
        return along, across * (1.01 if self.wrong == "derivative" else 1)

    def header(self):
        header = super().header()
        if self.wrong == "header":
            del header["cutoff"]
        return header


@pytest.mark.medium
@pytest.mark.parametrize(("wrong", "told"), [
    ("rotated", "a rotation changes features"), ("cutoff", "at the cutoff changes features"),
    ("order", "the order of neighbours"), ("not finite", "not finite, in empty entries"),
    ("derivative", "off from JAX's"), ("header", "from_header"),
])  # fmt: skip
def test_the_check_finds_what_is_wrong(wrong, told):
    with pytest.raises(AssertionError, match=told):
        check_descriptor(Decaying(("Ti", "O"), 2.9 if wrong == "header" else 3.0, wrong))


def test_another_number_of_features_than_told_is_refused():
    class Wide(Decaying):
        n_features = 3

    told = r"Wide.features gave the shape \(1024, 2\) where .* is \(1024, 3\); Wide.n_features must"
    with pytest.raises(ValueError, match=told):
        Wide(("Ti", "O")).featurize(tio2()[0])


@pytest.mark.medium
def test_features_alone_make_a_potential(tmp_path):
    descriptor = Decaying(("Ti", "O"))
    check_descriptor(descriptor)
    potential = ANNPotential({"Ti": [(4, "tanh")], "O": [(4, "tanh")]}, descriptor)
    settings = config(iterations=8, method=Adam(mu=0.005, batchsize=6), atomic_energies=ATOMS)
    result = potential.train(tio2(), settings)
    assert result.errors["RMSE_train"].iloc[-1] < result.errors["RMSE_train"].iloc[0]
    potential.save(tmp_path / "potential.npz")
    assert load_potential(tmp_path / "potential.npz").descriptor == descriptor


def test_unknown_descriptors_in_files():
    told = "'Other', but only .*ChebyshevDescriptor.* are known here; import the module"
    with pytest.raises(ValueError, match=told):
        AbstractDescriptor.from_header({"descriptor": "Other"})
    told = "'ChebyshevDescriptor', but SymmetryFunctions was asked for; ChebyshevDescriptor.from_h"
    with pytest.raises(ValueError, match=told):
        SymmetryFunctions.from_header(MADE[ChebyshevDescriptor][0]().header())
    with pytest.raises(TypeError, match="such as ChebyshevDescriptor"):
        ANNPotential({"H": [(2, "tanh")]}, "Chebyshev")


def test_a_name_belongs_to_one_module():
    """Files call descriptors by their names; a module that runs again has its own ones."""
    program = "class {}(Base):\n    pass\n"
    Base = SymmetryFunctions
    before = dict(AbstractDescriptor.subclasses)
    try:
        for _ in range(2):
            exec(program.format("Mine"), {"__name__": "a", "Base": Base})
        assert AbstractDescriptor.subclasses["Mine"].__module__ == "a"
        for name, owner in (("Mine", "a"), ("ChebyshevDescriptor", "ritz.mlip.descriptors.cheb")):
            with pytest.raises(TypeError, match=f"^{owner}.* has a descriptor {name} already, and"):
                exec(program.format(name), {"__name__": "b", "Base": Base})
        assert AbstractDescriptor.subclasses["ChebyshevDescriptor"] is ChebyshevDescriptor
    finally:
        AbstractDescriptor.subclasses.clear()
        AbstractDescriptor.subclasses.update(before)

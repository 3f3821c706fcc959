"""Presets, symmetries by name, and the model by default."""

import json
from pathlib import Path

import netket as nk
import numpy as np
import pytest
import yaml

from ritz.cli.lattice.domain import DOMAIN
from ritz.cli.settings.presets import preset_names, with_preset
from ritz.lattice.fermion_operators import hopping_operator
from ritz.lattice.models import JastrowRBM, SlaterBackflow, Symmetrized, default_model
from ritz.lattice.symmetries import symmetrized
from ritz.lattice.systems import J1J2, Heisenberg, Hubbard, TransverseIsing
from tests.cli.lattice.runs import SMALL, ritz

pytestmark = pytest.mark.netket

NAMES = preset_names(DOMAIN.presets)


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_can_be_built(name, capsys):
    status, out, error = ritz(capsys, "train", f"preset={name}", "--dry_run")
    assert status == 0 and "everything can be built" in out, error
    # Steps of the schedule are those of the run.
    content = yaml.safe_load((DOMAIN.presets / f"{name}.yaml").read_text())
    rate = content["train"]["optimizer"]["init_args"]["learning_rate"]
    assert rate["init_args"]["decay_steps"] == content["train"]["iterations"]


def test_settings_beside_a_preset(capsys):
    given = ["preset=heisenberg-square", "extent=[4,2]", "model.width=3", "--print_config"]
    status, out, _ = ritz(capsys, "train", *given)
    found = yaml.safe_load(out)
    assert status == 0
    assert found["system"]["init_args"]["extent"] == [4, 2]
    assert found["model"]["init_args"] == {"depth": 2, "width": 3, "kernel_size": 4}
    assert found["evaluate"]["symmetrize"] == ["point_group", "inversion"]


def test_a_preset_that_is_none_is_told(capsys):
    status, _, error = ritz(capsys, "train", "preset=heisenberg-sqare")
    assert status == 2
    assert "did you mean heisenberg-square? The presets are heisenberg-chain" in error
    status, _, error = ritz(capsys, "train", "--preset")
    assert status == 2 and "preset: a value is missing" in error


def test_short_names_stand_for_long_ones_beside_presets_only():
    short = {"extent": "system.extent"}
    assert with_preset(["train", "extent=[4]"], DOMAIN.presets, short) == ["train", "extent=[4]"]
    [*_, last] = with_preset(["preset=tfim-chain", "--extent=[4]"], DOMAIN.presets, short)
    assert last == "system.extent=[4]"


@pytest.mark.medium
def test_an_evaluation_with_more_symmetry_has_the_lower_energy(capsys):
    settings = [*SMALL, "system.extent=[6]", "folder=r", "model=RBM", "train.iterations=4"]
    assert ritz(capsys, "train", *settings)[0] == 0
    energies = []
    for names in ("[]", "[translations, inversion]"):
        given = ["evaluate.full_sum=true", "evaluate.iterations=2", f"evaluate.symmetrize={names}"]
        status, _, error = ritz(capsys, "evaluate", "folder=r", "progress=false", "--anew", *given)
        assert status == 0, error
        energies.append(json.loads(Path("r/summary.json").read_text())["evaluate"]["energy"])
    assert energies[1] < energies[0]


@pytest.mark.parametrize(
    ("system", "names", "text"),
    [
        (Heisenberg([4, 4]), ["rotations"], "symmetrize takes translations, point_group"),
        (Heisenberg([4, 4]), ["translations", "point_group"], "takes one of translations"),
        (Hubbard([2, 2]), ["inversion"], "does not stay in the space"),
    ],
)
def test_symmetries_that_a_system_lacks_are_told(system, names, text):
    with pytest.raises(ValueError, match=text):
        symmetrized(nk.models.RBM(), system.hilbert, system.lattice, names)
    with pytest.raises(ValueError, match="needs a lattice"):
        symmetrized(nk.models.RBM(), system.hilbert, None, ["translations"])


@pytest.mark.medium
def test_inversion_has_the_parity_of_the_ground_state():
    systems = [
        J1J2([2, 3], sign_rule=False),
        J1J2([2, 3], periodic=False),
        J1J2([2, 3], J1=-1.0, J2=0.2, sign_rule=False),
        J1J2([2, 3], J1=-1.0, J2=2.0, sign_rule=False),
        Heisenberg([6], sign_rule=False),
        Heisenberg([6], coupling=-1.0, sign_rule=False),
        Heisenberg([6], coupling=-1.0),
        TransverseIsing([5], field=-2.0),
    ]
    for system in systems:
        psi = np.linalg.eigh(system.hamiltonian.to_dense())[1][:, 0]
        flipped = psi[system.hilbert.states_to_numbers(-system.hilbert.all_states())]
        assert np.vdot(psi, flipped) == pytest.approx(system.parity, abs=1e-6), system
        model = symmetrized(nk.models.RBM(), system.hilbert, system.lattice, ["inversion"],
                            parity=system.parity)  # fmt: skip
        assert isinstance(model, Symmetrized) and model.inversion == system.parity
    assert {system.parity for system in systems} == {1, -1}
    even = symmetrized(nk.models.RBM(), systems[0].hilbert, None, ["even_inversion"], parity=-1)
    assert isinstance(even, Symmetrized) and even.inversion == 1


@pytest.mark.medium
def test_a_ladder_gets_the_sector_of_its_ground_state_or_none(capsys):
    given = ["--dry_run", "preset=j1j2-square", "extent=[2,5]", "evaluate.symmetrize=[inversion]"]
    status, _, error = ritz(capsys, "train", *given)
    assert status == 2 and "system.sign_rule=false" in error
    given += ["system.sign_rule=false"]
    status, _, error = ritz(capsys, "train", *given)
    assert status == 2 and "train.symmetrize=point_group,inversion" in error
    assert "give symmetrize=[inversion]" in error
    status, _, error = ritz(capsys, "train", *given, "train.symmetrize=[inversion]")
    assert status == 0, error


def test_symmetries_of_fermions_have_signs():
    system = Hubbard([4, 2])
    model = symmetrized(SlaterBackflow(system.hilbert), system.hilbert, system.lattice,
                        ["point_group"])  # fmt: skip
    assert isinstance(model, Symmetrized) and model.fermions


@pytest.mark.parametrize(
    ("system", "kind"),
    [
        (TransverseIsing([4]), float),
        (Heisenberg([4], sign_rule=True), float),
        (Heisenberg([4], sign_rule=False), complex),
        (J1J2([4, 4]), complex),
    ],
)
def test_the_default_model_is_real_without_a_sign_problem(system, kind):
    model = default_model(system.hilbert, system.hamiltonian, tuple(system.lattice.extent))
    assert isinstance(model, JastrowRBM) and np.dtype(model.param_dtype) == np.dtype(kind)
    plain = default_model(system.hilbert, system.hamiltonian)
    assert plain.extent == (system.hilbert.size,) and plain.periodic == (False,)


def test_fermions_get_determinants():
    system = Hubbard([2, 2])
    model = default_model(system.hilbert, system.hamiltonian, orbitals=system.orbitals)
    assert isinstance(model, SlaterBackflow) and model.param_dtype is float
    assert model.orbitals is not None
    turned = hopping_operator(system.hilbert, [(0, 1)], np.exp(0.3j))
    assert getattr(default_model(system.hilbert, turned), "param_dtype", None) is complex

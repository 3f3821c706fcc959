"""What the command line builds of a configuration of a lattice."""

import netket as nk
import pytest

from ritz.cli.lattice.config import LatticeRun, Train
from ritz.cli.settings.parts import Part

pytestmark = pytest.mark.netket

RBM = Part("RBM", {"alpha": 1})


@pytest.mark.parametrize(
    ("n_samples", "full_sum", "kind"),
    [(24, False, "SR"), (23, False, "MinSR"), (32, True, "MinSR"), (1, True, "MinSR")],
)
def test_the_rule_fits_the_numbers_of_parameters_and_samples(n_samples, full_sum, kind):
    from ritz.cli.lattice.build import Builder

    train = Train(n_samples=n_samples, full_sum=full_sum)
    system = Part("TransverseIsing", {"extent": [4]})  # 16 states; RBM: 24 parameters
    stage = Builder(LatticeRun(system=system, model=RBM, train=train)).train()
    rule = stage.parts.optimizer_options["update"]
    assert type(rule).__name__ == kind and rule.diag_shift == 0.01


def test_arguments_of_the_rule_leave_the_choice_to_the_numbers():
    from ritz.cli.lattice.build import Builder

    system = Part("TransverseIsing", {"extent": [4]})
    train = Train(n_samples=16)
    train.update = train.update.with_argument(["diag_shift"], 0.5)
    builder = Builder(LatticeRun(system=system, model=RBM, train=train))
    rule = builder.train().parts.optimizer_options["update"]
    assert type(rule).__name__ == "MinSR" and rule.diag_shift == 0.5


def test_a_model_without_parameters_is_told():
    from flax import linen

    from ritz.lattice import LatticeWavefunction
    from ritz.lattice.systems import TransverseIsing

    class Fixed(linen.Module):
        @linen.compact
        def __call__(self, x):
            return x.sum(axis=-1)

    wavefunction = LatticeWavefunction(Fixed(), TransverseIsing([4]).hilbert)
    with pytest.raises(ValueError, match="the model has no parameters, so that nothing can be "):
        _ = wavefunction.n_parameters


def test_models_of_fermions_get_the_space():
    from ritz.cli.lattice.build import Builder

    system = Part("Hubbard", {"extent": [2, 2]})
    run = LatticeRun(system=system, model=Part("SlaterBackflow", {"width": 4}))
    builder = Builder(run)
    for wavefunction in builder.wavefunctions.values():
        assert wavefunction.model.hilbert == builder.system.hilbert
    builder.train()
    assert run.model.init_args == {"width": 4}


@pytest.mark.parametrize(
    ("sampler", "given", "n_chains"),
    [
        ("MetropolisExchange", {}, 24),
        ("netket.sampler.MetropolisExchange", {}, 24),
        ("MetropolisExchange", {"n_chains": 8}, 8),
        ("netket.sampler.MetropolisHamiltonian", {}, 24),
        ("netket.sampler.ExactSampler", {}, 1),
    ],
)
def test_samplers_have_a_chain_for_each_sample(sampler, given, n_chains):
    from ritz.cli.lattice.build import Builder

    train = Train(n_samples=24, sampler=Part(sampler, given))
    system = Part("Heisenberg", {"extent": [4]})
    stage = Builder(LatticeRun(system=system, model=RBM, train=train)).train()
    (found,) = stage.parts.samplers.values()
    assert found.n_chains == n_chains


def test_arguments_that_a_constructor_lacks_are_told():
    from ritz.stages.parts import call

    class Plain:
        pass

    with pytest.raises(ValueError, match=r"s: Plain\(\) takes no arguments"):
        call("s", Plain, {"rate": 1}, None)
    with pytest.raises(ValueError, match="did you mean s.machine_pow"):
        call("s", nk.sampler.ExactSampler, {"machine_power": 1}, {"hilbert": nk.hilbert.Spin(0.5)})

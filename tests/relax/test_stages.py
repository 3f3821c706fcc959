"""Stages, their composition, and how structures go through them."""

import numpy as np
import pytest
from ase.constraints import FixAtoms

from ritz.loggers import RuntimeLog
from ritz.relax import (
    FIRE,
    FIRE2,
    LBFGS,
    NPT,
    NVE,
    ConvergenceHook,
    Criterion,
    FrechetCell,
    FusedStage,
    GradientDescent,
    NVTLangevin,
    Relaxation,
    relax,
)
from ritz.relax.observation.quantities import EXPECTED_ERRORS, QUANTITIES
from ritz.testing import check_stage
from tests.relax.systems import argon, argons, fire, lennard_jones

LOOSE = ConvergenceHook.from_fmax(0.1)


def run(stages, structures=None, n=2000, **settings):
    driver = Relaxation(structures or argons(3), lennard_jones(), stages, **settings)
    log = RuntimeLog()
    driver.run(n, out=log, show_progress=False)
    return driver, log.data["structures"]


def test_addition_is_associative_and_numbers_the_hooks():
    a, b, c = FIRE(convergence_hook=LOOSE), NVTLangevin(20.0, max_steps=5), FIRE2()

    first, second = a + (b + c), (a + b) + c

    assert first == second and hash(first) == hash(second)
    assert len(first) == 3 and first.exit_status == 3
    assert [(h.source_status, h.target_status) for h in first.all_hooks] == [(0, 1), (2, 3)]
    assert FusedStage(a, b, c) == first
    assert FIRE() == FIRE() != FIRE(max_steps=5) and FIRE() != FIRE(convergence_hook=LOOSE)
    # A budget that is used up means another status where the criteria are the stage's own.
    own, registered = NVE(convergence_hook=LOOSE, max_steps=5), FusedStage(NVE(max_steps=5))
    placed = ConvergenceHook.from_fmax(0.1, source_status=0, target_status=1)
    assert FusedStage(own) != registered.register_hook(placed)
    assert a + (b + c).register_hook(ConvergenceHook(source_status=0, target_status=2)) == (
        (a + b + c).register_hook(ConvergenceHook(source_status=1, target_status=3))
    )


@pytest.mark.medium
def test_structures_go_through_the_stages_at_their_own_pace():
    stages = FIRE(convergence_hook=LOOSE) + NVTLangevin(30.0, dt=2.0, max_steps=20) + fire()

    driver, rows = run(stages)

    status = np.asarray(rows["status"]["value"])
    assert np.all(np.diff(status, axis=0) >= 0) and np.all(status[-1] == 3)
    assert np.all((status == 1).sum(axis=0) == 20)
    assert len(set((status == 0).sum(axis=0))) > 1  # not in step
    others, _ = run(stages, [argon(0), argon(7), argon(8)])
    assert others.state.steps[0] == driver.state.steps[0]
    assert others.state.energy[0] == driver.state.energy[0]


def test_a_single_hook_that_decides_for_several_stages():
    """Registered hooks act within the compiled step, given to the driver or to its run."""
    stages = NVE(dt=2.0, max_steps=40) + NVE(dt=2.0, max_steps=40)
    hot = ConvergenceHook(Criterion("temperature", 5.0, custom_op=_is_above_5_kelvin))
    first = Relaxation(argons(2), lennard_jones(), stages)
    first.register_hook(hot)
    first.run(200, show_progress=False)
    second = Relaxation(argons(2), lennard_jones(), stages)
    second.run(200, callback=hot, show_progress=False)

    assert list(first.state.status) == [2, 2]
    assert np.all(first.state.steps < 30)
    np.testing.assert_array_equal(first.state.steps, second.state.steps)


def _is_above_5_kelvin(temperature):
    return temperature > 5.0


@pytest.mark.medium
def test_budgets():
    driver, _ = run(fire().with_max_steps(7))
    assert list(driver.state.status) == [-2] * 3 and list(driver.state.steps) == [7] * 3
    found = relax(argon(0), lennard_jones(), fmax=1e-9, max_steps=3)
    assert (found.status, found.steps, found.converged) == ("unconverged", 3, False)


@pytest.mark.slow
def test_patience_and_frequency():
    def steps(**settings):
        hook = ConvergenceHook.from_fmax(0.05, **settings)
        return int(run(FIRE(convergence_hook=hook), [argon(0)])[0].state.steps[0])

    first = steps()
    assert steps(patience=3) == first + 3
    assert steps(frequency=10) == -(-first // 10) * 10


@pytest.mark.slow
def test_either_criterion():
    criteria = [Criterion("fmax", 1e-9), Criterion("energy_change_per_atom", 1e-4)]
    driver, _ = run(FIRE(convergence_hook=ConvergenceHook(criteria, mode="any")))
    assert list(driver.state.status) == [1] * 3 and np.all(driver.state.fmax > 1e-4)


def test_every_quantity_can_be_named():
    """And none gives NaN, which would mean failed."""
    names = [name for name in QUANTITIES if name not in EXPECTED_ERRORS]  # those of a committee
    assert {"fmax", "energy_change", "stress", "temperature", "forces"} < set(names)
    hook = ConvergenceHook([Criterion(name, 1e9) for name in names])
    driver, _ = run(NVE(convergence_hook=hook), n=3)
    assert list(driver.state.status) == [1] * 3 and list(driver.state.steps) == [1] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [FIRE, FIRE2, LBFGS, GradientDescent, NVE, lambda: NVTLangevin(300.0)],
    ids=["FIRE", "FIRE2", "LBFGS", "GradientDescent", "NVE", "NVTLangevin"],
)
def test_conformance(make):
    check_stage(make)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NVE() + FIRE(), ValueError, "would never leave stage 0, NVE"),
        (lambda: FusedStage(), ValueError, "at least one stage"),
        (lambda: FusedStage(3), TypeError, "a stage is an optimiser or integrator"),
        (lambda: FIRE() + 3, TypeError, "unsupported operand"),
        (lambda: FIRE(dt=-1), ValueError, "dt must be a positive number"),
        (lambda: FIRE(cell=3), TypeError, "cell must be True, None or a FrechetCell"),
        (lambda: LBFGS(memory=0), ValueError, "memory"),
        (lambda: GradientDescent(rate=0.0), ValueError, "rate must be a positive number"),
        (lambda: NVTLangevin(-3.0), ValueError, "temperature must be a positive number"),
        (lambda: NPT(300.0, pressure="high"), TypeError, "pressure must be a finite number, in"),
        (lambda: FrechetCell(mask=(True,)), ValueError, "six booleans"),
        (lambda: FrechetCell(hydrostatic=True, constant_volume=True), ValueError, "cannot move"),
        (lambda: FIRE(convergence_hook={"criteria": []}), ValueError, "criteria is empty"),
        (
            lambda: Relaxation(argon(0), lennard_jones(), FIRE(), convergence_hook={
                "criteria": [{"key": "fmx", "threshold": 1}]}),
            ValueError, "no quantity 'fmx' to converge; there are: fmax, energy",
        ),
        (
            lambda: Relaxation(argon(0), lennard_jones(), FIRE().with_hook(
                ConvergenceHook(target_status=4))),
            ValueError, "target_status must be a stage or 1, the exit, but 4",
        ),
    ],
)  # fmt: skip
def test_wrong_stages_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_structures_that_a_stage_cannot_treat_are_named():
    flat, held = argon(0), argon(0)
    flat.pbc = [True, True, False]
    held.set_constraint(FixAtoms([0]))
    for stage, atoms, message in [
        (FIRE(cell=True), flat, r"structure 1 \(Ar8\): its cell cannot move"),
        (NPT(20.0), flat, "periodic in all three"),
        (NPT(20.0), held, "cannot hold atoms fixed"),
    ]:
        with pytest.raises(ValueError, match=message):
            Relaxation([argon(0), atoms], lennard_jones(), stage)

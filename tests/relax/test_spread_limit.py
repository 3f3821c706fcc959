"""Structures are parked at the first step at which a committee is too unsure of them."""

import ase.units
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback, StopRun
from ritz.checkpoint import Checkpoint
from ritz.loggers import RuntimeLog
from ritz.relax import NVE, ConvergenceHook, Relaxation, SpreadLimit, relax
from ritz.testing import QuadraticDriver
from tests.relax.committees import PairCommittee, members
from tests.relax.systems import argons, fire, lennard_jones

STEPS = 30


def moving(n=4):
    atoms = argons(n)
    for seed, one in enumerate(atoms):
        noise = np.random.default_rng(seed).normal(size=(len(one), 3))
        one.set_velocities(noise * np.sqrt(ase.units.kB * 40 * (1 + seed) / one.get_masses()[0]))
    return atoms


def run(limit, slots=4, factors=(1.0, 1.0), steps=STEPS, **settings):
    driver = Relaxation(
        moving(), PairCommittee(error_factors=factors), NVE(4.0, max_steps=STEPS), slots=slots
    )
    log = RuntimeLog()
    driver.run(steps, callback=limit, out=log, show_progress=False, **settings)
    return driver, log.data["structures"]


def spread_by_hand(atoms):
    """Energy per atom and force, by a loop over the members."""
    results = [relax(atoms, member, max_steps=0) for member in members()]
    energies = np.array([result.energy for result in results])
    forces = np.array([result.atoms.get_forces() for result in results])
    by_atom = np.zeros(len(atoms))
    for atom in range(len(atoms)):
        mean = sum(forces[:, atom]) / len(forces)
        by_atom[atom] = np.sqrt(sum(np.sum((f - mean) ** 2) for f in forces[:, atom]) / len(forces))
    return np.sqrt(np.mean((energies - energies.mean()) ** 2)) / len(atoms), by_atom.max()


@pytest.fixture(scope="module")
def watched():
    """Rows of a run that a limit beyond reach does not stop."""
    limit = SpreadLimit(force=1e3)
    driver, rows = run(limit)
    assert limit.n_parked == 0 and limit.parked(driver) == []
    return limit, {key: rows[key]["value"] for key in rows}


@pytest.mark.medium
def test_spread_is_that_of_a_loop_over_members(watched):
    _, rows = watched
    for place, atoms in enumerate(moving()):
        energy, force = spread_by_hand(atoms)
        np.testing.assert_allclose(rows["expected_energy_error"][0, place], energy, rtol=1e-10)
        np.testing.assert_allclose(rows["expected_force_error"][0, place], force, rtol=1e-10)


@pytest.mark.parametrize("block", [1, 7])
def test_structure_stops_at_the_first_step_beyond_the_limit(watched, block):
    free, rows = watched
    forces = rows["expected_force_error"]
    limit = float(np.median(forces.max(axis=0)))
    hook = SpreadLimit(force=limit)
    driver, _ = run(hook, max_block=block)
    passes = forces.max(axis=0) > limit
    assert 0 < passes.sum() < len(passes)
    np.testing.assert_array_equal(driver.state.status == -4, passes)
    parked = hook.parked(driver)
    assert [atoms.info["place"] for atoms in parked] == list(np.flatnonzero(passes))
    for atoms in parked:
        place = atoms.info["place"]
        first = int(np.argmax(forces[:, place] > limit))
        assert atoms.info["step"] == first
        assert atoms.info["expected_force_error"] == forces[first, place]
        assert atoms.get_potential_energy() == rows["energy"][first, place]
    np.testing.assert_array_equal(hook.highest[1, ~passes], free.highest[1, ~passes])


@pytest.mark.medium
def test_waiting_structures_take_the_slots_of_parked_ones_and_enough_ends_the_run(watched):
    forces = watched[1]["expected_force_error"]
    limit = 0.5 * float(forces[0].min())
    hook = SpreadLimit(force=limit, enough=3)
    driver, rows = run(hook, slots=2)
    assert list(driver.state.status) == [-4, -4, -4, -4] and driver.step_count == 2
    assert "4 structures have passed a limit of the expected error" in driver.stop_message
    assert list(rows["status"]["value"][-1]) == [-4, -4]
    assert [atoms.info["step"] for atoms in hook.parked(driver)] == [0] * 4
    driver, _ = run(SpreadLimit(force=limit, enough=2), slots=2)
    assert list(driver.state.status) == [-4, -4, -3, -3] and driver.step_count == 1


@pytest.mark.medium
def test_a_run_that_is_interrupted_parks_the_same_structures(watched, tmp_path):
    forces = watched[1]["expected_force_error"]
    limit = float(np.median(forces.max(axis=0)))
    whole = SpreadLimit(force=limit)
    expected = whole.parked(run(whole, slots=2, steps=2 * STEPS)[0])

    def part(steps):
        hook = SpreadLimit(force=limit)
        stop = LambdaCallback(on_step_end=lambda step, row, driver: stop_at(step, steps))
        saving = [hook, stop, Checkpoint(tmp_path / "saved", extend=True)]
        driver = Relaxation(moving(), PairCommittee(), NVE(4.0, max_steps=STEPS), slots=2)
        driver.run(2 * STEPS, callback=saving, show_progress=False, resume=True)
        return hook, hook.parked(driver)

    part(11)
    hook, found = part(None)
    np.testing.assert_array_equal(hook.highest, whole.highest)
    np.testing.assert_array_equal(hook.at_parking, whole.at_parking)
    assert len(found) == len(expected) > 0
    for mine, other in zip(found, expected, strict=True):
        assert mine.info == other.info
        np.testing.assert_array_equal(mine.positions, other.positions)


def stop_at(step, last):
    if step == last:
        raise StopRun("interrupted")


@pytest.mark.medium
def test_factors_of_the_calibration_count(watched):
    rows = watched[1]
    _, found = run(SpreadLimit(energy=1e3), factors=(2.0, 0.5), steps=2)
    for key, factor in (("expected_energy_error", 2.0), ("expected_force_error", 0.5)):
        np.testing.assert_allclose(found[key]["value"][:2], factor * rows[key][:2], rtol=1e-12)


def test_relaxation_says_who_is_uncertain():
    result = relax(argons(2), PairCommittee(), callback=SpreadLimit(energy=1e-9))
    assert result.status == ["uncertain", "uncertain"]


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: SpreadLimit(), "needs a limit: force=0.3"),
        (lambda: SpreadLimit(force=-1.0), "force must be a positive number"),
        (lambda: SpreadLimit(force=1.0, enough=0), "enough must be"),
        (
            lambda: relax(argons(1), lennard_jones(), callback=SpreadLimit(force=1.0)),
            "only a committee knows .* the model is a LennardJones; train a committee",
        ),
        (
            lambda: Relaxation(
                argons(1), lennard_jones(), fire(),
                convergence_hook=ConvergenceHook({"key": "expected_force_error", "threshold": 1.0}),
            ),
            "only a committee knows",
        ),
    ],
)  # fmt: skip
def test_mistakes(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_other_drivers_are_refused():
    with pytest.raises(TypeError, match="not of a QuadraticDriver"):
        QuadraticDriver().run(1, callback=SpreadLimit(force=1.0), show_progress=False)

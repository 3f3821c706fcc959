"""A batch is nothing but its structures: no structure feels the others."""

import logging

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ritz.callbacks import LambdaCallback
from ritz.loggers import RuntimeLog
from ritz.relax import NVTLangevin, Relaxation, relax
from ritz.relax.batching.at_once import structures_at_once
from tests.relax.systems import argon, argons, cluster, fire, lennard_jones


def finished(structures, **settings):
    driver = Relaxation(structures, lennard_jones(), fire(), **settings)
    driver.run(2000, show_progress=False)
    return driver.state


def same(first, second):
    """Whether two lists of structures have the same positions, bit for bit."""
    return all(np.array_equal(a.positions, b.positions) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def together():
    return finished(argons(6))


def test_one_by_one(together):
    alone = [finished([atoms]) for atoms in argons(6)]

    assert [int(one.steps[0]) for one in alone] == list(together.steps)
    # Lists may have other widths, so that sums are taken in another order.
    np.testing.assert_allclose([one.energy[0] for one in alone], together.energy, atol=1e-12)
    for one, atoms in zip(alone, together.atoms, strict=True):
        np.testing.assert_allclose(one.atoms[0].positions, atoms.positions, atol=1e-9)


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize("slots", [1, 4])
def test_refill_changes_no_bit(together, slots):
    refilled = finished(argons(6), slots=slots)

    assert same(refilled.atoms, together.atoms)
    np.testing.assert_array_equal(refilled.energy, together.energy)
    np.testing.assert_array_equal(refilled.steps, together.steps)
    np.testing.assert_array_equal(refilled.status, together.status)


@pytest.mark.bits
@pytest.mark.parametrize("at_once", [1, 4])
def test_evaluating_parts_of_a_batch_changes_no_bit(together, at_once, monkeypatch):
    monkeypatch.setattr("ritz.relax.evaluation.structures_at_once", lambda *about: at_once)
    in_parts = finished(argons(6))

    assert same(in_parts.atoms, together.atoms)
    np.testing.assert_array_equal(in_parts.energy, together.energy)
    np.testing.assert_array_equal(in_parts.steps, together.steps)


@pytest.mark.parametrize("n_slots", [1, 7, 61, 64, 1024])
@pytest.mark.parametrize("n_pairs", [1, 2000, 10**6])
def test_parts_fit_into_caches_and_are_alike(n_slots, n_pairs, monkeypatch):
    monkeypatch.setattr("ritz.relax.batching.at_once.cores", lambda: [0, 1])
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    at_once = structures_at_once(n_slots, n_pairs, 8)
    fitting = max(1, 2**16 // n_pairs)  # numbers that two cores have place for
    assert 1 <= at_once <= min(n_slots, fitting)
    assert 2 * at_once >= min(n_slots, fitting)  # no more parts than twice as many as must be
    if n_slots == 1024:
        assert n_slots % at_once == 0


def test_gpus_evaluate_all_at_once(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cuda")
    assert structures_at_once(1024, 2000, 8) == 1024


@pytest.mark.bits
def test_order_of_inputs_changes_no_bit(together):
    backwards = finished(argons(6)[::-1])

    assert same(backwards.atoms[::-1], together.atoms)
    np.testing.assert_array_equal(backwards.energy[::-1], together.energy)


def test_a_structure_that_stopped_before_does_not_count_in_the_last_row():
    """A structure that stopped long ago, far from its minimum, stays in its slot."""
    pairs = [Atoms("Ar2", positions=[[0, 0, 0], [x, 0, 0]]) for x in (3.85, 4.4, 3.822)]
    log = RuntimeLog()
    driver = Relaxation(pairs, lennard_jones(), fire(1e-4, max_steps=12), slots=2)
    driver.run(100, out=log, show_progress=False)
    fmax = log["fmax"].values
    by_slot = log["structures"]
    last = by_slot["place"].values[-1] == 2
    assert by_slot["fmax"].values[-1][~last] > fmax[-2] > fmax[-1] > 0
    assert fmax[-1] == by_slot["fmax"].values[-1][last]
    assert list(log["running"].values[-2:]) == [1, 0]


def test_memory_bounds_the_slots():
    driver = Relaxation(argons(6), lennard_jones(), fire(), max_atoms=20)

    assert driver.carry.params[0].positions.shape[0] == 2
    assert driver.n_rounds == 3


@pytest.mark.bits
def test_what_has_converged_does_not_move_by_one_bit():
    """Nor does anything else of it change, its optimiser's state included."""
    driver = Relaxation(argons(3), lennard_jones(), fire())
    found = {}
    for _ in range(10):
        driver.run(10, show_progress=False)
        slots, geometry = driver.carry.slots[0], driver.carry.params[0]
        for i in np.flatnonzero(np.asarray(slots.status) == 1):
            own = jax.tree.map(
                lambda x, i=i: np.array(x[i]),
                (geometry, slots._replace(next=(), lists=(), finished=())),
            )
            if i in found:
                jax.tree.map(np.testing.assert_array_equal, found[i], own)
            found[i] = own
    assert sorted(found) == [0, 1, 2] and driver.step_count > min(driver.state.steps) + 5


def test_a_structure_that_fails_harms_no_other(together):
    clash = argon(0)
    clash.positions[1] = clash.positions[0]

    found = finished([*argons(6)[:3], clash, *argons(6)[3:]])

    assert list(found.status) == [1, 1, 1, -1, 1, 1, 1]
    kept = [*found.atoms[:3], *found.atoms[4:]]
    assert same(kept, together.atoms)
    np.testing.assert_array_equal(found.atoms[3].positions, clash.positions)


@pytest.mark.medium
def test_structures_of_all_sizes(together):
    single = Atoms("Ar", cell=[20, 20, 20], pbc=True)
    given = [argon(0), single, bulk("Ar", "fcc", a=5.2), cluster(13), argon(1)]
    given[3].positions *= 3.4
    given[3].positions[:, 0] += 100  # nothing depends on where the origin is

    found = relax(given, lennard_jones(), fmax=0.005)

    assert found.status == ["converged"] * 5
    assert found.energy[1] == 0 and found.steps[1] == 0
    assert [len(atoms) for atoms in found.atoms] == [8, 1, 1, 13, 8]
    np.testing.assert_allclose(found.energy[[0, 4]], together.energy[:2], atol=1e-12)


def test_results_do_not_depend_on_wrapping():
    atoms, scattered = argon(0), argon(0)
    scattered.positions += np.random.default_rng(0).integers(-3, 4, (8, 3)) @ atoms.cell.array

    found = relax([atoms, scattered], lennard_jones(), fmax=0.005)

    assert found.steps[0] == found.steps[1]
    np.testing.assert_allclose(found.energy[0], found.energy[1], atol=1e-12)
    moves = found.atoms[1].positions - scattered.positions
    np.testing.assert_allclose(moves, found.atoms[0].positions - atoms.positions, atol=1e-9)


@pytest.mark.medium
def test_lists_that_do_not_fit_grow(caplog):
    """Far too narrow lists are found out before anything moves, whatever the blocks."""
    structures, results = argons(3), []
    for max_block in (None, 1):
        driver = Relaxation(structures, lennard_jones(), fire())
        expected = finished(structures)
        driver.widths = [8]
        driver.grow()
        with driver._precision():
            driver.carry = driver._first_carry()
        log = RuntimeLog()
        with caplog.at_level(logging.INFO):
            driver.run(2000, out=log, show_progress=False, max_block=max_block)
        assert "neighbour lists of 8 atoms overflowed" in caplog.text
        results.append(np.asarray(log.data["structures/energy"]["value"]))
        np.testing.assert_allclose(driver.state.energy, expected.energy, atol=1e-12)
        np.testing.assert_array_equal(driver.state.steps, expected.steps)
    np.testing.assert_array_equal(*results)


@pytest.mark.slow
def test_noise_belongs_to_the_structure_not_to_its_slot():
    def run(structures, **settings):
        stage = NVTLangevin(40.0, dt=4.0, max_steps=30)
        driver = Relaxation(structures, lennard_jones(), stage, seed=3, **settings)
        driver.run(500, show_progress=False)
        return driver.state.atoms

    together = run(argons(4))

    assert same(run(argons(4), slots=2), together)
    assert not np.allclose(together[0].get_velocities(), together[1].get_velocities())


@pytest.mark.bits
def test_live_steps_have_the_bits_of_blocks():
    """Nothing of a step may be moved out of a block's loop, or it would be rounded otherwise."""

    def positions(**arguments):
        driver = Relaxation(argons(3), lennard_jones(), fire(1e-4))
        driver.run(60, show_progress=False, **arguments)
        return np.asarray(driver.carry.params[0].positions)

    live = LambdaCallback(on_step_end=lambda step, log_data, driver: None)
    np.testing.assert_array_equal(positions(), positions(callback=live))


def test_the_last_row_has_the_largest_force_of_those_that_ran_last():
    log = RuntimeLog()
    driver = Relaxation(argons(2), lennard_jones(), fire(0.005))
    driver.run(300, out=log, show_progress=False)
    assert log.data["running"].values[-1] == 0
    last = np.argmax(driver.state.steps)
    assert 0 < log.data["fmax"].values[-1] == driver.state.fmax[last] <= 0.005

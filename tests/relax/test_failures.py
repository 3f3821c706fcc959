"""Structures that fail, with the reason: nothing wrong is called converged."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ritz.loggers import RuntimeLog
from ritz.relax import (
    NPT,
    NVE,
    LennardJones,
    Morse,
    NVTLangevin,
    Potential,
    Relaxation,
    SoftSphere,
    relax,
)
from ritz.relax.batching.list_sizes import collapse, most_allowed
from ritz.relax.batching.neighbors import countable, search_on_host
from ritz.relax.observation.explosion import HOT, highest_temperature
from tests.relax.systems import argon, argons, fire, lennard_jones

NOTHING = Potential(
    lambda p, s: 0.0 * jnp.sum(jnp.where(s.pairs, s.squared_distances(), 0)), cutoff=6.0
)
"""No forces, but neighbours."""


@pytest.mark.parametrize(
    "model",
    [
        LennardJones(0.01, 3.4, cutoff=6.0),
        pytest.param(Morse(0.1, 1.5, 3.8, cutoff=6.0), marks=pytest.mark.slow),
        pytest.param(SoftSphere(1.0, 3.0), marks=pytest.mark.slow),
        NOTHING,
    ],
    ids=["lennard-jones", "morse", "soft-sphere", "function"],
)
def test_two_atoms_at_one_place_never_converge(model, caplog):
    wrong = argon(1)
    wrong.positions[3] = wrong.positions[1] + wrong.cell[2]  # an image of it
    found = relax([argon(0), wrong], model, max_steps=1)
    assert found.status[1] == "failed" and found.status[0] != "failed"
    assert found.reason == ["", "atoms 1 (Ar) and 3 (Ar) are at one place"]
    assert "Structure 1 (Ar8) has failed: atoms 1 (Ar) and 3 (Ar) are at one place." in caplog.text


@pytest.mark.parametrize("cutoff", [None, 8.0])
def test_atoms_may_fly_anywhere(cutoff):
    """Cell lists between atoms 1e44 Angstrom apart would end the process."""
    pair = Atoms("Ar2", positions=[[0, 0, 0], [1e-3, 0, 0]])
    model = LennardJones(epsilon=0.01, sigma=3.4, cutoff=cutoff)
    neighbors = "auto" if cutoff is None else "host"
    driver = Relaxation([pair], model, NVE(dt=50.0, max_steps=20), neighbors=neighbors)
    driver.run(60, show_progress=False)
    assert driver.stop_message.endswith("all structures have finished (1 failed)")
    assert driver.state.reasons[0].startswith("it has exploded to ")
    assert np.abs(driver.state.atoms[0].positions).max() > 1e40


def test_dynamics_that_explodes_is_stopped(caplog):
    log = RuntimeLog()
    driver = Relaxation(argons(2), lennard_jones(), NVTLangevin(300.0, dt=300.0))
    driver.run(2000, out=log, show_progress=False)
    assert driver.step_count < 10
    assert driver.stop_message.endswith("all structures have finished (2 failed)")
    assert all("has exploded to" in why and "smaller time step" in why
               for why in driver.state.reasons)  # fmt: skip
    assert np.all(np.asarray(log["structures"]["temperature"]["value"])[-1] > HOT)
    assert caplog.text.count("has failed: it has exploded") == 2


def test_what_counts_as_an_explosion():
    cold, hot = argon(0), argon(0)
    hot.set_velocities(np.full((8, 3), 1.0))
    assert highest_temperature(fire().__add__(NVE()).stages, [cold]) == HOT
    assert highest_temperature([NVTLangevin(20_000.0)], [cold]) == 1e7
    assert highest_temperature([NVE()], [cold, hot]) > 100 * 1e5
    assert highest_temperature([fire()], [hot]) == np.inf


@pytest.mark.parametrize("neighbors", ["device", pytest.param("host", marks=pytest.mark.slow)])
def test_a_cell_that_collapses_fails_at_once(neighbors):
    stage = NPT(300.0, 1e3, dt=4.0, relaxation=50.0, compressibility=1.0)
    driver = Relaxation([argon(0)], NOTHING, stage, neighbors=neighbors)
    driver.run(100, show_progress=False)
    assert list(driver.state.status) == [-1] and not np.isfinite(driver.state.energy[0])
    assert "its cell has collapsed to" in driver.state.reasons[0]
    assert driver.state.atoms[0].calc is None


def test_what_counts_as_a_collapse():
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    there = atoms.positions, atoms.cell.array, atoms.pbc
    assert collapse(*there, 7.0, most_allowed(50, 7.0)) is None
    assert most_allowed(50, 7.0) == 1000 and most_allowed(2, 13.0) == 1841
    assert "an atom has" in str(collapse(*there, 7.0, 20))
    assert "cell has collapsed" in str(collapse(there[0], 1e-3 * there[1], atoms.pbc, 7.0, 1000))
    far = there[0] + 40_000 * np.outer([0, 0, 0, 1], there[1][0])
    assert "drifted 4e+04 cells apart" in str(collapse(far, *there[1:], 7.0, 1000))
    assert not countable(4, np.zeros((3, 3)), [True] * 3, 7.0)


def test_atoms_too_far_apart_for_the_lists_are_told():
    driver = Relaxation([argon(0)], lennard_jones(), NVE(dt=1.0))
    settings = driver.kernel.lists[0]
    atoms = argon(0)
    for cells, fits in ((30_000, True), (40_000, False)):
        positions = atoms.positions + cells * np.outer(np.arange(8) == 5, atoms.cell[1])
        found = search_on_host(
            jnp.asarray(positions), jnp.asarray(atoms.cell.array), jnp.asarray(atoms.pbc),
            jnp.ones(8, bool), settings,
        )  # fmt: skip
        assert bool(found.overflow) is not fits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.positions.__setitem__((2, 1), np.nan), "positions or cell are not finite"),
        (lambda a: a.set_cell(np.full((3, 3), np.inf)), "positions or cell are not finite"),
        (lambda a: a.set_cell([3, 0, 0]), "periodic along a lattice vector of length zero"),
        (lambda a: a.set_cell(np.ones((3, 3))), "lattice vectors lie in one plane"),
        (lambda a: a.set_masses([np.nan] * 8), "masses must be finite"),
        (lambda a: a.set_momenta(np.full((8, 3), np.nan)), "momenta are not finite"),
        (lambda a: a.positions.__setitem__(3, 1e6), "cells apart, more than 32,767; .*wrap"),
        (lambda a: a.set_cell(0.05 * a.cell.array), "about .* neighbours, more than 100,000"),
        (lambda a: a.info.update(occupancy={"0": {"Ar": 0.5, "Kr": 0.5}}), "0.5 Ar and 0.5 Kr"),
    ],
)
def test_structures_that_cannot_be_treated_are_refused(change, message):
    atoms = argon(0)
    change(atoms)
    with pytest.raises(ValueError, match=rf"structure 1 \(Ar8\): .*{message}"):
        Relaxation([argon(1), atoms], lennard_jones())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NVE(dt=-1.0), "dt must be a positive"),
        (lambda: NVE(dt=np.inf), "dt must be a positive"),
        (lambda: NVTLangevin(0.0), "temperature must be a positive"),
        (lambda: NVTLangevin(np.nan), "temperature must be a positive"),
        (lambda: NPT(300.0, np.inf), "pressure must be a finite number, in GPa"),
        (lambda: relax(argon(0), lennard_jones(), fmax=np.inf), "fmax must be a positive"),
        (lambda: relax(argon(0), lennard_jones(), fmax="small"), "fmax must be a positive"),
        (lambda: relax(argon(0), lennard_jones(), skin=0.0), "skin must be a positive"),
        (lambda: LennardJones(epsilon=np.inf), "epsilon must be a positive"),
    ],
)
def test_numbers_without_sense_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_close_atoms_that_a_potential_can_tell_go_on():
    """Lennard-Jones rises at any distance."""
    pair = Atoms("Ar2", [[0, 0, 0], [0.3, 0, 0]])
    found = relax(pair, LennardJones(0.0104, 3.4), fmax=0.01)
    assert found.status == "converged" and found.energy < -0.009

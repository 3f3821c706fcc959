"""The driver on the run loop: blocks, logs, checkpoints, trajectories, precision."""

import subprocess
import sys
from pathlib import Path

import ase.io
import jax
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixBondLength

from ritz.callbacks import BestState, EarlyStopping
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.driver.callback import AbstractCallback, StopRun
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from ritz.relax import (
    NPT,
    LennardJones,
    NVTLangevin,
    Relaxation,
    StructureProgress,
    Trajectory,
    relax,
)
from ritz.testing import check_driver
from tests.relax.systems import argon, argons, fire, lennard_jones

MIXED = fire(0.05) + NVTLangevin(40.0, dt=4.0, max_steps=15) + fire(0.01)


def mixed_driver():
    """Refill, several stages, noise."""
    return Relaxation(argons(5), lennard_jones(), MIXED, slots=2, seed=5)


def history(log):
    data = log.data
    names = [n for n in data if n not in ("wallclock", "block", "structures")]
    found = {name: np.asarray(data[name]["value"]) for name in names if name != "energy"}
    return found | {n: np.asarray(data["structures"][n]["value"]) for n in data["structures"]}


class StopAt(AbstractCallback):
    def __init__(self, step):
        self.step = step

    def before_parameter_update(self, step, log_data, driver):
        if step == self.step:
            raise StopRun("here")

    def is_live(self, step):
        return False


@pytest.fixture(scope="module")
def uninterrupted():
    driver, log = mixed_driver(), RuntimeLog()
    driver.run(1000, out=log, show_progress=False)
    return driver, history(log)


def same(driver, log, expected):
    other, rows = expected
    np.testing.assert_array_equal(driver.state.energy, other.state.energy)
    for a, b in zip(driver.state.atoms, other.state.atoms, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    jax.tree.map(np.testing.assert_array_equal, history(log), rows)


@pytest.mark.medium
def test_conformance():
    check_driver(lambda: Relaxation(argons(2), lennard_jones(), fire(1e-9)))


def test_runs_say_why_they_end(uninterrupted):
    driver, rows = uninterrupted
    assert driver.stop_reason.name == "FINISHED"
    assert driver.stop_message.endswith("all structures have finished (5 converged)")
    assert rows["running"][-1] == 0 and rows["waiting"][0] == 3
    steps = driver.step_count
    driver.run(10, show_progress=False)
    assert driver.step_count == steps


@pytest.mark.bits
@pytest.mark.parametrize("way", ["one at a time", "in pieces", "live", "in place"])
def test_blocks_change_no_bit(uninterrupted, way):
    driver, log = mixed_driver(), RuntimeLog()
    if way == "one at a time":
        driver.run(1000, out=log, show_progress=False, max_block=1)
    elif way == "in place":
        driver.run(1000, out=log, show_progress=False, speculate=False)
    elif way == "in pieces":
        for n in (1, 5, 30, 1000):
            driver.run(n, out=log, show_progress=False)
    else:
        stop = StopAt(20)  # in the middle of a block, which is taken back
        driver.run(1000, out=log, callback=stop, show_progress=False)
        assert driver.step_count == 20
        driver.run(1000, out=log, show_progress=False)
    same(driver, log, uninterrupted)


@pytest.mark.medium
def test_live_steps_find_the_same_minima(uninterrupted):
    class Watching(AbstractCallback):
        def on_step_end(self, step, log_data, driver):
            assert driver.state.energy.shape == (5,)

    driver = mixed_driver()
    driver.run(1000, callback=Watching(), show_progress=False)
    np.testing.assert_array_equal(driver.state.steps, uninterrupted[0].state.steps)
    np.testing.assert_allclose(driver.state.energy, uninterrupted[0].state.energy, atol=1e-12)


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize("stop_at", [3, 40])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(uninterrupted, tmp_path, stop_at):
    def go(n, resume):
        driver, log = mixed_driver(), RuntimeLog()
        checkpoint = Checkpoint(tmp_path / "saved", every_steps=7)
        trajectory = Trajectory(tmp_path / "{place}.extxyz", every=4)
        driver.run(n, out=[log, trajectory], callback=checkpoint, show_progress=False,
                   resume=resume)  # fmt: skip
        return driver, log

    go(stop_at, False)
    driver, log = go(1000, True)

    same(driver, log, uninterrupted)
    whole = mixed_driver()
    whole.run(1000, out=Trajectory(tmp_path / "whole-{place}.extxyz", every=4), show_progress=False)
    for place in range(5):
        read = (tmp_path / f"{place}.extxyz").read_text()
        assert read == (tmp_path / f"whole-{place}.extxyz").read_text()


def test_another_run_is_refused(tmp_path):
    def go(n, resume=False, model=None, structures=None):
        driver = Relaxation(structures or argons(2), model or lennard_jones(), fire())
        saved = Checkpoint(tmp_path / "saved")
        driver.run(n, callback=saved, show_progress=False, resume=resume)

    go(3)
    with pytest.raises(CheckpointError, match=r"model\.params\.epsilon was 0\.0104, is 0\.02"):
        go(5, True, model=LennardJones(0.02, 3.4, cutoff=6.0, onset=5.0))
    with pytest.raises(CheckpointError, match="structures was 2 structures"):
        go(5, True, structures=[argon(0), argon(7)])


@pytest.mark.slow
def test_lists_that_have_grown_are_saved_too(tmp_path):
    """A crystal that is compressed gets more neighbours than its lists had room for."""

    def go(n, resume=False):
        stage = NPT(20.0, 2.0, dt=4.0, relaxation=50.0, compressibility=1.0)
        driver = Relaxation(argons(2, a=6.0, rattle=0.02), lennard_jones(), stage)
        saved = Checkpoint(tmp_path / f"saved{n}{resume}", every_steps=1000)
        where = tmp_path / "saved200False" if resume else False
        driver.run(n, callback=saved, show_progress=False, resume=where)
        return driver

    first = go(200)
    assert first.kernel.lists[0].width > Relaxation(
        argons(2, a=6.0, rattle=0.02), lennard_jones(), fire()
    ).kernel.lists[0].width  # fmt: skip
    resumed, whole = go(230, True), go(230)
    np.testing.assert_array_equal(resumed.state.energy, whole.state.energy)


def test_trajectories_hold_what_was_computed(tmp_path):
    driver, log = Relaxation(argons(3), lennard_jones(), fire()), RuntimeLog()
    driver.working_dir = tmp_path
    out = [log, Trajectory("all.traj", every=10), Trajectory("one-{place}.extxyz")]
    driver.run(200, out=out, show_progress=False)

    frames = ase.io.read(tmp_path / "all.traj", index=":")
    rows = history(log)
    for frame in frames:
        step, place = frame.info["step"], frame.info["place"]
        assert frame.get_potential_energy() == log["structures"]["energy"]["value"][step][place]
        assert np.linalg.norm(frame.get_forces(), axis=1).max() == pytest.approx(
            rows["fmax"][step][place], rel=1e-12
        )
        assert step % 10 == 0 or step == driver.state.steps[place]
    for place, atoms in enumerate(driver.state.atoms):
        own = ase.io.read(tmp_path / f"one-{place}.extxyz", index=":")
        assert [frame.info["step"] for frame in own] == list(range(driver.state.steps[place] + 1))
        np.testing.assert_allclose(own[-1].positions, atoms.positions, atol=1e-7)
        last = [f for f in frames if f.info["place"] == place][-1]
        np.testing.assert_array_equal(last.positions, atoms.positions)


def test_trajectories_that_were_cut_off_go_on(tmp_path):
    path = tmp_path / "way.extxyz"
    driver = Relaxation(argon(0), lennard_jones(), fire())
    driver.run(6, out=Trajectory(path), show_progress=False)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-11])[:-100])  # the last frame, and a part of the one before

    driver.run(3, out=Trajectory(path), show_progress=False)

    assert [f.info["step"] for f in ase.io.read(path, ":")] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    with pytest.raises(ValueError, match=r"ends in \.traj, \.extxyz, \.xyz"):
        Trajectory("way.pdb")
    for name in ("x{place}.traj", "x.traj"):
        with pytest.raises(RuntimeError, match="^Trajectory writes what a Relaxation does .* out="):
            Trajectory(name)(0, {})


def test_files_and_other_callbacks(tmp_path, capsys):
    driver = Relaxation(argons(3), lennard_jones(), fire())
    driver.working_dir = tmp_path
    stop = EarlyStopping(monitor="fmax", patience=500)
    callbacks = [StructureProgress(min_interval=0.0), BestState("fmax"), stop]
    driver.run(200, out=[JsonLog("run"), CSVLog("run")], callback=callbacks, show_progress=False)

    assert "3 converged, 0 running" in capsys.readouterr().err
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert {"running", "structures.energy.0", "structures.fmax.2"} <= set(lines[0].split(","))
    assert len(lines) == driver.step_count + 1


@pytest.mark.medium
def test_relax_in_one_call():
    alone = relax(argon(0), lennard_jones(), fmax=0.01)
    assert isinstance(alone.atoms, Atoms) and isinstance(alone.energy, float)
    assert alone.status == "converged" and alone.fmax <= 0.01
    assert alone.atoms.get_potential_energy() == alone.energy
    assert np.abs(alone.atoms.get_forces()).max() <= 0.01
    many = relax(iter(argons(2)), lennard_jones(), fmax=0.01)
    assert many.energy[0] == pytest.approx(alone.energy, abs=1e-12) and len(many.atoms) == 2
    cut = relax(argon(0), lennard_jones(), fmax=0.01, callback=StopAt(3))
    assert cut.status == "running"


def test_relax_refuses_arguments_that_it_gives_itself():
    def refused(message, **arguments):
        with pytest.raises(TypeError, match=message):
            relax(argon(0), lennard_jones(), **arguments)

    refused("^relax has no argument 'stages'; give one optimiser as optimizer=", stages=fire())
    refused("^relax has no argument 'stage'; it takes: atoms, model, fmax,", stage=fire())
    refused("'convergence_hook'; its criteria are those of fmax=", convergence_hook={})
    refused(r"^relax has no argument 'sed'; did you mean seed=\?", sed=1)


@pytest.mark.medium
def test_precision_is_that_of_the_driver_alone():
    """Also in the loop of `steps`, where code of others runs in between."""
    program = """
import jax, jax.numpy as jnp, sys
from ritz.relax import Relaxation, FIRE
assert "netket" not in sys.modules
from tests.relax.systems import argons, lennard_jones
assert not jax.config.jax_enable_x64
driver = Relaxation(argons(2), lennard_jones())
for info in driver.steps(2):
    assert jnp.ones(2).dtype == "float32"
    assert driver.parameters[0].positions.dtype == "float64"
driver = Relaxation(argons(2), lennard_jones(), dtype="float32")
driver.run(100, show_progress=False)
assert driver.parameters[0].positions.dtype == "float32" and set(driver.state.status) == {1}
assert jnp.ones(2).dtype == "float32"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Relaxation([], lennard_jones()), ValueError, "no structure"),
        (lambda: Relaxation([argon(0), 3], lennard_jones()), TypeError, "structure 1 must be"),
        (lambda: relax("a.cif", lennard_jones()), TypeError, r"ase\.io\.read\('a\.cif', ':'\)"),
        (lambda: relax(None, lennard_jones()), TypeError, "atoms must be an ase.Atoms or .*None"),
        (lambda: relax(argon(0), lennard_jones(), maxsteps=3), TypeError, "relax .*an max_steps"),
        (lambda: relax(argon(0), lennard_jones(), skn=3), TypeError, r"'skn'; did you mean skin="),
        (
            lambda: Relaxation(argon(0), lennard_jones(), convergence=3),
            TypeError, r"Relaxation has no argument .*; did you mean convergence_hook=\?",
        ),
        (lambda: Relaxation(argon(0), print), TypeError, r"ritz\.relax\.Potential\(function"),
        (lambda: Relaxation(Atoms(), lennard_jones()), ValueError, "it has no atoms"),
        (lambda: Relaxation(argon(0), LennardJones()), ValueError, "needs a cutoff"),
        (
            lambda: Relaxation(Atoms("Ar", [[np.nan, 0, 0]]), LennardJones()),
            ValueError, "not finite",
        ),
        (lambda: Relaxation(Atoms("Ar", pbc=True), lennard_jones()), ValueError, "length zero"),
        (
            lambda: Relaxation(Atoms("Ar2", [[0, 0, 0], [0, 0, 1]], constraint=FixBondLength(0, 1)),
                               LennardJones()),
            ValueError, "FixBondLengths cannot be held",
        ),
        (lambda: Relaxation(argon(0), lennard_jones(), dtype="half"), ValueError, "dtype must be"),
        (lambda: Relaxation(argon(0), lennard_jones(), neighbors="all"), ValueError, "neighbors"),
        (lambda: Relaxation(argon(0), lennard_jones(), slots=0), ValueError, "slots"),
        (lambda: relax(argon(0), lennard_jones(), optimizer="cg"), ValueError, "one of fire"),
        (lambda: relax(argon(0), lennard_jones(), fmax=-1.0), ValueError, "fmax"),
        (lambda: relax(argon(0), lennard_jones(), smax=1.0), ValueError, "give cell=True"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.medium
def test_vesin_finds_the_same_minima():
    device = relax(argons(2), lennard_jones(), fmax=0.01, neighbors="device")
    host = relax(argons(2), lennard_jones(), fmax=0.01, neighbors="host")
    np.testing.assert_allclose(host.energy, device.energy, atol=1e-12)
    np.testing.assert_array_equal(host.steps, device.steps)

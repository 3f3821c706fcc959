"""Integrators against what statistical mechanics says."""

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.constraints import FixAtoms
from ase.md import VelocityVerlet

from ritz.checkpoint import Checkpoint
from ritz.cli.main import main
from ritz.loggers import RuntimeLog
from ritz.relax import (
    NPT,
    NVE,
    NVTLangevin,
    Potential,
    Relaxation,
    StructureProgress,
    Trajectory,
)
from ritz.relax.relaxing import result
from ritz.stages import autocorrelation_time
from tests.relax.systems import ARGON, argon, argons, lennard_jones


def rows(stage, structures, n, model=None, **settings):
    driver = Relaxation(structures, model or lennard_jones(), stage, **settings)
    log = RuntimeLog()
    driver.run(n, out=log, show_progress=False)
    found = log.data["structures"]
    return {name: np.asarray(found[name]["value"]) for name in found}


def mean_and_error(series):
    """Of independent structures, each a column; the errors from each one's autocorrelation."""
    n, many = series.shape
    taus = [autocorrelation_time(series[:, i]) for i in range(many)]
    effective = sum(n / max(1.0, 2 * tau) for tau in taus)
    return series.mean(), series.std() / np.sqrt(effective)


def moving(seed, temperature=40.0):
    atoms = argon(seed, rattle=0.05)
    spread = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(np.random.default_rng(seed).normal(size=(8, 3)) * spread)
    return atoms


def test_nve_is_the_velocity_verlet_of_ase():
    atoms = moving(0)
    driver = Relaxation(atoms, lennard_jones(), NVE(dt=4.0, max_steps=50))
    driver.run(60, show_progress=False)
    assert (driver.state.status, driver.state.steps) == (1, 50)
    ours = driver.state.atoms[0]

    atoms.calc = AseLennardJones(**ARGON, rc=6.0, ro=5.0, smooth=True)
    VelocityVerlet(atoms, 4.0 * units.fs).run(50)

    np.testing.assert_allclose(ours.positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(ours.get_velocities(), atoms.get_velocities(), atol=1e-10)


def test_dynamics_is_done_and_never_converged(tmp_path, capsys):
    driver = Relaxation(moving(0), lennard_jones(), NVE(dt=4.0, max_steps=50))
    saving = Checkpoint("saved/checkpoints")
    log = RuntimeLog()
    driver.run(60, out=log, callback=[StructureProgress(), saving], show_progress=False)
    assert driver.stop_message.endswith("all structures have finished (1 done)")
    assert result(driver).status == ["done"]
    assert repr(result(driver)).startswith("RelaxResult(1 done; energy -0.")
    temperature = log.data["temperature"].values
    np.testing.assert_array_equal(temperature, log.data["structures"]["temperature"]["value"][:, 0])
    assert f"1 done, 0 running, step 51, {temperature[-1]:.0f} K" in capsys.readouterr().err
    assert main(["status", "saved"]) == 0
    said = capsys.readouterr().out
    assert "all structures have finished (1 done)" in said and "converged" not in said


def test_after_50_steps_structures_are_where_50_steps_lead(tmp_path):
    """State and trajectory, whether the run ends there or the structure does."""
    atoms = moving(0)
    driver = Relaxation(atoms, lennard_jones(), NVE(dt=4.0))
    driver.working_dir = tmp_path
    driver.run(50, out=Trajectory("way.extxyz", every=10), show_progress=False)
    ours = driver.state.atoms[0]

    atoms.calc = AseLennardJones(**ARGON, rc=6.0, ro=5.0, smooth=True)
    VelocityVerlet(atoms, 4.0 * units.fs).run(50)

    assert driver.state.steps[0] == driver.step_count == 50
    np.testing.assert_allclose(ours.positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(ours.get_velocities(), atoms.get_velocities(), atol=1e-10)
    np.testing.assert_allclose(ours.get_forces(), atoms.get_forces(), atol=1e-10)
    assert ours.get_potential_energy() == driver.state.energy[0]
    assert ours.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    frames = ase.io.read(tmp_path / "way.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 30, 40, 50]
    np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-7)
    # In pieces, looked at in between, it is the same.
    other = Relaxation(moving(0), lennard_jones(), NVE(dt=4.0))
    other.working_dir = tmp_path
    for n in (15, 20, 15):
        other.run(n, out=Trajectory("pieces.extxyz", every=10), show_progress=False)
        assert np.isfinite(other.state.energy[0])
    np.testing.assert_array_equal(other.state.atoms[0].positions, ours.positions)
    pieces = ase.io.read(tmp_path / "pieces.extxyz", ":")
    assert [frame.info["step"] for frame in pieces] == [0, 10, 20, 30, 40, 50]


@pytest.mark.medium
def test_energy_is_conserved_to_second_order():
    """The error of the energy falls by four when the time step is halved, and does not grow."""
    errors = []
    for dt in (8.0, 4.0):
        found = rows(NVE(dt=dt), [moving(seed) for seed in range(3)], int(8000 / dt))
        kinetic = 1.5 * units.kB * 8 * found["temperature"]
        total = (found["energy"] + kinetic) / 8
        errors.append(total.std(axis=0).mean())
        half = len(total) // 2
        drift = np.abs(total[half:].mean(axis=0) - total[:half].mean(axis=0))
        assert np.all(drift < 0.5 * total.std(axis=0))
    assert errors[1] < 1e-5
    assert 3.0 < errors[0] / errors[1] < 5.0


@pytest.mark.medium
def test_langevin_has_its_temperature_and_its_fluctuations():
    temperature, n_free = 60.0, 24
    found = rows(NVTLangevin(temperature, dt=5.0, friction=0.05), argons(16), 2500, seed=1)

    series = found["temperature"][200:]
    mean, error = mean_and_error(series)
    assert error < 0.5
    assert abs(mean - temperature) < 4 * error
    squares, error = mean_and_error((series - temperature) ** 2)
    assert abs(squares - 2 * temperature**2 / n_free) < 4 * error


@pytest.mark.slow
def test_a_harmonic_oscillator_has_the_right_spread():
    """BAOAB's positions are exact for a harmonic force, also at a long time step."""
    stiffness, temperature = 1.0, 300.0
    bowl = Potential(lambda k, s: 0.5 * k * (s.positions**2).sum(), stiffness)
    atoms = Atoms("Ar16", np.zeros((16, 3)))

    driver = Relaxation(
        [atoms] * 64, bowl, NVTLangevin(temperature, dt=40.0, friction=0.02, max_steps=300)
    )
    driver.run(400, show_progress=False)

    squares = np.concatenate([a.positions.ravel() ** 2 for a in driver.state.atoms])
    error = squares.std() / np.sqrt(squares.size)
    assert abs(squares.mean() - units.kB * temperature / stiffness) < 4 * error


@pytest.mark.medium
def test_an_ideal_gas_at_constant_pressure():
    """exp(-P V/kT) V^N: the mean of the volume is (N + 1) kT/P, its relative variance 1/(N + 1)."""
    pressure, temperature, n = 0.001, 300.0, 10
    expected = (n + 1) * units.kB * temperature / (pressure * units.GPa)
    side = expected ** (1 / 3)
    random = np.random.default_rng(0)
    gas = [Atoms("Ar10", random.random((n, 3)) * side, cell=[side] * 3, pbc=True)] * 64
    nothing = Potential(lambda p, s: 0.0 * s.positions.sum())
    barostat = NPT(temperature, pressure, dt=10.0, relaxation=500.0, compressibility=1 / pressure)

    found = rows(barostat, gas, 4000, nothing)

    volume = found["volume"][500:] / expected
    mean, error = mean_and_error(volume)
    assert error < 0.015
    assert abs(mean - 1) < 4 * error
    squares, error = mean_and_error((volume - 1) ** 2)
    assert abs(squares - 1 / (n + 1)) < 4 * error


@pytest.mark.slow
def test_a_solid_at_constant_pressure():
    solid = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
    found = rows(
        NPT(40.0, 0.05, dt=4.0, friction=0.02, relaxation=500.0, compressibility=0.5),
        [solid] * 16, 6000,
    )  # fmt: skip
    mean, error = mean_and_error(found["pressure"][1000:])  # in GPa
    assert error < 0.0025
    assert abs(mean - 0.05) < 4 * error


def test_fixed_atoms_stay_and_have_no_temperature():
    atoms = argon(0)
    atoms.set_constraint(FixAtoms([0, 3]))
    start = atoms.positions.copy()

    driver = Relaxation(atoms, lennard_jones(), NVTLangevin(50.0, dt=4.0, max_steps=40))
    driver.run(50, show_progress=False)

    after = driver.state.atoms[0]
    np.testing.assert_array_equal(after.positions[[0, 3]], start[[0, 3]])
    assert np.all(after.get_velocities()[[0, 3]] == 0)
    assert np.all(np.abs(after.positions - start)[[1, 2, 4, 5, 6, 7]].max(axis=1) > 0)


@pytest.mark.slow
def test_nve_can_begin_with_thermal_velocities():
    found = rows(NVE(dt=0.01, temperature=100.0), argons(64), 3)
    assert abs(found["temperature"][1:].mean() - 100.0) < 4 * 100 * np.sqrt(2 / (24 * 64))


def test_units_are_those_of_ase():
    from ase import units

    assert (units.kB, units.fs, units.GPa) == pytest.approx(
        (units.kB, units.fs, units.GPa), rel=1e-14
    )

"""Relaxations and scans: nuclei that move in a run of variational Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.units import Bohr, Hartree
from scipy.optimize import minimize_scalar

from ritz.callbacks import StopCondition
from ritz.checkpoint import Checkpoint
from ritz.driver.callback import AbstractCallback
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, FermiNet, Forces, Molecule, Relaxation, Scan
from ritz.molecule.geometry.rigid import without_rigid_motion
from ritz.molecule.moving import mean_and_error
from ritz.relax import LBFGS, ConvergenceHook, Criterion, FrechetCell, NVTLangevin
from ritz.samplers import Metropolis

FAST = {"sampler": Metropolis(5, width=0.8), "n_walkers": 512, "dtype": "float64"}


def orbital(params, electrons, nuclei=None):
    """The sum of 1s orbitals of two protons."""
    nuclei = jnp.zeros((2, 3)) if nuclei is None else nuclei
    distances = jnp.linalg.norm(electrons[0] - nuclei, axis=-1)
    return jnp.ones(()), jax.nn.logsumexp(-params["zeta"] * distances)


def energy(distance):
    """Its energy with zeta = 1 (Slater, Quantum Theory of Molecules and Solids, vol. 1)."""
    overlap = np.exp(-distance) * (1 + distance + distance**2 / 3)
    own = np.exp(-2 * distance) * (1 + 1 / distance)
    other = overlap / distance - np.exp(-distance) * (1 + distance)
    return -0.5 + (own + other) / (1 + overlap)


def slope(distance):
    return (energy(distance + 1e-4) - energy(distance - 1e-4)) / 2e-4


def protons(distance):
    return Molecule([("H", (0, 0, 0)), ("H", (0, 0, distance))], "bohr", charge=1, spin=1)


def relaxation(distance=1.8, rate=0.0, **settings):
    stage = LBFGS(convergence_hook=ConvergenceHook.from_fmax(0.25), max_steps=20)
    given = {"stage": stage, "n_first": 0, "n_updates": 0, "n_measured": 100}
    params = {"zeta": jnp.ones(())}
    made = Relaxation(
        protons(distance), orbital, rate, params=params, **{**FAST, **given, **settings}
    )
    made.burn_in(100)
    return made


def bond(driver):
    return float(np.linalg.norm(np.subtract(*driver.molecule.positions)))


@pytest.mark.medium
def test_forces_and_energies_are_those_of_where_the_nuclei_have_moved():
    driver = relaxation()
    log = RuntimeLog()
    driver.run(2000, out=log, show_progress=False)
    assert driver.status == "finished"
    assert driver.fmax <= 0.25
    assert driver.molecule.symbols == ("H", "H")
    best = minimize_scalar(energy, bounds=(1.5, 4), method="bounded")
    measured, distance = driver.measured, bond(driver)
    # The nuclei rest where they were measured.
    assert abs(float(measured.energy) - energy(distance)) < 4 * measured.energy_error
    assert abs(measured.forces[1, 2] + slope(distance)) < 4 * measured.force_errors[1, 2]
    curvature = (slope(best.x + 0.01) - slope(best.x - 0.01)) / 0.02
    allowed = (0.25 / Hartree * Bohr + 4 * measured.force_errors[1, 2]) / curvature
    assert abs(distance - best.x) < allowed
    geometry, fmax = (np.asarray(log.data[name]["value"]) for name in ("geometry", "fmax"))
    assert np.all(np.isinf(fmax[:99]))
    assert len(geometry) == 100 * (geometry[-1] + 1)
    assert np.sum(np.asarray(log.data["measures"]["value"])) == len(geometry)
    assert fmax[99] == pytest.approx(abs(slope(1.8)) * Hartree / Bohr, abs=0.5)


@pytest.mark.medium
def test_a_relaxation_ends_by_patience_and_by_its_largest_number_of_moves():
    hook = ConvergenceHook(Criterion("fmax", 1e9), patience=2)
    driver = relaxation(stage=LBFGS(convergence_hook=hook), n_measured=10)
    driver.run(100, out=(), show_progress=False)
    assert driver.step_count == 3 * 10
    driver = relaxation(stage=LBFGS(max_steps=2), n_measured=10)
    driver.run(100, out=(), show_progress=False)
    assert driver.step_count == 3 * 10
    assert driver.status == "unfinished"
    before = driver.step_count
    driver.run(10, out=(), show_progress=False)
    assert driver.step_count == before


@pytest.mark.medium
def test_parameters_train_between_measurements_and_rest_in_them():
    driver = relaxation(n_first=3, n_updates=2, n_measured=10, stage=LBFGS(max_steps=1), rate=0.01)
    zeta = [float(driver.parameters["zeta"])]
    for _ in range(25):
        driver.run(1, out=(), show_progress=False)
        zeta.append(float(driver.parameters["zeta"]))
    assert [bool(x) for x in np.diff(zeta)] == [
        *(3 * [True] + 10 * [False]),
        *(2 * [True] + 10 * [False]),
    ]


class Far(StopCondition):
    """Stops at a geometry, to show that any callback can."""

    def should_stop(self, step, log_data, driver):
        return "far enough" if log_data["geometry"] == 1 else None


@pytest.mark.medium
def test_callbacks_see_the_geometry():
    driver = relaxation(n_measured=10)
    driver.run(100, out=(), callback=Far(), show_progress=False)
    assert driver.step_count == 10
    assert driver.measured.energy < 0


class RejectTwice(AbstractCallback):
    """Rejects the last step of the first measurement twice."""

    times = 0

    def on_compute_update_end(self, step, log_data, driver):
        self.times += step == 9
        return step == 9 and self.times <= 2


@pytest.mark.medium
def test_what_is_rejected_counts_for_no_criterion():
    hook = ConvergenceHook(Criterion("fmax", 1e9), patience=2)
    driver = relaxation(stage=LBFGS(convergence_hook=hook), n_measured=10)
    rejects = RejectTwice()
    driver.run(100, out=(), callback=rejects, show_progress=False)
    assert rejects.times == 3
    assert driver.step_count == 3 * 10


def test_errors_count_correlations():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(400, 1000))
    chain = [noise[0] / np.sqrt(1 - 0.7**2)]
    for step in noise[1:]:
        chain.append(0.7 * chain[-1] + step)
    means, errors = mean_and_error(jnp.asarray(np.array(chain)))
    ratio = float(np.sqrt(np.mean(np.asarray(errors) ** 2)) / np.std(means))
    assert 0.9 < ratio < 1.3  # with independent steps it would be 0.42


@pytest.mark.medium
def test_other_criteria_are_refused_on_going_on(tmp_path):
    def going_on(threshold, length):
        stage = LBFGS(convergence_hook=ConvergenceHook.from_fmax(threshold))
        driver = relaxation(stage=stage, n_measured=10)
        saving = Checkpoint(tmp_path, every_steps=1, extend="longer")
        driver.run(length, callback=saving, resume=True, show_progress=False)

    going_on(1e-9, 3)
    with pytest.raises(ValueError, match="convergence"):
        going_on(0.5, 6)


@pytest.mark.medium
@pytest.mark.bits
def test_blocks_and_restarts_change_nothing_of_a_relaxation(tmp_path):
    def found(driver):
        return jax.device_get((driver.carry.nuclei, driver.carry.params, driver.state.electrons))

    def ran(folder, *lengths):
        for length in lengths:
            driver = relaxation(n_updates=3, n_measured=10, rate=0.01)
            saving = Checkpoint(folder, every_steps=4, extend="longer")
            driver.run(length, callback=saving, resume=True, show_progress=False)
        return found(driver)

    live = relaxation(n_updates=3, n_measured=10, rate=0.01)
    for _ in live.steps(30):
        pass
    whole = ran(tmp_path / "whole", 30)
    assert whole[0].geometry == 2
    for other in (ran(tmp_path / "parts", 14, 30), found(live)):
        assert jax.tree.all(jax.tree.map(np.array_equal, whole, other))


@pytest.mark.medium
def test_scan_gives_the_energy_of_each_geometry():
    distances = [1.6, 2.0, 2.5, 4.0, 8.0]
    molecules = [protons(x) for x in distances]
    driver = Scan(
        molecules,
        orbital,
        0.0,
        params={"zeta": jnp.ones(())},
        n_first=5,
        n_updates=5,
        n_measured=200,
        forces=Forces(molecules[0]),
        **FAST,
    )
    assert np.all(np.isnan(driver.energies))
    driver.burn_in(100)
    driver.run(driver.n_steps, out=(), show_progress=False)
    assert driver.status == "finished"
    assert driver.step_count == driver.n_steps
    apart = (driver.energies - [energy(x) for x in distances]) / driver.energy_errors
    assert np.all(np.abs(apart) < 5)
    assert np.max(driver.energy_errors) < 5e-3
    forces = driver.forces[:, 1, 2] + [slope(x) for x in distances]
    assert np.all(np.abs(forces / driver.force_errors[:, 1, 2]) < 5)
    assert driver.estimate(lambda p, x: jnp.linalg.norm(x[0])).mean > 2  # about half of 8


@pytest.mark.medium
def test_local_energies_with_moved_nuclei_are_those_of_the_molecule_there():
    first = Molecule([("Li", (0, 0, 0)), ("H", (0, 0, 3.0))], "bohr", ecp={"Li": "ccecp"})
    there = first.at(np.array([[0.1, 0, 0], [0, 0.3, 2.5]]))
    electrons = jax.random.normal(jax.random.key(3), (4, 2, 3))
    drivers = []
    for molecule in (first, there):
        network = FermiNet(molecule, hidden=((4, 2),), n_determinants=1)
        drivers.append(VMC(molecule, network, n_walkers=4, electrons=electrons))
    params = drivers[0].parameters

    def energies(driver, nuclei):
        sampling = driver.kernel.sampling
        log_psi = sampling.log_psi if nuclei is None else sampling.log_psi.with_nuclei(nuclei)
        values = {}
        for name, estimator in driver.estimators.items():
            if name != "energy":
                values[name] = estimator.evaluate(log_psi, params, electrons, values)
        return values

    moved = energies(drivers[0], jnp.asarray(there.coordinates))
    right = energies(drivers[1], None)
    still = energies(drivers[0], None)
    for name in right:
        np.testing.assert_allclose(moved[name], right[name], rtol=2e-4, atol=1e-5)
        assert np.max(np.abs(np.asarray(moved[name] - still[name]))) > 1e-3


@pytest.mark.medium
def test_rigid_motions_are_taken_away():
    places = np.array([[0.0, 0, 0], [0, 0, 1.8], [1.7, 0, -0.6], [0.3, 1.0, 0.2]])
    forces = np.random.default_rng(1).normal(size=(5, 4, 3))
    left = np.asarray(without_rigid_motion(jnp.asarray(forces), jnp.asarray(places)))
    np.testing.assert_allclose(left.sum(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cross(places, left).sum(axis=1), 0, atol=1e-5)
    # What is taken away is a rigid motion: it does not change distances.
    away, apart = forces - left, places[:, None] - places
    change = np.sum((away[:, :, None] - away[:, None]) * apart, axis=-1)
    np.testing.assert_allclose(change, 0, atol=1e-5)
    line = jnp.asarray([[0.0, 0, 0], [0, 0, 2]])
    along = np.asarray(without_rigid_motion(jnp.asarray(forces[0, :2]), line))
    stretch = (forces[0, 1, 2] - forces[0, 0, 2]) / 2
    np.testing.assert_allclose(along, [[0, 0, -stretch], [0, 0, stretch]], atol=1e-6)


def without_nuclei(params, electrons):
    return jnp.ones(()), -params["zeta"] * jnp.linalg.norm(electrons[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": NVTLangevin(0.5, 300.0)}, "stage must be an optimiser"),
        ({"stage": LBFGS(cell=FrechetCell())}, "no cell"),
        ({"stage": LBFGS(convergence_hook=ConvergenceHook([Criterion("stress", 1.0)]))}, "stress"),
        ({"molecule": Molecule("H")}, "single atom"),
        ({"wavefunction": without_nuclei}, "no argument for their positions"),
        ({"n_measured": 9}, "n_measured"),
        ({"forces": "space_warp"}, "forces takes an estimator"),
        ({"forces": Forces(Molecule("LiH"))}, "symbols=.'Li', 'H'."),
        ({"fmax": 0.1}, "from_fmax"),
        ({"n_measure": 100}, "n_measured"),
        ({"n_states": 2}, "in one state"),
        ({"estimators": {"fmax": Forces(protons(2.0))}}, "fmax"),
    ],
)
def test_wrong_arguments_of_relaxations_are_told(change, message):
    given = {"molecule": protons(2.0), "wavefunction": orbital, **FAST, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        Relaxation(params={"zeta": jnp.ones(())}, **given)


@pytest.mark.parametrize(
    ("molecules", "message"),
    [
        ([], "empty"),
        (protons(2.0), "list of geometries"),
        ([protons(2.0), Molecule("H2")], "geometry 1 has charge=0, but geometry 0 has 1"),
        ([protons(2.0), "H2"], "must be a ritz.molecule.Molecule"),
    ],
)
def test_wrong_lists_of_geometries_are_told(molecules, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Scan(molecules, orbital, params={"zeta": jnp.ones(())}, **FAST)


def test_a_molecule_at_other_positions():
    molecule = Molecule("LiH")
    moved = molecule.at(1.1 * molecule.coordinates)
    assert moved != molecule
    assert moved.energy is None
    assert (moved.symbols, moved.charge, moved.spin) == (
        molecule.symbols,
        molecule.charge,
        molecule.spin,
    )
    assert molecule.at(molecule.coordinates) == molecule
    assert molecule.at(molecule.coordinates).energy == molecule.energy
    with pytest.raises(ValueError, match="on top of each other"):
        molecule.at(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="2 times three finite numbers"):
        molecule.at(np.zeros((3, 3)))

"""Calibration of the spread of a committee."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from ritz.mlip import Calibration, CommitteeConfig, CommitteePotential, ErrorScale
from ritz.relax import SpreadLimit, relax
from tests.mlip.systems import config, potential, tio2


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_factor_of_errors_with_a_known_one_is_found(factor):
    random = np.random.default_rng(1)
    spread = random.lognormal(size=20_000)
    scale = ErrorScale.of(spread, factor * spread * random.normal(size=len(spread)))
    assert scale.factor == pytest.approx(factor, rel=0.1)  # dominated by the largest of spreads
    np.testing.assert_allclose(scale.observed, scale.expected, rtol=0.12)
    assert list(scale.expected) == sorted(scale.expected)
    assert scale.counts == (2000,) * 10


def test_sites_whose_force_vanishes_by_symmetry_do_not_matter():
    random = np.random.default_rng(2)
    spread = np.concatenate([random.uniform(0.1, 0.3, 500), np.full(100, 1e-12)])
    errors = np.concatenate([2 * spread[:500], np.full(100, 1e-7)])
    assert ErrorScale.of(spread, errors).factor == pytest.approx(2.0)


def test_unknown_labels_are_left_out_and_few_values_have_few_bins():
    spread, errors = np.array([1.0, 2.0, 3.0]), np.array([2.0, np.nan, 6.0])
    scale = ErrorScale.of(spread, errors)
    assert scale.factor == pytest.approx(2.0) and scale.counts == (2,)


@pytest.mark.parametrize(
    "spread, errors, told",
    [([1.0], [np.nan], "no labels"), ([0.0, 0.0], [1.0, 1.0], "members .* agree entirely")],
)
def test_nothing_to_compare_is_an_error(spread, errors, told):
    with pytest.raises(ValueError, match=told):
        ErrorScale.of(np.array(spread), np.array(errors))


@pytest.mark.medium
def test_calibration_is_kept_with_the_committee_and_used_by_limits(tmp_path):
    committee = CommitteePotential.of(potential())
    members = CommitteeConfig(num_members=2, output_dir=tmp_path / "c")
    committee.train(tio2(12), config(iterations=2, force_weight=0.0), members)
    bare = committee.frozen().error_factors
    assert [float(factor) for factor in bare] == [1.0, 1.0]
    structures = tio2()[12:18]
    found = committee.calibrate(structures, tmp_path / "c")
    predictions = committee.predict(structures, eval_forces=True)
    both = zip(predictions, structures, strict=True)
    errors = [(r.energy_mean - s.energy) / len(s) for r, s in both]
    spread = [r.energy_std / r.n_atoms for r in predictions]
    rms = np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(spread)))
    assert found.energy.factor == pytest.approx(rms)
    assert found.n_structures == 6 and "6 structures" in str(found)
    assert list(found.to_dataframe()) == ["quantity", "expected", "observed", "count"]

    again = CommitteePotential.from_directory(tmp_path / "c")
    assert again.calibration == found
    limit = SpreadLimit(energy=1e9, force=1e9)
    relax(structures[0].to_ase(), again, max_steps=0, callback=limit)
    forces = predictions[0].forces_std
    expected = found.force.factor * np.linalg.norm(forces, axis=1).max()
    np.testing.assert_allclose(limit.highest[1], expected, rtol=1e-4)
    np.testing.assert_allclose(limit.highest[0], rms * spread[0], rtol=1e-4)

    # Training goes on from all members, by their folder, and drops the calibration.
    on = CommitteePotential.of(potential())
    before = [member.parameters for member in again]
    settings = config(iterations=0, force_weight=0.0)
    on.train(
        tio2(12), dataclasses.replace(settings, testpercent=0), members_of(tmp_path / "d"),
        resume_from=tmp_path / "c",
    )  # fmt: skip
    for old, new in zip(before, on, strict=True):
        jax.tree.map(np.testing.assert_array_equal, old, new.parameters)
    assert on.calibration is None
    assert CommitteePotential.from_directory(tmp_path / "d").calibration is None


def members_of(folder):
    return CommitteeConfig(num_members=2, output_dir=folder)


def test_calibration_without_forces_survives_json():
    scale = ErrorScale(2.0, (1.0, 2.0), (1.5, 1.9), (5, 6))
    calibration = Calibration(scale, None, 11)
    saved = json.loads(json.dumps(dataclasses.asdict(calibration)))
    assert Calibration.from_json(saved) == calibration
    assert calibration.error_factors == (2.0, 1.0)


def test_calibration_needs_a_committee_in_the_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no committee"):
        Calibration(ErrorScale(1.0, (), (), ()), None, 0).write(tmp_path)

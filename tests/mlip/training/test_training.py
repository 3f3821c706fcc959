import ase.io
import jax
import numpy as np
import pytest

from ritz.callbacks import EarlyStopping, ParameterEMA
from ritz.checkpoint import CheckpointError
from ritz.loggers import RuntimeLog
from ritz.mlip import (
    Adam,
    ANNPotential,
    CachedStructureDataset,
    EpochCallback,
    Structure,
    Subset,
    load_potential,
)
from ritz.mlip.batching import plan
from ritz.mlip.data.datasets import split_indices
from ritz.mlip.descriptors import chunk
from ritz.testing import check_driver
from tests.mlip.systems import (
    ARCH,
    ATOMS,
    config,
    dataset,
    descriptor,
    leaves,
    potential,
    reference,
    tio2,
    trained,
)


@pytest.fixture(scope="module")
def usual():
    return trained()


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(leaves(first), leaves(second), strict=True))


def test_errors_are_those_of_predictions(usual):
    made, out = usual
    assert len(out.errors) == 4
    for split, places in zip(("train", "test"), split_indices(24, 25, 0), strict=True):
        part = Subset(dataset(), places)
        found = made.predict_dataset(part, eval_forces=True)
        wanted = np.array([s.energy for s in part])
        error = (found.total_energy - wanted) / 24
        assert out.stats[f"final_RMSE_{split}"] == pytest.approx(np.sqrt(np.mean(error**2)))
        assert out.stats[f"final_MAE_{split}"] == pytest.approx(np.mean(np.abs(error)))
        apart = np.array(found.forces) - np.array([s.forces for s in part])
        rmse = np.sqrt(np.mean(apart**2))
        assert out.stats[f"final_RMSE_force_{split}"] == pytest.approx(rmse)


def test_forces_and_stress_are_derivatives(usual):
    made, _ = usual
    structure = tio2(1)[0]
    found = made.predict(structure, eval_forces=True)

    def energy(positions, cell=structure.cell):
        return made.predict(Structure(positions, structure.species, cell=cell)).total_energy[0]

    step = 1e-4
    for atom, axis in ((0, 0), (9, 2)):
        moved = np.zeros((24, 3))
        moved[atom, axis] = step
        slope = (energy(structure.positions + moved) - energy(structure.positions - moved)) / 2
        assert found.forces[0][atom, axis] == pytest.approx(-slope / step, abs=1e-6)
    strain = np.zeros((3, 3))
    strain[0, 1] = step
    sides = [
        energy(structure.positions @ (np.eye(3) + s), structure.cell @ (np.eye(3) + s))
        for s in (strain, -strain)
    ]
    slope = (sides[0] - sides[1]) / (2 * step) / structure.volume
    assert found.stress[0][0, 1] == pytest.approx(slope, abs=1e-7)


@pytest.mark.bits
def test_seeds_decide_and_blocks_do_not(usual):
    made, out = usual
    again, _ = trained()
    assert same(made, again)
    driver = potential().driver(dataset=dataset(), config=config())
    driver.run(4 * driver.n_batches, max_block=1, show_progress=False)
    best = out.errors["validation_loss"].idxmin()
    assert best == 3  # or the last would not be what was kept
    check = potential().driver(dataset=dataset(), config=config())
    check.run(4 * check.n_batches, show_progress=False)
    for a, b in zip(*(jax.tree.leaves(d.parameters) for d in (driver, check)), strict=True):
        np.testing.assert_array_equal(a, b)
    other, _ = trained(seed=1, split_seed=0)
    assert not same(made, other)


@pytest.mark.medium
def test_training_that_only_worsens_is_told(caplog):
    worse = config(iterations=2, method=Adam(mu=30.0, batchsize=24))
    out = potential().train(dataset=dataset(), config=worse)
    assert out.errors["validation_loss"].idxmin() == 0
    assert out.stats["final_RMSE_test"] == pytest.approx(out.errors["RMSE_test"][0])
    assert "The result has the parameters with which training began: " in caplog.text
    caplog.clear()
    trained(iterations=1)
    assert "with which training began" not in caplog.text


@pytest.mark.slow
def test_conformance():
    settings = config(iterations=2)
    check_driver(lambda: potential().driver(dataset=dataset(), config=settings), steps=4)


@pytest.mark.bits
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(usual):
    made, out = usual
    settings = {"checkpoint_dir": "ck", "checkpoint_interval": 1, "save_best": True}
    made_first, first = trained(**settings, iterations=2)
    assert len(first.errors) == 2
    assert same(load_potential("ck/best_model.npz"), made_first)
    with pytest.raises(CheckpointError, match="give resume_from='ck' to go on with it"):
        trained(**settings, iterations=2)
    resumed, second = trained(**settings, iterations=2, resume_from="ck")
    assert same(made, resumed)
    names = [name for name in out.errors if name != "seconds"]
    np.testing.assert_array_equal(second.errors[names], out.errors[names])


def test_the_rows_of_epochs(usual):
    log = RuntimeLog()

    class Epochs(EpochCallback):
        def __init__(self):
            self.seen = []

        def on_epoch_start(self, epoch, driver):
            self.seen.append(("start", epoch))

        def on_epoch_end(self, epoch, log_data, driver):
            self.seen.append(("end", epoch, log_data["RMSE_test"]))

    epochs = Epochs()
    _, out = trained(out=log, callback=[epochs, ParameterEMA()])
    assert [event[:2] for event in epochs.seen] == [
        (name, epoch) for epoch in range(4) for name in ("start", "end")
    ]
    assert len(log.data["loss"].values) == 12
    iters = log.data["RMSE_test"].iters
    np.testing.assert_array_equal(iters, [2, 5, 8, 11])
    np.testing.assert_array_equal(log.data["RMSE_test"].values, out.errors["RMSE_test"])
    np.testing.assert_array_equal(usual[1].errors["RMSE_test"], out.errors["RMSE_test"])


@pytest.mark.slow
def test_early_stopping_counts_epochs():
    _, out = trained(
        iterations=30, method=Adam(mu=1e-9, batchsize=6), save_best=False,
        callback=EarlyStopping("RMSE_test", patience=2, min_delta=1.0),
    )  # fmt: skip
    assert len(out.errors) == 4 and out.stop_message.endswith(" at epoch 0")
    assert "RMSE_test has not improved for 3 epochs; the best was " in out.stop_message


@pytest.mark.slow
def test_the_best_parameters_are_restored_and_the_scheduler_acts():
    _, out = trained(
        iterations=8, method=Adam(mu=0.3, batchsize=6), use_scheduler=True,
        scheduler_patience=0, scheduler_factor=0.1, scheduler_min_lr=0.01,
    )  # fmt: skip
    assert out.errors["learning_rate"].iloc[-1] == pytest.approx(0.01)
    history = out.errors["validation_loss"]
    kept = 0.9 * out.stats["final_RMSE_test"] + 0.1 * out.stats["final_RMSE_force_test"]
    assert kept == pytest.approx(history.min())
    assert history.min() < history.iloc[-1] or history.idxmin() == 7
    with pytest.raises(ValueError, match="there is none; set testpercent"):
        trained(use_scheduler=True, testpercent=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [pytest.param("energy_weighted", marks=pytest.mark.slow), "error_weighted"]
)
def test_weighted_sampling(policy):
    driver = potential().driver(dataset=dataset(), config=config(sampling_policy=policy))
    driver.run(2 * driver.n_batches, show_progress=False)
    drawn = np.concatenate([np.asarray(group).ravel() for group in driver.carry.plan])
    drawn = drawn[drawn >= 0]
    assert len(drawn) == 18 and len(set(drawn)) < 18  # with replacement
    scores = np.asarray(driver.carry.scores.latest)
    assert np.all(scores > 0) and (np.any(scores != 1) if policy == "error_weighted" else True)


@pytest.mark.slow
def test_a_fraction_of_the_forces():
    settings = config(
        force_fraction=0.3, force_resample_num_epochs=1, force_scale_unbiased=True, iterations=3
    )
    driver = potential().driver(dataset=dataset(), config=settings)
    subsets = []
    for _ in range(3):
        subsets.append(np.flatnonzero(driver.carry.supervised))
        forced, others = (np.asarray(group) for group in driver.carry.plan)
        assert sorted(forced[forced >= 0]) == list(subsets[-1])
        assert len(others[others >= 0]) == 13
        driver.run(driver.n_batches, show_progress=False)
    assert all(len(subset) == 5 for subset in subsets)
    assert not all(np.array_equal(subsets[0], subset) for subset in subsets[1:])


@pytest.mark.slow
def test_capacity_grows_where_a_batch_needs_more(monkeypatch):
    usual = potential().driver(dataset=dataset(), config=config(sampling_policy="error_weighted"))
    monkeypatch.setattr(plan, "_MARGIN", 0.7)
    driver = potential().driver(dataset=dataset(), config=config(sampling_policy="error_weighted"))
    assert bool(driver.carry.overflow) and not bool(usual.carry.overflow)
    monkeypatch.setattr(plan, "_MARGIN", 1.1)
    driver.run(4 * driver.n_batches, show_progress=False)
    drawn = np.asarray(driver.carry.plan[0])
    assert np.sum(drawn >= 0) == 18 and not bool(driver.carry.overflow)
    assert driver.kernel.settings.capacity[0].slots > 7


@pytest.mark.slow
def test_a_force_loss_without_bias():
    losses = []
    for unbiased in (False, True):
        settings = config(
            force_weight=1.0, force_fraction=0.3, force_sampling="fixed",
            force_scale_unbiased=unbiased,
        )  # fmt: skip
        driver = potential().driver(dataset=dataset(), config=settings)
        forced, others = (np.sum(np.asarray(group)[0] >= 0) for group in driver.carry.plan)
        driver.run(1, show_progress=False)
        losses.append(driver.loss)
    assert losses[1] == pytest.approx(losses[0] / np.sqrt(forced / (forced + others)))


@pytest.mark.slow
def test_the_loss_does_not_depend_on_how_structures_are_grouped():
    """With all forces or with a fraction, validation covers all of them."""
    a = potential().driver(dataset=dataset(), config=config(save_best=False))
    b = potential().driver(dataset=dataset(), config=config(force_fraction=0.5))
    found, other = a.errors(), b.errors()
    assert {k: float(v) for k, v in found.items()} == pytest.approx(
        {k: float(v) for k, v in other.items()}
    )


@pytest.mark.slow
def test_energies_alone_in_single_precision():
    made, out = trained(force_weight=0.0, precision="float32", iterations=20, testpercent=0)
    assert {leaf.dtype.name for leaf in leaves(made)} == {"float32"}
    assert out.errors["RMSE_train"].iloc[-1] < out.errors["RMSE_train"].iloc[0]
    assert "RMSE_test" not in out.errors and not out.has_forces


@pytest.mark.slow
def test_weights_of_the_loss_change(usual):
    log = RuntimeLog()
    weights = {"force_weight": 0.5, "final_force_weight": 0.1, "weight_schedule": "step"}
    _, out = trained(**weights, out=log, iterations=4)
    last = out.errors.iloc[-1]
    expected = 0.9 * last["RMSE_test"] + 0.1 * last["RMSE_force_test"]
    assert last["validation_loss"] == pytest.approx(expected)
    constant = trained(force_weight=0.5, iterations=3)[1]
    np.testing.assert_allclose(out.errors["loss"][:3], constant.errors["loss"], rtol=1e-12)
    # In the last quarter energies count nine times as much as forces do.
    assert out.errors["loss"][3] < 0.5 * constant.errors["loss"][2]


def test_known_features_are_taken(monkeypatch):
    cached = CachedStructureDataset(tio2(), descriptor(), ATOMS)
    settings = config(force_weight=0.0)
    plain = potential().driver(dataset=dataset(), config=settings)
    monkeypatch.setattr(chunk, "pair_table", None)
    driver = potential().driver(dataset=cached, config=settings)
    jax.tree.map(np.testing.assert_array_equal, driver.kernel.split, plain.kernel.split)


@pytest.mark.slow
def test_what_is_asked_for_is_written(usual):
    made, out = trained(save_energies=True, save_forces=True, iterations=1)
    rows = ase.io.read("forces_test.extxyz", ":")
    assert len(rows) == 6 and rows[0].arrays["reference_forces"].shape == (24, 3)
    found = made.predict(Structure(rows[2].positions, rows[2].get_chemical_symbols(),
                                   cell=rows[2].cell.array), eval_forces=True)  # fmt: skip
    np.testing.assert_allclose(rows[2].get_forces(), found.forces[0], atol=1e-6)
    assert len(out.energies["train"]) == 18
    out.plot_training_summary("errors.png")
    assert "force RMSE" in str(out)


def test_files(usual, tmp_path):
    made, _ = usual
    with pytest.raises(RuntimeError, match="train it, or load one"):
        potential().predict(tio2(1))
    made.save(tmp_path / "inner" / "model.npz")
    again = ANNPotential.load(tmp_path / "inner" / "model.npz")
    assert same(made, again) and again.arch == {k: list(v) for k, v in ARCH.items()}
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no potential that Ritz has written"):
        ANNPotential.load(tmp_path / "bad.npz")


def test_files_of_aenet(usual, tmp_path):
    from tests.mlip.systems import DATA

    files = [DATA / f"reference.{symbol}.nn.ascii" for symbol in ("Ti", "O")]
    read = ANNPotential.from_aenet_ascii(files)
    found = read.predict(tio2(), eval_forces=True)
    entries = reference()["structures"]
    energies = [entry["predicted_total_energy_eV"] for entry in entries]
    np.testing.assert_allclose(found.total_energy, energies, rtol=0, atol=1e-9)
    for forces, entry in zip(found.forces, entries, strict=True):
        np.testing.assert_allclose(forces, entry["predicted_forces_eV_per_A"], atol=1e-9)
    made, _ = usual
    for potential_, place in ((read, "a"), (made, "b")):
        written = potential_.to_aenet_ascii(tmp_path / place, "tio2")
        assert sorted(p.name for p in written.values()) == ["tio2.O.nn.ascii", "tio2.Ti.nn.ascii"]
        again = ANNPotential.from_aenet_ascii(written)
        np.testing.assert_allclose(
            again.predict(tio2(6)).total_energy, potential_.predict(tio2(6)).total_energy,
            rtol=0, atol=1e-9,
        )  # fmt: skip
    kept = {"mean": made.normalisation.mean, "min": np.full(14, -7.0)}
    written = made.to_aenet_ascii(tmp_path / "c", structures=tio2(2), descriptor_stats=kept)
    assert ANNPotential.from_aenet_ascii(written).statistics["feature_min"] == [-7.0] * 14
    with pytest.raises(ValueError, match="another 'mean' than training used"):
        made.to_aenet_ascii(tmp_path / "c", descriptor_stats={"mean": np.zeros(14)})
    with pytest.raises(ValueError, match=r"give one for each"):
        ANNPotential.from_aenet_ascii(files[:1])
    text = files[0].read_text().replace("Chebyshev\n", "Behler2011\n")
    (tmp_path / "other.nn.ascii").write_text(text)
    with pytest.raises(ValueError, match="only Chebyshev can be read"):
        ANNPotential.from_aenet_ascii([tmp_path / "other.nn.ascii"])

"""Training on data that are not all in memory, and what is kept of them."""

import logging
import weakref

import jax
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.mlip import (
    HDF5StructureDataset,
    StructureDataset,
    Subset,
)
from ritz.mlip.arrays import LRUCache
from ritz.mlip.batching import memory
from ritz.mlip.batching.survey import Targets
from ritz.mlip.descriptors import derivatives, featurizing
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.training import data, prepare
from tests.mlip.systems import (
    ATOMS,
    config,
    dataset,
    descriptor,
    leaves,
    potential,
    random_structure,
    tio2,
)

STREAMED = {"memory_limit": 1e-5}
"""With windows of one batch."""


def trained(data=None, **settings):
    made = potential()
    data = dataset() if data is None else data
    return made, made.train(dataset=data, config=config(**settings))


@pytest.fixture(scope="module")
def usual():
    return trained()


def same(first, second):
    (a, out_a), (b, out_b) = first, second
    names = [name for name in out_a.errors if name != "seconds"]
    np.testing.assert_array_equal(out_a.errors[names], out_b.errors[names])
    for one, other in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(one, other)
    assert out_a.stats == pytest.approx(out_b.stats, rel=1e-12)


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "num_workers": 2, "persistent_workers": False, "cache_features": True,
            "cache_neighbors": True, "cache_force_triplets": True, "cache_warmup": True,
            "cache_force_triplet_max_entries": 3,
        },
    ],
)  # fmt: skip
def test_streaming_changes_no_bit(usual, settings):
    same(usual, trained(**STREAMED, **settings))


@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"sampling_policy": "error_weighted", "force_fraction": 0.5,
         "force_resample_num_epochs": 1},
        {"sampling_policy": "energy_weighted", "stress_weight": 0.0, "force_weight": 0.0},
        {"precision": "float32", "method": None},
        {"force_fraction": 0.05, "force_resample_num_epochs": 1},  # batches without forces
    ],
)  # fmt: skip
def test_streaming_changes_no_bit_of_other_runs(settings):
    from ritz.mlip import Adam

    if "method" in settings:
        settings = {**settings, "method": Adam(batchsize=5)}
    usual = trained(**settings)
    same(usual, trained(**settings, memory_limit=1e-4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "data_location", lambda *_: memory.HOST)  # as on other devices
        same(usual, trained(**settings))


@pytest.mark.medium
@pytest.mark.bits
def test_a_streamed_run_goes_on_with_the_same_bits(usual):
    saved = {"checkpoint_dir": "ck", "checkpoint_interval": 1, **STREAMED, "cache_features": True}
    trained(**saved, iterations=2)
    made = potential()
    out = made.train(dataset=dataset(), config=config(**saved, iterations=2), resume_from="ck")
    same(usual, (made, out))


@pytest.mark.medium
def test_what_is_streamed(monkeypatch, caplog):
    plain = potential().driver(dataset=dataset(), config=config())
    assert not plain.kernel.settings.window
    with caplog.at_level(logging.INFO, "ritz"):
        driver = potential().driver(dataset=dataset(), config=config(memory_limit=1e-4))
    assert "they are streamed" in caplog.text
    # The estimate is that of the arrays which are kept otherwise, but for the few of structures.
    targets = Targets(True, False)
    model = potential().model
    estimate = memory._estimate_bytes(model, plain.prepared.datasets[0], targets, "float64")
    train = plain.kernel.split
    kept = jax.tree.leaves((train.inputs, train.tables, train.forces))
    assert estimate == pytest.approx(sum(leaf.nbytes for leaf in kept), rel=0.15)
    # Four windows are within the limit, but each has at least one batch.
    assert driver.kernel.settings.window == 1
    monkeypatch.setattr(memory, "CERTAIN", 10)
    assert (
        memory.data_location(model, [dataset()], config().data_settings, targets, "float64")
        == memory.DEVICE
    )
    monkeypatch.setattr(prepare, "data_location", lambda *_: memory.HOST)
    larger = potential().driver(dataset=dataset(), config=config())
    assert larger.kernel.settings.window == larger.n_batches


def test_a_window_is_let_go_with_its_last_step(monkeypatch):
    refs, alive, with_labels = [], [], data.with_labels

    def noted(window, known):
        refs.append(weakref.ref(jax.tree.leaves(window.inputs)[0]))
        return with_labels(window, known)

    def count(step, log_data, driver):
        alive.append(sum(ref() is not None for ref in refs))

    monkeypatch.setattr(data, "with_labels", noted)
    driver = potential().driver(dataset=dataset(), config=config(**STREAMED))
    counting = LambdaCallback(on_step_end=count, live=False)
    driver.run(7, callback=counting, show_progress=False)
    assert alive == [1] * 7 and len(refs) >= 7


@pytest.mark.slow
def test_features_are_computed_once_where_they_are_kept(monkeypatch):
    computed = []
    whole = featurizing._features

    def counted(descriptor, near, rows):
        computed.append(int(rows.pairs.any(axis=1).sum()))
        return whole(descriptor, near, rows)

    monkeypatch.setattr(featurizing, "_features", counted)
    settings = {**STREAMED, "force_weight": 0.0, "testpercent": 0, "iterations": 2}
    _, kept = trained(**settings, cache_features=True, cache_feature_max_entries=None)
    assert sum(computed) == 2 * 24 * 24  # to find their statistics, and once for all epochs
    computed.clear()
    _, again = trained(**settings)
    assert sum(computed) > 2 * 24 * 24
    np.testing.assert_array_equal(kept.errors["loss"], again.errors["loss"])


def test_entries_that_were_not_used_go_first():
    kept = LRUCache(2)
    for name in "ab":
        kept.put(name, name)
    assert kept.get("a") == "a"
    kept.put("c", "c")
    assert kept.get("b") is None and kept.get("a") == "a" and kept.is_full
    assert len(LRUCache(None)) == 0 and LRUCache(0).is_full
    none = LRUCache(0)
    none.put("a", 1)
    assert none.get("a") is None


def test_derivatives_in_files_are_those_that_are_computed(tmp_path):
    structures = [random_structure(seed, n=5 + seed) for seed in range(4)]
    d = descriptor()
    file = HDF5StructureDataset(tmp_path / "data.h5", d).build_database(
        structures, persist_features=True, persist_force_derivatives=True
    )
    assert file.has_force_derivatives and file.has_features
    chunk = Chunk(structures, d.species, d.cutoff, d.min_cutoff)
    widths = file.local_widths
    assert widths == d.widths_of(chunk.pairs)
    known = Chunk(
        structures, d.species, d.cutoff, d.min_cutoff, None, widths,
        lambda: [file.get_local_derivatives(i) for i in range(4)],
    )  # fmt: skip
    computed = d.tables(chunk, widths, "float64", True)
    found = d.tables(known, widths, "float64", True)
    for name in ("kinds", "partners"):
        np.testing.assert_array_equal(getattr(found, name), getattr(computed, name))
    for a, b in zip(found.local, computed.local, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    assert "pairs" not in vars(known)  # no neighbours were searched
    part = Subset(file, [2, 0])
    assert part.local_widths == widths
    np.testing.assert_array_equal(
        part.get_local_derivatives(0)["slopes"], file.get_local_derivatives(2)["slopes"]
    )
    bare = HDF5StructureDataset(tmp_path / "bare.h5", d).build_database(structures)
    with pytest.raises(LookupError, match="persist_force_derivatives=True"):
        bare.get_local_derivatives(0)


@pytest.mark.medium
def test_training_takes_derivatives_from_files(usual, monkeypatch, tmp_path):
    file = HDF5StructureDataset(tmp_path / "data.h5", descriptor(), ATOMS)
    file.build_database(tio2(), persist_features=True, persist_force_derivatives=True)
    monkeypatch.setattr(derivatives, "local_derivatives_of", None)
    monkeypatch.setattr(featurizing, "_features", None)
    for settings in ({}, STREAMED):
        _, out = trained(file, **settings)
        for name in ("RMSE_train", "RMSE_force_test"):
            np.testing.assert_allclose(out.errors[name], usual[1].errors[name], rtol=1e-9)


@pytest.mark.slow
def test_files_are_kept_between_runs(usual, monkeypatch, tmp_path):
    settings = {"cache_persist_dir": str(tmp_path / "kept")}
    trained(**settings, iterations=1)
    assert len(list((tmp_path / "kept").glob("derivatives-*.h5"))) == 2
    monkeypatch.setattr(derivatives, "local_derivatives_of", None)
    _, out = trained(**settings)
    np.testing.assert_allclose(out.errors["loss"], usual[1].errors["loss"], rtol=1e-9)
    _, out = trained(**settings, cache_scope="val", force_weight=0.0, iterations=1)
    assert len(list((tmp_path / "kept").glob("features-*.h5"))) == 1


@pytest.mark.medium
def test_a_model_without_features_keeps_none(tmp_path):
    from ritz.mlip import GraphPotential, PaiNN

    data = StructureDataset(tio2(), None, ATOMS)
    with pytest.raises(ValueError, match="cache_persist_dir keeps features"):
        GraphPotential(PaiNN(), ["Ti", "O"]).train(
            dataset=data, config=config(cache_persist_dir=str(tmp_path))
        )

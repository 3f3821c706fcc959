"""What training is given: data, normalisation, and optimisers of optax."""

import logging

import numpy as np
import optax
import pandas as pd
import pytest

from ritz.folders.summary import read_summary
from ritz.mlip import (
    Adam,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    OptaxMethod,
    Structure,
    StructureDataset,
    TrainOut,
)
from tests.mlip.systems import (
    ARCH,
    ATOMS,
    config,
    dataset,
    descriptor,
    leaves,
    potential,
    tio2,
)


def test_normalisation_can_be_given(caplog):
    stats = {"mean": np.zeros(14), "cov": np.full(14, 4.0)}
    settings = config(feature_stats=stats, E_shift=-8.0, E_scaling=3.0)
    driver = potential().driver(dataset=dataset(), config=settings)
    found = driver.prepared.normalisation
    assert (found.e_shift, found.e_scaling) == (-8.0, 3.0) and np.all(found.std == 2)
    plain = potential().driver(
        dataset=dataset(), config=config(normalize_features=False, normalize_energy=False)
    )
    found = plain.prepared.normalisation
    assert (found.e_shift, found.e_scaling) == (0, 1) and np.all(found.std == 1)
    with pytest.raises(ValueError, match="the descriptor has 14 features"):
        stats["mean"] = np.zeros(3)
        potential().driver(dataset=dataset(), config=config(feature_stats=stats))
    with caplog.at_level(logging.WARNING):
        potential().driver(dataset=dataset(), config=config(max_energy=1.0))
    assert "max_energy is ignored" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "give exactly one of the three"),
        ({"structures": [], "config": config()}, ValueError, "there are no structures"),
        ({"structures": "data/*.xsf"}, TypeError, "read files with"),
        ({"structures": [Structure([[0.0, 0, 0]], ["O"])] * 9}, ValueError, "0 has no energy"),
        (
            {"structures": [Structure([[0.0, 0, 0]], ["O"], energy=n) for n in range(9)]},
            ValueError,
            "no structure has forces, but force_weight",
        ),
        (
            {
                "dataset": StructureDataset(tio2(4), descriptor(), {"O": 1.0, "Ti": 0.0}),
                "config": config(atomic_energies=ATOMS),
            },
            ValueError,
            "atomic_energies are those of the data set",
        ),
        (
            {"structures": tio2(4), "config": config(atomic_energies={"O": -432.5})},
            ValueError,
            "atomic_energies has O, but the structures have O, Ti: give an energy in eV for Ti",
        ),
        (
            {"structures": tio2(4), "config": config(atomic_energies={**ATOMS, "H": -13.6})},
            ValueError,
            "atomic_energies has H, O, Ti, but the potential has the species O, Ti: leave H out",
        ),
        (
            {
                "dataset": StructureDataset(
                    tio2(4), ChebyshevDescriptor(["O", "Ti"], 3, 4.0, 2, 3.0)
                )
            },
            ValueError,
            "the data set was made for",
        ),
    ],
)
def test_bad_data(arguments, error, message):
    with pytest.raises(error, match=message):
        potential().train(**{"config": config(), **arguments})


@pytest.mark.medium
def test_any_optimiser_of_optax_is_a_method():
    lion = optax.lion(1e-3)
    made = potential()
    out = made.train(dataset=dataset(), config=config(method=lion, iterations=2))
    assert np.all(np.diff(out.errors["loss"]) < 0) and list(out.errors["learning_rate"]) == [1, 1]
    same = potential()
    same.train(dataset=dataset(), config=config(method=OptaxMethod(lion, 32), iterations=2))
    for a, b in zip(leaves(made), leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    driver = potential().driver(dataset=dataset(), config=config(method=OptaxMethod(lion, 6)))
    assert driver.n_batches == 3
    with pytest.raises(TypeError, match=r"GradientTransformation such as optax.lion\(1e-3\)"):
        OptaxMethod("lion")


@pytest.mark.slow
def test_adam_of_optax_takes_the_steps_of_adam():
    adams = Adam(mu=0.01, batchsize=6), OptaxMethod(optax.adam(0.01), 6)
    schedule = {"schedule": "cosine", "warmup_epochs": 1, "iterations": 3}
    first, second = potential(), potential()
    for made, method in zip((first, second), adams, strict=True):
        made.train(dataset=dataset(), config=config(method=method, **schedule))
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.medium
def test_a_committee_has_a_driver_for_data_sets():
    committee = CommitteePotential(ARCH, descriptor())
    members = CommitteeConfig(2, base_seed=3)
    driver = committee.driver(None, config(iterations=1), members, dataset=dataset())
    driver.run(driver.n_batches, show_progress=False)
    taken = committee.take_from(driver)
    trained = CommitteePotential(ARCH, descriptor())
    out = trained.train(None, config(iterations=1, save_best=False), members, dataset=dataset())
    for a, b in zip(taken, trained, strict=True):
        for one, other in zip(leaves(a), leaves(b), strict=True):
            np.testing.assert_array_equal(one, other)
    assert {"preparation", "total"} <= set(out.trainouts[0].timing)


def test_the_folder_of_a_committee_names_a_method_of_optax(tmp_path):
    committee = CommitteePotential(ARCH, descriptor())
    members = CommitteeConfig(2, output_dir=tmp_path / "committee")
    settings = config(iterations=0, method=optax.adam(0.1), save_best=False)
    result = committee.train(None, settings, members, dataset=dataset())
    text = result.metadata_path.read_text()
    assert "OptaxMethod" in text and " at 0x" not in text


@pytest.mark.medium
def test_what_a_committee_writes_is_never_there_in_part(tmp_path, monkeypatch):
    written = []

    def write(path, content):
        written.append(path.relative_to(tmp_path).as_posix())
        path.write_bytes(content)

    for module in ("committee.results", "potentials.files", "potentials.predictions"):
        monkeypatch.setattr(f"ritz.mlip.{module}.atomic_write", write)
    monkeypatch.setattr("ritz.folders.summary.atomic_write", write)
    committee = CommitteePotential(ARCH, descriptor())
    settings = config(iterations=1, save_best=False, save_energies=True)
    committee.train(None, settings, CommitteeConfig(2, output_dir=tmp_path), dataset=dataset())
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert set(written) == files and "member_001/summary.json" in files
    assert read_summary(tmp_path / "member_000")["seed"] == 0


@pytest.mark.parametrize("method", ["train", "driver"])
def test_a_configuration_is_no_dict(method):
    committee = CommitteePotential(ARCH, descriptor())
    for made in (potential(), committee):
        with pytest.raises(TypeError, match=r"config must be a ritz.mlip.TrainingConfig, but {'it"):
            getattr(made, method)(dataset=dataset(), config={"iterations": 2})
    with pytest.raises(TypeError, match=r"committee_config must be a ritz.mlip.CommitteeConfig, b"):
        getattr(committee, method)(dataset=dataset(), committee_config={"num_members": 2})


def test_the_errors_of_one_epoch_are_drawn_as_points():
    table = pd.DataFrame({"RMSE_train": [0.1, 0.05], "RMSE_test": [0.2, 0.1]}, index=[1, 2])
    for rows, marker in ((1, "o"), (2, "None")):
        axes = TrainOut(table[:rows], {}, {}).plot_training_errors().axes[0]
        assert [line.get_marker() for line in axes.get_lines()] == [marker, marker]

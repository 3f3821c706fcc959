"""Training that goes on: from checkpoints at any step, from best models, after an early stop."""

import numpy as np
import pytest

from ritz.callbacks import AbstractCallback, EarlyStopping
from ritz.checkpoint import CheckpointError
from ritz.driver.stop import StopReason, StopRun
from ritz.loggers import RuntimeLog
from ritz.mlip import (
    Adam,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    EpochCallback,
    MLIPCalculator,
    TrainingConfig,
    load_potential,
)
from ritz.mlip.training.start import batches_of, steps_in_total
from tests.mlip.systems import ARCH, config, dataset, descriptor, leaves, potential, tio2


class TimeIsUp(StopRun):
    reason = StopReason.TIMED_OUT


class StopAt(AbstractCallback):
    """Ends a run as a time limit does, after which it goes on."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, step, log_data, driver):
        if step == self.step:
            raise TimeIsUp("enough")

    def is_live(self, step):
        return False


def settings(**more):
    return config(**{"force_weight": 0.0, "checkpoint_dir": "ck", "iterations": 4, **more})


def trained(callback=None, resume_from=None, in_total=False, out=None, **more):
    made = potential()
    result = made.train(
        dataset=dataset(), config=settings(**more), callback=callback, resume_from=resume_from,
        in_total=in_total, out=out,
    )  # fmt: skip
    return made, result


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.medium
@pytest.mark.parametrize("in_total", [True, False])
@pytest.mark.parametrize("step", [3, 5])
def test_a_run_goes_on_from_any_step_to_whole_epochs(inside, step, in_total):
    whole, uncut = trained(checkpoint_dir=None)
    assert uncut.stop_reason == "FINISHED"
    trained(StopAt(step), checkpoint_interval=9)
    done = (step + 1) // 3
    left = 4 if in_total else 4 - done
    again, out = trained(StopAt(99), "ck", in_total, iterations=left, checkpoint_interval=9)
    assert list(out.errors.index) == [0, 1, 2, 3]
    for a, b in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(out.errors["RMSE_train"], uncut.errors["RMSE_train"])


def test_epochs_are_counted_in_one_place():
    assert batches_of(18, 6) == 3 and batches_of(19, 6) == 4
    assert steps_in_total(5, 4, None) == 20


@pytest.mark.medium
def test_a_run_that_was_stopped_early_is_extended(inside):
    never = EarlyStopping("validation_loss", patience=0, min_delta=1e9)
    _, out = trained(never, iterations=3)
    assert out.stop_reason == "STOPPED" and len(out.errors) == 2
    again = EarlyStopping("validation_loss", patience=1, min_delta=1e9)
    _, out = trained(again, "ck", True, iterations=3)  # as many as before: it has ended
    assert out.stop_reason == "STOPPED" and len(out.errors) == 2
    _, out = trained(again, "ck", True, iterations=5)
    assert out.stop_reason == "STOPPED" and list(out.errors.index) == [0, 1, 2]
    with pytest.raises(CheckpointError, match=r"give accept_changes=\['callbacks'\] in the conf"):
        trained(None, "ck", True, iterations=5)
    _, out = trained(None, "ck", True, iterations=5, accept_changes=["callbacks"])
    assert out.stop_reason == "FINISHED" and list(out.errors.index) == [0, 1, 2, 3, 4]


class Report(EpochCallback):
    live_epochs = True

    def __init__(self):
        self.seen = []

    def on_epoch_end(self, epoch, log_data, driver):
        self.seen.append((epoch, np.asarray(driver.learning_rate()).item()))


def test_live_epochs_go_on(inside):
    first, second = Report(), Report()
    trained(first, iterations=2)
    trained(second, "ck", iterations=2)
    assert [epoch for epoch, _ in [*first.seen, *second.seen]] == [0, 1, 2, 3]
    from ritz.testing import QuadraticDriver

    with pytest.raises(TypeError, match="goes by epochs, which QuadraticDriver does not have"):
        QuadraticDriver().run(1, callback=Report(), show_progress=False)


class Ratio(EpochCallback):
    def before_parameter_update(self, step, log_data, driver):
        if "RMSE_test" in log_data:
            log_data["ratio"] = log_data["RMSE_test"] / log_data["RMSE_train"]


class LateRatio(EpochCallback):
    def on_epoch_end(self, epoch, log_data, driver):
        log_data["ratio"] = 1.0


def test_values_of_callbacks_are_in_the_errors_of_epochs(inside, caplog):
    log = RuntimeLog()
    _, out = trained(Ratio(), iterations=2, out=log)
    wanted = out.errors["RMSE_test"] / out.errors["RMSE_train"]
    np.testing.assert_allclose(out.errors["ratio"], wanted, rtol=1e-6)
    np.testing.assert_array_equal(log.data["ratio"].values, out.errors["ratio"])
    assert "added to a row" not in caplog.text
    _, out = trained(LateRatio(), iterations=2, checkpoint_dir=None)
    assert "ratio" not in out.errors
    assert caplog.text.count("ratio: added to a row in on_step_end or on_epoch_end") == 1


@pytest.mark.medium
def test_training_begins_from_the_best_model(inside):
    _, out = trained(iterations=3)
    best = load_potential("ck/best_model.npz")
    again, more = trained(None, "ck/best_model.npz", iterations=2)
    assert list(more.errors.index) == [0, 1]
    assert more.stats["final_RMSE_test"] <= out.stats["final_RMSE_test"]
    assert again.normalisation.e_shift == best.normalisation.e_shift
    assert (inside / "ck" / "set_aside").is_dir()
    untouched, _ = trained(None, "ck/best_model.npz", iterations=0)
    for a, b in zip(leaves(untouched), leaves(load_potential("ck/best_model.npz")), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="has the atomic_energies"):
        potential().train(tio2(), settings(atomic_energies={"O": 1.0, "Ti": 0.0}),
                          resume_from="ck/best_model.npz")  # fmt: skip


@pytest.mark.slow
def test_committees_do_what_one_potential_does(inside):
    made = CommitteePotential.of(potential())
    members = CommitteeConfig(num_members=2, output_dir="members")
    many = settings(iterations=2, save_energies=True, save_forces=True)
    result = made.train(dataset=dataset(), config=many, committee_config=members)
    for number, out in enumerate(result.trainouts):
        assert len(out.energies["train"]) == 18 and len(out.energies["test"]) == 6
        files = {p.name for p in (inside / f"members/member_{number:03d}").iterdir()}
        assert {"energies_train.csv", "forces_test.extxyz"} <= files
        best = load_potential(f"ck/best_model_{number:03d}.npz")
        for a, b in zip(leaves(best), leaves(made.members[number]), strict=True):
            np.testing.assert_array_equal(a, b)
    atoms = tio2(1)[0].to_ase()
    atoms.calc = MLIPCalculator(made)
    each = [member.predict(tio2(1), eval_forces=True) for member in made]
    energies = [out.total_energy[0] for out in each]
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies), abs=1e-6)
    assert atoms.calc.results["energy_std"] == pytest.approx(np.std(energies), abs=1e-6)
    np.testing.assert_allclose(
        atoms.get_forces(), np.mean([out.forces[0] for out in each], axis=0), atol=1e-8
    )
    again = CommitteePotential.of(potential())
    out = again.train(
        dataset=dataset(), config=settings(iterations=1), committee_config=CommitteeConfig(2),
        resume_from="ck/best_model_000.npz",
    )  # fmt: skip
    for old, new in zip(result.trainouts, out.trainouts, strict=True):
        assert new.stats["final_RMSE_test"] <= old.stats["final_RMSE_test"]
    with pytest.raises(ValueError, match="there are no potentials"):
        MLIPCalculator(CommitteePotential(ARCH, descriptor()))


def test_devices_are_looked_for_when_they_are_used(inside):
    gpu = ChebyshevDescriptor(["Ti", "O"], 3, 4.0, 2, 3.0, min_cutoff=0.5, device="cuda:7")
    assert gpu == descriptor() and "device" not in gpu.header()
    assert ChebyshevDescriptor.from_header({**gpu.header(), "device": "cuda:7"}).device is None
    with pytest.raises(ValueError, match="there is no device 'cuda:7'; this machine has cpu:0"):
        gpu.featurize(tio2(1)[0])
    far = settings(device="cuda:7", iterations=1)
    with pytest.raises(ValueError, match="there is no device 'cuda:7'"):
        potential().train(dataset=dataset(), config=far)
    with pytest.raises(ValueError, match="device must be 'cpu', 'gpu', 'cuda:1' or the like"):
        TrainingConfig(device="the fast one")
    with pytest.raises(TypeError, match="device must be a name"):
        TrainingConfig(device=1)


def test_the_warm_up_follows_the_length_of_the_run():
    assert [TrainingConfig(warmup_epochs=None).warmup(n) for n in (3, 4, 20, 300)] == [0, 1, 5, 5]
    assert TrainingConfig(warmup_epochs=7).warmup(300) == 7
    quick = {"schedule": "cosine", "warmup_epochs": None, "checkpoint_dir": None}
    driver = potential().driver(dataset=dataset(), config=settings(iterations=8, **quick))
    assert 0 < driver.learning_rate() < 0.0005
    driver.run(7, show_progress=False)
    assert driver.learning_rate() == pytest.approx(0.001, rel=0.05)  # it has risen in two epochs


@pytest.mark.slow
def test_the_warm_up_is_that_of_the_run_that_goes_on(inside):
    quick = {"method": Adam(batchsize=6), "schedule": "cosine", "warmup_epochs": None}
    _, uncut = trained(checkpoint_dir=None, iterations=8, **quick)
    trained(StopAt(4), iterations=8, **quick)
    _, out = trained(StopAt(99), "ck", True, iterations=8, **quick)
    np.testing.assert_array_equal(out.errors["learning_rate"], uncut.errors["learning_rate"])
    assert out.errors["learning_rate"][0] < out.errors["learning_rate"][2]


def test_checkpoints_have_the_names_that_earlier_versions_gave():
    snapshot = potential().driver(dataset=dataset(), config=settings()).snapshot()
    assert set(snapshot) == {"carry", "room", "horizon"}
    assert set(snapshot["carry"]) == {
        "params", "optimizer_state", "key", "rate_scale", "epoch", "position", "supervised",
        "sums", "scores", "crowded",
    }  # fmt: skip

"""`ritz mlip`: what is said of a run that does not go on, or of another one."""

import shutil
from pathlib import Path

import ase.io
import pytest

from tests.cli.mlip.runs import SMALL
from tests.mlip.systems import tio2

STOP = """
from ritz.callbacks import LambdaCallback
from ritz.driver.stop import StopRun

def stop() -> LambdaCallback:
    def act(step, row, driver):
        if step == 1:
            raise StopRun("enough")
    return LambdaCallback(on_step_end=act)
"""


def written(name, first=0):
    ase.io.write(name, [s.to_ase() for s in tio2()[first : first + 8]])


@pytest.fixture(autouse=True)
def _files():
    written("a.extxyz")


@pytest.mark.medium
def test_a_run_that_a_callback_has_ended_says_so(ritz):
    Path("stops.py").write_text(STOP)
    command = [*SMALL, "data.train=[a.extxyz]", "folder=r", "train.callbacks=[stops.stop]"]
    command += ["train.method.batchsize=4"]  # two steps an epoch
    status, out, error = ritz(*command, "train.iterations=7")
    assert status == 0 and "the run" not in out, error
    out = ritz(*command, "train.iterations=7")[1]
    told = "the run has ended: stopped by LambdaCallback: enough. A larger train.iterations goes on"
    assert out.startswith(told), out
    out = ritz(*command, "train.iterations=5")[1]
    assert "train.iterations=5 is less than the 7 epochs of the run, so that" in out


def test_all_that_differs_from_the_saved_run_is_told(ritz):
    command = [*SMALL, "data.train=[a.extxyz]", "folder=r", "train.iterations=2"]
    assert ritz(*command)[0] == 0
    written("a.extxyz", first=1)
    error = ritz(*command, "train.num_workers=1", "train.iterations=3")[2]
    assert error.startswith(
        "ritz: r holds another run. Settings that differ: train.num_workers was 0, is 1. What its "
        "checkpoint says: structures was 8 structures "
    )
    assert error.count("\n") == 1 and ", is 8 structures " in error
    assert error.endswith(
        ". Use the settings of that run (--config r/config.yaml), or another folder to begin anew. "
        "To go on all the same, give train.accept_changes='[structures]'.\n"
    )
    error = ritz(*command, "train.iterations=3")[2]  # no setting is another
    assert " is of another run: structures was 8 structures " in error


@pytest.mark.medium
def test_which_files_are_missing_is_told_by_what_the_folder_holds(ritz):
    assert ritz(*SMALL, "data.train=[a.extxyz]", "folder=r", "train.iterations=1")[0] == 0
    Path("c.yaml").write_text("members: 1\n")
    error = ritz("mlip", "train", "--config=c.yaml", "folder=r")[2]
    assert error.endswith("; or leave out --config and data.train to go on with the run in r.\n")
    error = ritz("mlip", "evaluate", "--config=c.yaml", "folder=r")[2]
    assert error.endswith("; or leave out --config: that of r says what was held out.\n")
    shutil.copytree("r", "alone", ignore=lambda *_: ["config.yaml", "checkpoints"])
    assert ritz("mlip", "evaluate", "folder=alone")[2] == (
        "ritz: evaluate.files: which files? Give evaluate.files='[test.extxyz]', for example: "
        "alone has no configuration that says what was held out.\n"
    )
    assert ritz("mlip", "evaluate", "folder=alone", "evaluate.files=[a.extxyz]")[0] == 0


@pytest.mark.medium
def test_other_settings_are_refused_when_all_epochs_are_done(ritz):
    command = [*SMALL, "data.train=[a.extxyz]", "folder=r", "train.iterations=2"]
    assert ritz(*command)[0] == 0
    assert ritz(*command)[1].startswith("all epochs are done; everything in r.")
    for iterations in (1, 2, 3):
        status, out, error = ritz(*command, "train.method.mu=0.5", f"train.iterations={iterations}")
        assert status == 2 and not out
        told = "r holds another run. Settings that differ: train.method.init_args.mu was 0.003, is"
        assert told in error
    status, out, _ = ritz(*command, "train.num_workers=1")  # which changes no result
    assert status == 0 and "none was added" in out


@pytest.mark.medium
def test_what_was_held_out_is_that_of_the_training(ritz):
    command = [*SMALL, "data.train=[a.extxyz]", "folder=r", "train.testpercent=25"]
    assert ritz(*command, "train.iterations=1")[0] == 0
    assert ritz("mlip", "evaluate", "folder=r")[1].startswith("2 structures\n")
    status, _, error = ritz("mlip", "evaluate", "folder=r", "train.testpercent=50")
    assert status == 2 and error == (
        "ritz: evaluate.files: what r has held out is not known with other settings: "
        "train.testpercent was 25.0, is 50.0. Leave them out, or give evaluate.files.\n"
    )
    assert ritz("mlip", "evaluate", "folder=r", "train.force_weight=0.5")[0] == 0


def test_few_structures_for_validation_are_told_once(ritz, caplog):
    command = [*SMALL, "data.train=[a.extxyz]", "folder=r", "train.iterations=1"]
    assert ritz(*command, "train.testpercent=20", "--dry_run")[0] == 0
    assert "held out for validation" not in caplog.text
    assert ritz(*command)[0] == ritz(*command)[0] == 0
    told = "Only 0 of 8 structures are held out for validation, too few for a reliable error: give "
    assert [line.startswith(told) for line in caplog.messages].count(True) == 1
    ended = next(n for n, line in enumerate(caplog.messages) if line.startswith("Run ended"))
    assert caplog.messages[ended + 1].startswith("Computing the errors of the potential")

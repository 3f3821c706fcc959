"""Sweeps executed by Dask, with a stand-in for the commands."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from ritz.folders.owner import process_here
from ritz.hardware import cores
from ritz.sweeps import Plan, compare, sweep
from ritz.sweeps.execution import STARTED
from ritz.sweeps.record import counts, has_changed
from ritz.sweeps.running import check

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed.*")

ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))


def plan_of(folder, **content):
    made = Plan.of({"command": "lattice train", "workers": 2, **content}, folder)
    return dataclasses.replace(made, program=WORKER)


def starts(folder):
    return len((folder / "starts").read_text().splitlines())


def states(outcomes):
    return {one.name: one.state for one in outcomes}


@pytest.mark.medium
def test_runs_that_are_killed_are_started_again_and_none_is_done_twice(tmp_path):
    runs = [{"x": 1}, {"x": 2, "die": 1}, {"x": 3, "die": 9}, {"x": 4, "fail": True}]
    plan, told = plan_of(tmp_path, runs=runs, retries=2), []
    found = sweep(plan, report=told.append)
    assert [one.state for one in found] == ["finished", "finished", "killed", "failed"]
    assert sorted(told) == sorted(found)
    assert [starts(run.folder) for run in plan.runs] == [1, 2, 3, 1]
    assert found[3].message == "fail: that was asked for"
    assert "SIGKILL" in found[2].message
    assert found[1].message == "a signal ended it, and it was started again 1 time"

    again = sweep(plan)
    assert [starts(run.folder) for run in plan.runs] == [1, 2, 6, 1]
    assert counts(again) == {"finished": 2, "failed": 1, "killed": 1}
    sweep(plan, again=True)
    assert starts(plan.runs[3].folder) == 2
    changed = plan_of(tmp_path, runs=[{"x": 1}], base={"y": 3})
    assert [has_changed(run) for run in (plan.runs[0], changed.runs[0])] == [False, True]
    assert changed.runs[0].folder == plan.runs[0].folder
    assert sweep(changed)[0].state == "finished" and starts(changed.runs[0].folder) == 2


@pytest.mark.medium
def test_commands_follow_each_other_and_neighbours_too(tmp_path):
    commands = ["lattice train", "lattice evaluate"]
    plan = plan_of(tmp_path, command=commands, vary={"x": [1, 2, 3]}, seeds=2, along="x")
    found = sweep(plan)
    assert {one.state for one in found} == {"finished"}
    ways = {run.name: run.after for run in plan.runs}
    assert ways["x=2,seed=1"] == "x=1,seed=1" and ways["x=1,seed=0"] == ""
    for run in plan.runs:
        assert (run.folder / "starts").read_text().split() == ["train", "evaluate"]
        trained = json.loads((run.folder / "summary.json").read_text())["train"]
        x = run.settings["x"]
        assert trained.get("before") == (None if x == 1 else (x - 1) ** 2 + 0.1)


@pytest.mark.medium
def test_runs_wait_for_neighbours_that_have_failed(tmp_path):
    runs = [{"x": 1, "fail": False}, {"x": 2, "fail": True}, {"x": 3, "fail": False}]
    plan = plan_of(tmp_path, runs=runs)
    chain = [
        plan.runs[0],
        *(
            dataclasses.replace(run, after=before.name)
            for before, run in zip(plan.runs, plan.runs[1:], strict=False)
        ),
    ]
    found = sweep(dataclasses.replace(plan, runs=tuple(chain)))
    assert [one.state for one in found] == ["finished", "failed", "waiting"]
    assert "which is failed" in found[2].message


@pytest.mark.medium
def test_successive_halving_gives_up_what_is_behind(tmp_path):
    values = [0.0, 3.0, 2.0, 1.0, 4.0, 5.0]
    content = {
        "base": {"train": {"iterations": 36}},
        "vary": {"x": values},
        "halving": {"least": 4, "factor": 3},
        "workers": 1,
    }
    plan = plan_of(tmp_path, **content)
    found = sweep(plan)
    assert found[0].state == "finished" and found[0].name == "x=0"
    assert counts(found) == {"finished": 1, "pruned": 5}
    assert "after 4 iterations its energy was" in found[1].message
    assert [starts(run.folder) for run in plan.runs][1:] == [1] * 5
    assert starts(plan.runs[0].folder) == 3  # 4, 12 and 36 iterations
    assert sweep(plan) == found


@pytest.mark.medium
def test_successive_halving_compares_runs_of_one_system(tmp_path):
    """Or else those with the lowest ground state would always go on."""
    fields = ({"system.field": 2.0, "x": 0}, {"system.field": 2.0, "x": 1})
    others = ({"extent": [8], "x": 3}, {"extent": [8], "x": 4})
    content = {"base": {"train.iterations": 36}, "halving": {"least": 4}, "workers": 1}
    found = sweep(plan_of(tmp_path, runs=[*fields, *others], **content))
    assert [one.state for one in found] == ["finished", "pruned"] * 2


@pytest.mark.medium
def test_what_was_given_up_goes_on_again_or_without_halving(tmp_path):
    content = {"base": {"train.iterations": 36}, "vary": {"x": [0.0, 1.0]}, "workers": 1}
    plan = plan_of(tmp_path, halving={"least": 4}, **content)
    assert [one.state for one in sweep(plan)] == ["finished", "pruned"]
    again = sweep(plan, again=True)
    assert [one.state for one in again] == ["finished", "pruned"]
    assert "after 12 iterations its energy was" in again[1].message
    assert [one.state for one in sweep(plan_of(tmp_path, **content))] == ["finished"] * 2
    assert [starts(run.folder) for run in plan.runs] == [3, 3]


@pytest.mark.medium
def test_few_runs_have_all_cores(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, vary={"x": [1]}, workers=None)
    sweep(plan)
    found = json.loads((plan.runs[0].folder / "summary.json").read_text())
    assert found["cores"] == len(cores())


@pytest.mark.medium
def test_a_command_that_has_not_locked_its_folder_yet_is_waited_for(tmp_path):
    """As of a sweep that was killed just after it had started it."""
    plan = plan_of(tmp_path, vary={"x": [1]})
    folder = plan.runs[0].folder
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(8)"]) as other:
        (folder / STARTED).write_text(json.dumps(process_here(other.pid, ["ritz"])))
        sweep(plan)
        assert other.poll() == 0
    assert starts(folder) == 1 and not (folder / STARTED).exists()


@pytest.mark.medium
def test_runs_of_a_machine_share_compiled_programs(tmp_path, monkeypatch):
    for own in ("", "kept"):
        if own:
            monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", own)
        else:
            monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        sweep(plan_of(tmp_path / f"sweep{own}", vary={"x": [1, 2]}))
        summaries = list((tmp_path / f"sweep{own}").glob("*/summary.json"))
        (place,) = {json.loads(file.read_text())["compiled"] for file in summaries}
        assert place == own if own else not Path(place).exists()


def test_tables_have_what_differs_and_the_results(tmp_path):
    plan = plan_of(tmp_path, vary={"x": [2.0, 1.0]}, seeds=2)
    sweep(plan)
    frame = compare([tmp_path])
    assert list(frame.columns[:4]) == ["x", "seed", "energy", "error"]
    assert frame["x"].tolist() == [1.0, 1.0, 2.0, 2.0] and frame["energy"].iloc[0] == 1.1
    assert compare([tmp_path], where={"seed": "1"}, sort="-x")["x"].tolist() == [2.0, 1.0]
    assert set(frame["stop_reason"]) == {"FINISHED"}


@pytest.mark.medium
def test_tables_have_runs_that_failed_or_were_given_up(tmp_path):
    sweep(plan_of(tmp_path / "failed", runs=[{"x": 1}, {"x": 2, "fail": True}]))
    frame = compare([tmp_path / "failed"])
    assert frame["x"].tolist() == [1, 2]
    assert frame["stop_reason"].tolist() == ["FINISHED", "FAILED"]
    content = {"base": {"train.iterations": 36}, "halving": {"least": 4}, "workers": 1}
    sweep(plan_of(tmp_path / "halved", vary={"x": [0.0, 1.0]}, **content))
    frame = compare([tmp_path / "halved"])
    assert frame["stop_reason"].tolist() == ["FINISHED", "PRUNED"]
    assert frame.attrs["varied"] == ["x"]  # not the iterations, of which one had fewer


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_executed(tmp_path):
    (tmp_path / "file").write_text("")
    plan = plan_of(tmp_path / "file" / "sweep", vary={"x": [1]})
    for action in (check, sweep):
        with pytest.raises(ValueError, match="folder: the sweep cannot have .* [(]Not a"):
            action(plan)
    check(plan_of(tmp_path / "a" / "b", vary={"x": [1]}))
    assert [place.name for place in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"vary": {"x": [1]}, "command": "demo"}, "is none that a sweep can run"),
        ({"vary": {"x": [1]}, "command": 3}, "a sweep runs a command"),
        ({"vary": {"x": [1]}, "comand": "x"}, "comand: a sweep has no such entry"),
        ({}, "nothing varies"),
        ({"vary": {"x": [1]}, "base": 3}, "base takes settings"),
        ({"vary": {"x": [1]}, "along": "y"}, "along names a setting other than the seed"),
        ({"vary": {"x": [1]}, "seeds": 2, "along": "seed"}, "along names a setting other than"),
        ({"vary": {"x": [1]}, "base": {"folder": "a"}}, "folder: each run of a sweep has one"),
        ({"vary": {"folder": ["a"]}}, "folder: each run of a sweep has one"),
        ({"vary": {"x": [1]}, "command": ["lattice train", "relax"]}, "must be of one domain"),
        ({"vary": {"x": [1]}, "retries": -1}, "retries must be"),
        ({"vary": {"x": [1]}, "workers": 0}, "workers must be"),
        ({"vary": {"x": [1]}, "cluster": {"kind": "cloud"}}, "cluster.kind must be one of"),
        ({"vary": {"x": [1]}, "halving": {"most": 3}}, "halving takes least"),
        ({"vary": {"x": [1]}, "halving": {"least": 3}}, "halving needs train.iterations"),
    ],
)
def test_what_is_no_sweep_is_told(tmp_path, content, text):
    with pytest.raises(ValueError, match=text):
        sweep(plan_of(tmp_path, **content))

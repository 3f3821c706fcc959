"""A run that goes on has every row that it had, or says which ones are lost."""

import contextlib
import csv
import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ritz.callbacks import ConvergenceStopping, EarlyStopping
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.checkpoint.folder import CheckpointFolder, read_manifest
from ritz.loggers import CSVLog, HDF5Log, JsonLog
from ritz.loggers.tree import to_layout
from ritz.plotting import read_log
from ritz.testing import QuadraticDriver
from tests.driver.noisy import NoisyDriver

FILES = ("log.log", "log.csv", "log.h5")


class RichDriver(NoisyDriver):
    """Logs values of all kinds; some appear later, some are not finite."""

    def _log_additional_data(self, log_data):
        step = self.step_count
        log_data["complex"] = complex(step, -0.5 / (step + 1))
        log_data["vector"] = np.arange(3) * 0.1 * step
        log_data["parts"] = {"a": float(step) ** 0.5, "b": [1.5, np.float32(0.1) * step]}
        log_data["odd"] = float("nan") if step % 3 else -0.0
        log_data["text"] = f"step, {step}"
        if step >= 7:
            log_data["late"] = step


def make(kinds):
    made = {
        "log.log": lambda: JsonLog("a/log", save_params=False),
        "log.csv": lambda: CSVLog("a/log.csv", "write"),
        "log.h5": lambda: HDF5Log("a/log"),
    }
    return [made[kind]() for kind in kinds]


def run(n_iter, kinds=FILES, **options):
    saving = Checkpoint("a/ck", every_steps=5, **options)
    driver = RichDriver()
    driver.run(n_iter, out=make(kinds), callback=saving, show_progress=False, resume=True)


def content(name):
    """A log's rows, equal only if every bit is; the clock and the lengths of blocks may differ."""
    if name.endswith(".csv"):
        rows = list(csv.reader(Path("a", name).read_text().splitlines()))
        kept = [i for i, column in enumerate(rows[0]) if column not in ("wallclock", "block")]
        return [[row[i] for i in kept] for row in rows]
    if name.endswith(".log"):
        found = json.loads(Path("a", name).read_text())
    else:
        found = to_layout(read_log(Path("a", name)))
    return repr({k: v for k, v in found.items() if k not in ("wallclock", "block")})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of 30 steps, and the folder of one that was saved after 20."""
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        run(30)
        whole = {name: content(name) for name in FILES}
    with contextlib.chdir(tmp_path_factory.mktemp("saved")):
        run(20)
        return whole, Path("a").absolute()


@pytest.fixture
def whole(runs):
    shutil.copytree(runs[1], "a")
    return runs[0]


def flip(path, seed, last=None):
    """Change one digit."""
    data = bytearray(path.read_bytes())
    digits = [m.start() for m in re.finditer(rb"\d", bytes(data[: last or len(data)]))][40:]
    place = random.Random(seed).choice(digits)
    data[place] = ord("0") + (data[place] - ord("0") + 1) % 10
    path.write_bytes(data)


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "short": lambda path: path.write_bytes(
        re.sub(rb"\n[1-9].*\n$", b"\n", path.read_bytes(), flags=re.S).replace(b",19]", b"]")
    ),
    "garbage": lambda path: path.write_bytes(b"\xff\x00 garbage\n" * 30),
    **{f"flipped {seed}": lambda path, seed=seed: flip(path, seed) for seed in range(3)},
}


@pytest.mark.medium
@pytest.mark.parametrize("name", ["log.log", "log.csv"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_log_is_rebuilt_from_another(whole, caplog, name, damage):
    DAMAGE[damage](Path("a", name))
    run(30)
    assert f"a/{name}" in caplog.text and "it was rebuilt from a/log." in caplog.text
    assert {name: content(name) for name in FILES} == whole


def test_all_but_one_can_be_rebuilt(whole, caplog):
    saved = shutil.copytree("a", "saved")
    for left in FILES[1:]:
        shutil.copytree(saved, "a", dirs_exist_ok=True)
        for name in FILES:
            if name != left:
                Path("a", name).unlink()
        run(30)
        assert caplog.text.count(f"it was rebuilt from a/{left}") == 2
        assert {name: content(name) for name in FILES} == whole
        shutil.rmtree("a")


def test_what_nobody_has_is_refused_with_the_line_to_type(caplog):
    run(20, FILES[:2])
    before = {p: p.read_bytes() for p in Path("a").rglob("*") if p.is_file()}
    lines = Path("a/log.csv").read_bytes().split(b"\n")
    Path("a/log.csv").write_bytes(b"\n".join(lines[:9]) + b"\n")
    Path("a/log.log").unlink()
    with pytest.raises(CheckpointError) as refused:
        run(30, FILES[:2])
    said = str(refused.value)
    assert "a/log.log is gone" in said and "a/log.csv has 8 of 20 rows" in said
    assert "give accept_changes=['logs'] to Checkpoint." in said
    assert not Path("a/log.log").exists() and Path("a/log.csv").read_bytes().count(b"\n") == 9
    run(30, FILES[:2], accept_changes=["logs"])
    assert "Going on without rows of the saved run" in caplog.text
    assert read_log("a/log.log")["loss"].iters.tolist() == list(range(20, 30))
    assert Path("a/log.csv.damaged").read_bytes().count(b"\n") == 9
    assert len(before) > 3


def test_a_run_without_damage_says_nothing(whole, caplog):
    Path("a/log.csv").write_bytes(Path("a/log.csv").read_bytes() + b"19,torn")
    run(30)
    assert "rebuilt" not in caplog.text
    assert {name: content(name) for name in FILES} == whole


def test_damage_beyond_the_checkpoint_is_dropped(whole):
    for entry in CheckpointFolder(Path("a/ck")).entries()[1:]:
        shutil.rmtree(entry.path)  # the run was killed long after the last one
    step = CheckpointFolder(Path("a/ck")).entries()[-1].step
    assert step < 20
    lines = Path("a/log.csv").read_bytes().split(b"\n")
    lines[-2] = b"1" + lines[-2][2:]  # claims to be an early step
    Path("a/log.csv").write_bytes(b"\n".join(lines))
    run(30)
    assert {name: content(name) for name in FILES} == whole


def test_the_manifest_knows_the_rows(whole):
    entry = CheckpointFolder(Path("a/ck")).entries()[-1]
    rows = read_manifest(entry.path)["rows"]
    assert [r["file"] for r in rows] == list(FILES) and {r["rows"] for r in rows} == {20}


def test_a_run_may_be_extended_and_stop_again_where_it_stopped():
    def run(n_iter):
        stopping = ConvergenceStopping(target=1e9, monitor="mean", patience=0, smoothing_window=1)
        driver = QuadraticDriver(noise=0.1)
        driver.run(
            n_iter,
            out=JsonLog("a/log", save_params=False),
            resume=True,
            show_progress=False,
            callback=[stopping, Checkpoint("ck", extend="longer")],
        )
        return driver.step_count

    assert [run(n) for n in (20, 30, 30, 40, 40)] == [0] * 5
    assert list(read_log("a/log.log")["loss"].iters) == [0]


def test_a_run_that_a_callback_stopped_is_extended_with_all_its_rows(caplog):
    def run(n_iter, extend):
        driver = QuadraticDriver(noise=0.1)
        driver.run(
            n_iter,
            out=[JsonLog("a/log", save_params=False), CSVLog("a/log")],
            callback=[EarlyStopping(patience=5), Checkpoint("ck", extend=extend)],
            resume=True,
            show_progress=False,
        )
        return driver.step_count

    stopped = run(200, False)
    assert "stays ended" not in caplog.text
    assert run(200, False) == stopped
    assert f"The saved run had ended at step {stopped}: stopped by EarlyStopping" in caplog.text
    assert run(200, "longer") == stopped  # as many as before: it has ended
    longer = run(201, "longer")
    assert stopped < longer == run(201, "longer")
    assert run(201, True) > longer
    with pytest.raises(ValueError, match="extend takes True, False or 'longer', but 'always' was"):
        Checkpoint("ck", extend="always")
    assert "rebuilt" not in caplog.text and not list(Path("a").glob("*.damaged"))
    for name in ("log.log", "log.csv"):
        steps = read_log(Path("a") / name)["loss"].iters
        assert list(steps) == list(range(len(steps)))

"""Damaged checkpoints, torn logs and full disks."""

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ritz.callbacks import ParameterEMA
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.checkpoint.folder import CheckpointFolder, read
from ritz.driver import StopReason
from ritz.loggers import CSVLog, HDF5Log, JsonLog
from tests.checkpoint.test_checkpoint import go, rows
from tests.driver.noisy import NoisyDriver, bits
from tests.driver.tools import at, raising

LOGS = ("log.log", "log.csv", "log.h5")


def loggers(folder):
    path = Path(folder) / "log"
    return [JsonLog(path, save_params=False), CSVLog(path, "write"), HDF5Log(path)]


def run(folder, n_iter, *callbacks, logs=None, **options):
    saving = Checkpoint(Path(folder) / "ck", **{"every_steps": 10, **options})
    out = loggers(logs or folder)
    return go(NoisyDriver(), n_iter, ParameterEMA(), saving, *callbacks, out=out)


@pytest.fixture
def whole():
    driver = run("whole", 60)
    return bits(driver), [rows(f"whole/{log}") for log in LOGS]


def same(driver, folder, whole):
    assert bits(driver) == whole[0]
    assert [rows(Path(folder) / log) for log in LOGS] == whole[1]


def test_a_damaged_newest_checkpoint_is_skipped(whole, caplog):
    run("a", 40)
    for file in Path("a/ck/00000040-end").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[:-7])
    driver = run("a", 60)
    assert "Skipped a damaged checkpoint: " in caplog.text and "00000040-end" in caplog.text
    assert (Path("a/ck/set_aside") / "00000040-end").is_dir()
    same(driver, "a", whole)


def test_if_all_are_damaged_nothing_is_begun_anew():
    run("a", 20)
    for folder in Path("a/ck").glob("0*"):
        shutil.rmtree(folder / "manifest")
    before = Path("a/log.csv").read_bytes()
    with pytest.raises(CheckpointError, match="holds 3 checkpoints, none of which can be read"):
        run("a", 60)
    assert Path("a/log.csv").read_bytes() == before


def test_any_changed_byte_is_found_or_harmless():
    run("a", 20)
    path = Path("a/ck/00000020-end")
    intact = read(path)
    chance, found = random.Random(0), 0
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        content = file.read_bytes()
        for _ in range(min(6, len(content))):
            place = chance.randrange(len(content))
            damaged = bytearray(content)
            damaged[place] ^= 1 << chance.randrange(8)
            file.write_bytes(damaged)
            try:
                contents = read(path)
            except CheckpointError:
                found += 1
            else:
                assert contents.manifest == intact.manifest
                assert contents.arrays.keys() == intact.arrays.keys()
                for name, array in intact.arrays.items():
                    assert contents.arrays[name].tobytes() == array.tobytes()
        file.write_bytes(content)
    assert found > 10


def test_a_file_that_is_no_checkpoint_is_refused():
    Path("a/00000003").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="00000003 is no checkpoint of Ritz"):
        read(Path("a/00000003"))
    with pytest.raises(CheckpointError, match="holds 1 checkpoint, none"):
        CheckpointFolder(Path("a")).newest()


def test_torn_lines_of_logs_are_mended(whole):
    with pytest.raises(ArithmeticError):
        run("a", 60, at(34, raising(ArithmeticError()), "on_step_start"))
    # As a kill would leave them: rows in the journal, the last line cut off.
    Path("a/log.log.journal").write_bytes(b'{"step": 33, "row": {"loss"')
    csv = Path("a/log.csv")
    csv.write_bytes(csv.read_bytes()[:-9])
    same(run("a", 60), "a", whole)


class SmallDisk:
    """A folder of one megabyte where the system allows it; elsewhere writing fails on demand."""

    def __init__(self, path, monkeypatch):
        self.path = Path(path)
        self.path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(self.path)]
        self.real = subprocess.run(mount, capture_output=True).returncode == 0
        self._patch = monkeypatch

    def fill(self):
        if not self.real:
            self._fail()
            return
        with open(self.path / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass

    def _fail(self):
        def write(fd, data, write=os.write):
            if Path(os.readlink(f"/proc/self/fd/{fd}")).is_relative_to(self.path.resolve()):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data)

        def save(*_):
            raise CheckpointError("could not be written: No space left on device")

        self._patch.setattr(os, "write", write)
        self._patch.setattr(CheckpointFolder, "save", save)

    def free(self):
        if self.real:
            (self.path / "filler").unlink()
        else:
            self._patch.undo()

    def close(self):
        if self.real:
            subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    disk = SmallDisk(tmp_path / "small", monkeypatch)
    yield disk
    disk.close()


def filling(disk):
    def fill(driver):
        for callback in driver.hooks.callbacks:
            if isinstance(callback, Checkpoint):  # one that failed would give its space back
                callback.folder(driver).wait()
        disk.fill()

    return at(33, fill, "on_step_start")


def test_a_full_disk_ends_the_run_and_loses_nothing(disk, whole):
    with pytest.raises(OSError, match="No space left on device"):
        run(disk.path, 60, filling(disk))
    assert 1 <= CheckpointFolder(disk.path / "ck").entries()[-1].step <= 30
    disk.free()
    same(run(disk.path, 60), disk.path, whole)


def test_without_space_for_checkpoints_the_run_goes_on(disk, whole, caplog):
    driver = NoisyDriver()
    saving = Checkpoint(disk.path / "ck", every_steps=10, max_to_keep=None)  # none gives space back
    with pytest.raises(CheckpointError, match="could not be written"):
        go(driver, 60, ParameterEMA(), saving, filling(disk), out=loggers("logs"))
    assert driver.step_count == 60 and bits(driver) == whole[0]
    assert driver.stop_reason is StopReason.FAILED
    assert "A checkpoint failed" in caplog.text and "the newest is" in caplog.text
    assert [rows(f"logs/{log}") for log in LOGS] == whole[1]
    disk.free()
    assert 1 <= CheckpointFolder(disk.path / "ck").entries()[-1].step <= 30
    same(run(disk.path, 60, logs="logs", max_to_keep=None), "logs", whole)

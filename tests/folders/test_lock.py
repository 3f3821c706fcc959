"""A folder belongs to one run at a time, whatever happened to the one before."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ritz.folders import FolderInUseError, FolderLock, lock, owner
from ritz.folders.lock import owner_is_alive, read_lock

HOLD = (
    "import sys, time\nfrom ritz.folders import FolderLock\n"
    "FolderLock(sys.argv[1]).acquire()\nprint('taken', flush=True)\ntime.sleep(100)\n"
)


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    return process


def finish(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_in_the_place_of_the_lock_tells_nothing(tmp_path):
    (tmp_path / "run.lock").mkdir()
    assert read_lock(tmp_path) is None
    with pytest.raises(OSError, match=r"run\.lock"):
        FolderLock(tmp_path).acquire()


def test_a_copied_lock_tells_of_the_original_but_owns_nothing():
    with FolderLock("a").held(lambda: {"reason": "FINISHED"}):
        pass
    shutil.copytree("a", "b")
    assert read_lock("b") is None
    assert read_lock("b", copied=True) == read_lock("a", copied=True) == read_lock("a")


def test_a_second_run_is_refused_with_who_has_the_folder():
    process = holder("a")
    with pytest.raises(FolderInUseError) as refused:
        FolderLock("a").acquire()
    said = str(refused.value)
    assert f"process {process.pid} on" in said and "choose another folder" in said
    assert owner_is_alive(read_lock("a"), "a") is True
    finish(process)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/a/bin/ritz", "lattice", "train", "folder=my runs"], "ritz lattice train 'folder=my r"),
        (["/a/ritz/__main__.py", "relax", "a.cif"], "ritz relax a.cif"),
        (["__main__.py"], "__main__.py"),
        (["-c"], "-c"),
    ],
)
def test_the_command_of_an_owner_is_as_it_was_typed(monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", arguments)
    assert owner.present_process()["command"].startswith(command)


def test_what_a_killed_run_had_is_free_at_once():
    process = holder("a")
    process.send_signal(signal.SIGKILL)
    while owner_is_alive(read_lock("a"), "a"):
        time.sleep(0.01)
    # Nobody has waited for it: the process is a zombie, whose number is still taken.
    with FolderLock("a").held(lambda: {"reason": "FINISHED"}):
        assert read_lock("a")["pid"] == os.getpid()
    assert read_lock("a")["ended"] == {"reason": "FINISHED"}
    finish(process)


def write(folder, **changes):
    with FolderLock(folder).held(lambda: {"reason": "FINISHED"}):
        pass
    path = Path(folder) / "run.lock"
    content = {**json.loads(path.read_text()), "ended": None, **changes}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},
        {"start": "1"},  # the number of a process that has it now was another's then
        {"pid": 1, "start": "-1"},
        {},  # this process, before it replaced its program
        {"place": "another-boot pid:[1]"},
    ],
)
def test_dead_owners_lose_the_folder(changes):
    write("a", **changes)
    with FolderLock("a").held():
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"pid": "x"}'])
def test_a_damaged_lock_is_no_lock(content):
    Path("a").mkdir()
    Path("a/run.lock").write_bytes(content)
    assert read_lock("a") is None
    with FolderLock("a").held():
        pass


def test_a_run_on_another_machine_is_told_by_its_heartbeat(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    path = write("a", place="there", host="node7", pid=3)
    with FolderLock("a").held():  # it touched the file just now, and never again
        pass
    path = write("a", place="there", host="node7", pid=3)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.02):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(FolderInUseError, match="process 3 on node7"):
            FolderLock("a").acquire()
    finally:
        stop.set()
        thread.join()
    os.utime(path, (0, 0))
    monkeypatch.setattr(lock, "PATIENCE", 100.0)
    with FolderLock("a").held():  # so old that nobody looks on
        pass


def test_the_heartbeat_touches_the_file(monkeypatch):
    monkeypatch.setattr("ritz.folders.heartbeat.INTERVAL", 0.01)
    with FolderLock("a").held():
        os.utime("a/run.lock", (0, 0))
        deadline = time.monotonic() + 10
        while os.stat("a/run.lock").st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert os.stat("a/run.lock").st_mtime > 0


def test_a_process_has_a_folder_once():
    with FolderLock("a").held():
        with pytest.raises(FolderInUseError):
            FolderLock("a").acquire()
        with FolderLock("a").held(lambda: {"reason": "FAILED"}, within=True):
            pass
        assert read_lock("a")["ended"] is None
        found = []

        def take():
            try:
                FolderLock("a").acquire(within=True)
            except FolderInUseError as error:
                found.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
        assert len(found) == 1
    assert read_lock("a")["ended"] == {"reason": "FAILED"}


def test_a_refused_run_leaves_nothing():
    with FolderLock("a/b").held():
        pass
    assert list(Path().iterdir()) == []
    with FolderLock("a/b").held(lambda: {"reason": "FINISHED"}):
        pass
    before = Path("a/b/run.lock").read_bytes()
    with FolderLock("a/b").held():
        pass
    assert Path("a/b/run.lock").read_bytes() == before


def test_a_copied_folder_belongs_to_nobody():
    process = holder("a")
    shutil.copytree("a", "b")
    with FolderLock("b").held():
        pass
    shutil.move("a", "c")
    with pytest.raises(FolderInUseError):
        FolderLock("c").acquire()
    finish(process)


RACE = (
    "import sys, time\nfrom ritz.folders import FolderInUseError, FolderLock, lock\n"
    "if sys.argv[1] == 'False':\n    lock._exclude = lambda file: False\n"
    "print('ready', flush=True)\nsys.stdin.readline()\n"
    "try:\n    FolderLock('a').acquire()\n    print('taken', flush=True)\n"
    "    sys.stdin.readline()\nexcept FolderInUseError:\n    print('refused', flush=True)\n"
)


@pytest.mark.parametrize("exclusive", [True, False])
def test_of_several_takers_one_wins(exclusive):
    write("a", start="1")
    command = [sys.executable, "-c", RACE, str(exclusive)]  # False: a file system without flock
    takers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        taker.stdin.write("\n")
        taker.stdin.flush()
    assert sorted(t.stdout.readline() for t in takers) == ["refused\n"] * 4 + ["taken\n"]
    for taker in takers:
        taker.communicate("\n", timeout=20)


def test_start_times_are_known_without_proc():
    asked = owner._asked_start_time(os.getpid())
    if shutil.which("ps"):
        assert asked and asked == owner._asked_start_time(os.getpid())
    assert owner._asked_start_time(2**22 + 1) is None

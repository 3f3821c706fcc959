"""A lattice run in two processes that share its samples, as NetKet shards them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arrangements import free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.netket


def launch(folder, case, world=2):
    folder.parent.mkdir(parents=True, exist_ok=True)
    port = str(free_port())
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs")}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.checkpoint.two_processes",
                port,
                str(rank),
                str(world),
                str(folder),
                case,
            ],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=150)[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error
    found = [json.loads(Path(f"{folder}-{case}-{rank}.json").read_text()) for rank in range(world)]
    for other in found[1:]:
        assert other["rows"] == found[0]["rows"] and other["step"] == found[0]["step"]
        assert other.get("bits") == found[0].get("bits")
    return found


@pytest.mark.slow
def test_two_processes_are_saved_and_resumed(tmp_path):
    whole = launch(tmp_path / "whole", "plain")
    assert whole[0]["step"] == 40

    stopped = launch(tmp_path / "a", "signal")
    assert 21 <= stopped[0]["step"] < 40
    assert stopped[0]["said"] == "interrupted by SIGTERM to another process"
    assert stopped[1]["said"] == "interrupted by SIGTERM"
    end = f"{stopped[0]['step']:08d}-end"
    assert (tmp_path / "a" / "checkpoints" / end).is_dir()

    resumed = launch(tmp_path / "a", "plain")
    assert resumed[0]["bits"] == whole[0]["bits"] and resumed[0]["rows"] == whole[0]["rows"]


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_have_saved(tmp_path):
    launch(tmp_path / "a", "plain")
    alone = launch(tmp_path / "a", "longer", world=1)
    assert alone[0]["step"] == 60 and alone[0]["rows"][0] == list(range(60))


@pytest.mark.slow
def test_a_time_limit_of_one_process_is_that_of_both(tmp_path):
    late = launch(tmp_path / "late", "late")
    assert 0 < late[0]["step"] < 5000
    assert late[0]["message"].startswith("stopped by Timeout: this run has taken")
    assert late[1]["message"] == "stopped by another process"

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nothing is sent anywhere, by anybody.
os.environ.update(
    DO_NOT_TRACK="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    WANDB_ERROR_REPORTING="false",
    WANDB_MODE="offline",
)

import gc
import signal
from pathlib import Path

import jax
import pytest

# NetKet switches to this too; without it, results would depend on which test came first.
jax.config.update("jax_enable_x64", True)


# In the background of a shell and under nohup SIGINT is ignored, by children too; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


MOST_MAPS = 45_000
"""Every compiled program maps memory; Linux lets a process have 65,530 maps, and without one more
XLA's compiler crashes."""

LOOK_EVERY = 250
"""How many programs are compiled between two looks at the maps, of which each takes some."""

_programs = 0


def _count(name, seconds, **facts):
    global _programs
    _programs += name.endswith("backend_compile_duration")


jax.monitoring.register_event_duration_secs_listener(_count)


def pytest_collection_finish():
    """Keep the garbage collector from walking through all modules again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def _few_programs():
    yield
    global _programs
    maps = Path("/proc/self/maps")
    if _programs < LOOK_EVERY or not maps.exists():
        return
    _programs = 0
    if maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pytest_terminal_summary(terminalreporter):
    """Tell how many kills runs have survived."""
    passed = terminalreporter.getreports("passed")
    kills = [
        n for report in passed for name, n in report.user_properties if name == "kills survived"
    ]
    if kills:
        terminalreporter.write_line(f"{sum(kills)} kills survived")

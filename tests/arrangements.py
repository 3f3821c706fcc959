"""Runs a module on several simulated devices or in several processes of this machine.

The module is called as `python -m MODULE OUT ARGUMENTS...` and writes what it found with `write`,
mostly through `report`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
DEVICES = "--xla_force_host_platform_device_count="


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(devices, world, rank, port):
    """Variables of the environment for one process of a run with `devices` in each of `world`."""
    flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if not f.startswith(DEVICES)]
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": " ".join([*flags, f"{DEVICES}{devices}"]),
        "RITZ_TEST_PLACE": f"{port} {rank} {world}",
    }


def start(module, *arguments, devices=1, world=1, **options):
    """Start the processes of a run, each with so many devices."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(devices, world, rank, port),
            **options,
        )
        for rank in range(world)
    ]


def results(module, folder, *arguments, devices=1, world=1, timeout=900):
    """What every process wrote, and what all of them printed."""
    out = Path(folder) / f"of-{devices}-{world}"
    processes = start(module, out, *arguments, devices=devices, world=world, cwd=folder)
    try:
        said = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    codes = [process.returncode for process in processes]
    assert codes == [0] * world, "\n".join(said)[-8000:]
    found = [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(world)]
    assert all(one == found[0] for one in found), "processes of one run have other rows"
    return found[0], said


def join():
    """Join the other processes of the run, in a module that was started by `start`."""
    import jax

    port, rank, world = map(int, os.environ["RITZ_TEST_PLACE"].split())
    if world > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=world, process_id=rank)
    with contextlib.suppress(ImportError):
        import netket  # noqa: F401  # sets a mesh of its own, in which other domains must run too
    return rank


def report(cases, found):
    """Run the cases, or those named in the arguments, and write what was found; for modules.

    Args:
        cases: A function that returns a dict of name -> function that makes drivers.
        found: A function of what that gives, which returns a dict of numbers.
    """
    rank = join()
    import jax

    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("error")
    chosen, everything = sys.argv[2:], {}
    for name, make in cases().items():
        if not chosen or name in chosen:
            began = time.perf_counter()
            everything[name] = found(make())
            print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    assert not chosen or set(chosen) == set(everything), "a case of that name is missing"
    write(everything, rank)


def write(found, rank):
    """Write what a process found, with arrays as lists."""
    Path(f"{sys.argv[1]}-{rank}.json").write_text(json.dumps(found, default=_plain))


def _plain(value):
    value = np.asarray(value)
    return [value.real.tolist(), value.imag.tolist()] if np.iscomplexobj(value) else value.tolist()


def columns(data, skipped=("wallclock", "block")):
    """All numbers of a `RuntimeLog`, by their names joined with dots."""
    found = {}
    for name, history in data.items():
        if name in skipped:
            continue
        inner = columns(history) if hasattr(history, "items") else history.to_dict()
        found |= {f"{name}.{key}": values for key, values in inner.items()}
    return found


def assert_equal(found, wanted, rtol=1e-9, atol=1e-11, exempt=()):
    """Compare what two layouts found, number by number."""
    assert found.keys() == wanted.keys()
    wrong = []
    for case in wanted:
        assert found[case].keys() == wanted[case].keys(), case
        for name, values in wanted[case].items():
            if (case, name) in exempt:
                continue
            if np.asarray(values).dtype.kind == "U":  # words
                assert found[case][name] == values, f"{case}: {name}"
                continue
            one, other = (np.asarray(x, float) for x in (found[case][name], values))
            if one.shape != other.shape:
                wrong.append(f"{case}: {name}: shapes {one.shape}, {other.shape}")
            elif not np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True):
                worst = np.max(np.abs(np.nan_to_num(one - other)), initial=0)
                wrong.append(f"{case}: {name}: {worst:.1e}, {one.ravel()[:3]}, {other.ravel()[:3]}")
    assert not wrong, "\n".join(wrong)

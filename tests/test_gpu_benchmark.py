"""The benchmark for GPUs runs on a CPU in small sizes, and tells what it could not measure."""

import json
import sys
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import pytest

from benchmarks import gpu, gpu_cases
from benchmarks.device_time import _outermost, _self_times, _union, device_time

FIGURES = {
    "wall ms", "fastest", "slowest", "device ms", "wall/device", "profiled ms", "kernels",
    "largest", "compile s", "GiB", "steps", "sizes", "case",
}  # fmt: skip


NEEDS = {"tfim20": "netket", "relax": "ase"}
"""Packages that cases need, besides those of Ritz itself."""


def check(line):
    assert line.keys() >= FIGURES
    assert 0 < line["fastest"] <= line["wall ms"] <= line["slowest"]
    assert 0 < line["device ms"] <= line["profiled ms"]
    assert line["wall/device"] == pytest.approx(line["wall ms"] / line["device ms"])
    shares = [share for _, share in line["largest"]]
    assert shares == sorted(shares, reverse=True) and shares[-1] > 0 and sum(shares) <= 1.0001
    assert line["kernels"] > 0 and line["steps"] > 0 and line["compile s"] >= 0


@pytest.mark.medium
def test_cases_are_measured_or_told(monkeypatch, tmp_path, capsys):
    def fails(small):
        yield from ()
        raise MemoryError("the device is full\nand more")

    def needs_more(small):
        import no_such_package  # noqa: F401

        yield

    more = {"fails": fails, "needs more": needs_more}
    monkeypatch.setattr(gpu, "CASES", {**gpu_cases.CASES, **more})
    names = ["null", "fails", "needs more", "tfim20", "relax"]
    found = dict(gpu.all_measured(names, small=True, apart=False))
    assert list(found) == names
    assert found["fails"]["error"] == "MemoryError: the device is full"
    assert "in fails" in found["fails"]["traceback"]
    assert found["needs more"]["error"].startswith("not installed: No module named")
    missing = {name for name, package in NEEDS.items() if find_spec(package) is None}
    assert all(found[name]["error"].startswith("not installed: ") for name in missing)
    for name in set(names) - more.keys() - missing:
        assert "error" not in found[name] and found[name]["device"]
        for line in found[name]["lines"]:
            check(line)
    blocks, live = found["null"]["lines"]
    assert live["kernels"] > 3 * blocks["kernels"]
    if "tfim20" not in missing:
        (line,) = found["tfim20"]["lines"]
        assert abs(line["energy"] - line["exact"]) < 0.5 and line["error"] > 0
    if "relax" not in missing:
        assert found["relax"]["lines"][0]["structures/s"] > 0

    gpu.report(gpu.table(found), tmp_path / "gpu.json")
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["environment"]["versions"]["jax"] == jax.__version__
    assert written["details"]["cases"]["fails"] == found["fails"]
    assert [row["case"] for row in written["rows"]][:2] == ["nothing, in blocks", "nothing, live"]
    assert "needs more: not installed" in capsys.readouterr().out


@pytest.mark.slow
def test_the_other_cases():
    names = [name for name in gpu_cases.CASES if name not in ("null", "tfim20", "relax")]
    found = dict(gpu.all_measured(names, small=True, seconds=1e6, apart=False))
    for name in names:
        assert "error" not in found[name]
        (line,) = found[name]["lines"]
        check(line)
        if "exact" in line:
            assert abs(line["energy"] - line["exact"]) < 0.5, name


@pytest.mark.medium
def test_a_process_of_its_own_measures_a_case(monkeypatch, tmp_path):
    out = tmp_path / "small.json"
    monkeypatch.setattr(
        sys, "argv", ["gpu", "--only", "null", "--small", "--seconds", "60", "--out", str(out)]
    )
    gpu.main()
    lines = json.loads(out.read_text())["details"]["cases"]["null"]["lines"]
    assert len(lines) == 2
    for line in lines:
        check(line)


def test_the_budget_of_time_holds():
    stopped, left = gpu.all_measured(["null", "relax"], small=True, seconds=0.5)
    assert stopped == ("null", {"error": "stopped after 0 s, when the time was over"})
    assert left == ("relax", {"error": "left out: the 0.5 s were over"})


def test_spans_inside_others_count_once():
    spans = [(0.0, 10.0, "loop"), (1.0, 4.0, "a"), (2.0, 3.0, "b"), (5.0, 9.0, "a"), (12, 13, "c")]
    own = {}
    for name, seconds in _self_times(_outermost(spans[::-1])):
        own[name] = own.get(name, 0.0) + seconds
    assert own == pytest.approx({"loop": 3e-9, "a": 6e-9, "b": 1e-9, "c": 1e-9})
    assert _union(spans) == pytest.approx(11e-9)


@pytest.mark.medium
def test_device_time_is_that_of_the_program():
    @jax.jit
    def program(x):
        return jax.lax.fori_loop(0, 30, lambda i, y: jnp.tanh(y @ y) / 10, x)

    x = jnp.ones((200, 200))
    program(x).block_until_ready()
    few = device_time(lambda: program(x).block_until_ready())
    many = device_time(lambda: [program(x).block_until_ready() for _ in range(5)])
    assert many.n_kernels == pytest.approx(5 * few.n_kernels, rel=0.01)
    assert 0 < few.busy < many.busy
    assert any("dot" in name for name in few.by_kernel)
    assert sum(share for _, share in few.largest(len(few.by_kernel))) == pytest.approx(1)


@pytest.mark.medium
def test_the_profiler_that_sees_nothing_is_an_error():
    with pytest.raises(RuntimeError, match="no kernel"):
        device_time(lambda: None)

"""What devices send one another is read from compiled programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ritz.testing.collectives import (
    Collective,
    collectives_in,
    described,
    step_collectives,
    totals,
)
from tests.driver.collectives_run import N_INNER, N_PARAMETERS, N_SAMPLES
from tests.driver.noisy import NoisyDriver

ROOT = Path(__file__).parents[2]
SAMPLES = 4 * N_SAMPLES * N_PARAMETERS
"""Bytes of all samples, in single precision."""


def test_a_program_on_one_device_sends_nothing():
    driver = NoisyDriver()
    assert step_collectives(driver) == ()
    assert described(()) == ""


def test_only_compiled_programs_are_read():
    lowered = jax.jit(jnp.sum).lower(jnp.ones(3))
    with pytest.raises(ValueError, match=r"compile\(\).as_text\(\)"):
        collectives_in(lowered.as_text())


ASYNC = """HloModule jit_f, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%branch (x: c128[4]) -> c128[4] {
  %x = c128[4]{0} parameter(0)
  ROOT %all-reduce.7 = c128[4]{0} all-reduce(%x), replica_groups={{0,1},{2,3}}, to_apply=%add
}

%other (y: c128[4]) -> c128[4] {
  ROOT %y = c128[4]{0} parameter(0)
}

ENTRY %main (p: bf16[2,6], q: s32[], r: c128[4]) -> bf16[16,6] {
  %p = bf16[2,6]{1,0} parameter(0)
  %q = s32[] parameter(1)
  %r = c128[4]{0} parameter(2)
  %permuted = bf16[2,6]{1,0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
  %chosen = c128[4]{0} conditional(%q, %r, %r), branch_computations={%branch, %other}
  %begun = (bf16[2,6]{1,0}, bf16[16,6]{1,0}) all-gather-start(%p), replica_groups=[1,8]<=[8]
  ROOT %all-gather.1 = bf16[16,6]{1,0} all-gather-done(%begun)
}
"""
"""As XLA writes programs for GPUs, whose gathers go on in the background."""


def test_sizes_groups_and_branches():
    permuted, reduced, gathered = collectives_in(ASYNC)
    assert permuted == ("collective-permute", 24, 1, 0, jax.device_count(), "")
    assert reduced == ("all-reduce", 64, 1, 0, 2, "")
    assert gathered == ("all-gather", 192, 1, 0, 8, "")
    assert (permuted.sent, reduced.sent, gathered.sent) == (24, 64, 168)


@pytest.mark.medium
def test_collectives_of_a_step_on_four_devices(monkeypatch):
    flags = "--xla_force_host_platform_device_count=4", os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "tests.driver.collectives_run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    step, block = ([Collective(*one) for one in part] for part in json.loads(done.stdout))
    found = totals(step)
    # A mean in each pass of the inner loop, and the loss; the Gram matrix needs all samples.
    assert found["all-reduce"] == (N_INNER + 1, 4 * (N_INNER * N_PARAMETERS + 1)), described(step)
    assert set(found) == {"all-reduce", "all-gather"}
    gathers = [one for one in step if one.kind == "all-gather"]
    assert {one.bytes for one in gathers} == {SAMPLES} and len(gathers) <= 2
    assert {one.devices for one in step} == {4} and {one.loops for one in step} == {0}
    assert gathers[0].sent == SAMPLES * 3 / 4 and "dot_general" in gathers[0].source
    assert totals(one for one in block if one.loops == 1) == found, described(block)
    assert all(one.loops == 1 for one in block), described(block)

"""Blocks keep to the device: what can be shown of programs for GPUs without one."""

import re

import jax
import numpy as np
import pytest

from ritz.driver.blocks.block import run_block
from ritz.driver.blocks.traced import Observers
from ritz.relax import Relaxation
from ritz.testing.collectives import _running
from tests.driver.noisy import NoisyDriver
from tests.mlip.many_devices import driver_of
from tests.relax.systems import argons, fire, lennard_jones

ON_DEVICE = re.compile(r"cu_\w+|cusolver_\w+|cublas\w*")
"""Calls of libraries that compute on GPUs."""


def lattice(name):
    pytest.importorskip("netket")
    from tests.lattice.many_devices import cases

    return cases()[name]()


def molecule(name):
    from tests.molecule.many_devices import cases

    return cases()[name]()[0]


def relaxing(**options):
    return Relaxation(argons(3), lennard_jones(), fire(), slots=2, **options)


DRIVERS = {
    "lattice, SR": lambda: lattice("SR"),
    "lattice, KFAC": lambda: lattice("KFAC"),
    "lattice, autoregressive": lambda: lattice("autoregressive, observables"),
    "lattice, TDVP": lambda: lattice("TDVP, adaptive"),
    "molecule, SPRING": lambda: molecule("SPRING"),
    "molecule, KFAC": lambda: molecule("KFAC"),
    "potential, KFAC": lambda: driver_of("kfac"),
    "potential, streamed": lambda: driver_of("streamed"),
    "committee": lambda: driver_of("committee"),
    "relaxation": relaxing,
}


def block_program(driver, platform="cuda"):
    """The block program as it is given to the compiler of a platform."""
    with _running(driver) as (kernel, carry):
        step = np.int32(0)
        traced = run_block.trace(kernel, Observers(driver.loss_name), carry, (), step, step)
        return traced.lower(lowering_platforms=(platform,)).as_text()


def called(program):
    """What a program calls that is not its own."""
    return set(re.findall(r"custom_call @([\w.$]+)", program))


@pytest.mark.medium
@pytest.mark.parametrize("name", DRIVERS)
def test_blocks_call_nothing_on_the_host(name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # what is chosen by it
    program = block_program(DRIVERS[name]())
    assert "stablehlo.while" in program
    assert not re.findall(r"stablehlo\.(infeed|outfeed|send|recv)\b", program)
    assert [call for call in called(program) if not ON_DEVICE.fullmatch(call)] == []


@pytest.mark.medium
def test_neighbour_lists_of_vesin_are_the_only_calls_of_the_host():
    (call,) = called(block_program(relaxing(neighbors="host"), "cpu"))
    assert "python_cpu_callback" in call
    assert not called(block_program(relaxing(neighbors="device"), "cpu"))


def test_members_are_side_by_side_on_gpus(monkeypatch):
    driver = driver_of("committee")
    assert driver.kernel.in_turn
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not driver.kernel.in_turn


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", ["nothing", "lattice, SR", "molecule, SPRING", "potential, streamed", "relaxation"]
)
def test_blocks_move_nothing_to_the_device(name):
    driver = NoisyDriver() if name == "nothing" else DRIVERS[name]()
    with _running(driver) as (kernel, carry):
        for leaf in jax.tree.leaves((kernel, carry)):  # a block takes none but numbers along
            assert isinstance(leaf, jax.Array) or np.size(leaf) == 1
        kernel, first, length = jax.device_put((kernel, np.int32(0), np.int32(3)))
        observers = Observers(driver.loss_name)
        with jax.transfer_guard("disallow"):
            block = jax.block_until_ready(run_block(kernel, observers, carry, (), first, length))
        assert int(block.length) in (1, 2, 3) and bool(block.finite)

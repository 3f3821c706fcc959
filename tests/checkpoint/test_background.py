"""The next block goes on while a checkpoint is copied, written and deleted."""

import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.checkpoint import Checkpoint, load
from ritz.checkpoint.folder import CheckpointFolder, Contents, read
from ritz.checkpoint.plain import Encoder, pack, unpack
from tests.checkpoint.test_checkpoint import go, names
from tests.driver.noisy import NoisyDriver, bits

PATIENCE = 20.0
"""Seconds after which the run is taken to wait for what waits for it."""


class Watched(NoisyDriver):
    """Counts the blocks that have begun."""

    def __init__(self):
        super().__init__()
        self.begun, self.n_begun = threading.Condition(), 0

    def begin_step(self, hooks):
        if self._replay is None:
            with self.begun:
                self.n_begun += 1
                self.begun.notify_all()
        super().begin_step(hooks)

    def goes_on(self, before):
        """Wait until more than `before` blocks have begun; False if the run waits instead."""
        with self.begun:
            return self.begun.wait_for(lambda: self.n_begun > before, PATIENCE)


@pytest.mark.parametrize("speculate", [True, False])
def test_blocks_do_not_wait_for_what_is_written_and_deleted(speculate, monkeypatch):
    driver, seen = Watched(), []
    go(driver, 5, Checkpoint("ck", every_steps=5))  # the first is waited for
    submit = CheckpointFolder._in_background

    def held(folder, action):
        before, is_last = driver.n_begun, driver.step_count >= 30

        def later():
            assert threading.current_thread() is not threading.main_thread()
            seen.append(is_last or driver.goes_on(before))
            action()

        submit(folder, later)

    monkeypatch.setattr(CheckpointFolder, "_in_background", held)
    saving = Checkpoint("ck", every_steps=5, max_to_keep=1)
    go(driver, 35, saving, speculate=speculate)
    assert len(seen) > 10 and all(seen)
    assert names() == ["00000035-end"]
    loaded = NoisyDriver()
    assert load("ck", loaded) == 35
    assert bits(loaded) == bits(driver) == bits(go(NoisyDriver(), 35, resume=False))


@pytest.mark.parametrize("speculate", [True, False])
def test_what_is_saved_is_the_state_of_its_step_though_blocks_go_on(speculate, monkeypatch):
    driver, waiting = NoisyDriver(), threading.Event()
    write = CheckpointFolder._write

    def late(folder, entry, contents):
        if entry.step > 1:
            waiting.wait(PATIENCE)  # until the run has gone on to the end
        write(folder, entry, contents)

    monkeypatch.setattr(CheckpointFolder, "_write", late)
    saving = Checkpoint("ck", every_steps=10, max_to_keep=None, save_on_stop=False)
    run_end = saving.on_run_end

    def on_run_end(step, driver):
        waiting.set()
        run_end(step, driver)

    monkeypatch.setattr(saving, "on_run_end", on_run_end)
    go(driver, 19, saving, speculate=speculate)
    loaded = NoisyDriver()
    assert load("ck/00000010", loaded) == 10
    assert bits(loaded) == bits(go(NoisyDriver(), 10, resume=False))


def test_arrays_of_the_device_are_under_way_and_others_copied(monkeypatch):
    sent = []
    kind = type(jnp.ones(1))
    send = kind.copy_to_host_async
    monkeypatch.setattr(
        kind, "copy_to_host_async", lambda self: (sent.append(self.shape), send(self))[1]
    )
    arrays, there, here = {}, jnp.arange(3.0), np.arange(2.0)
    Encoder(arrays).encode({"there": there, "key": jax.random.key(3), "here": here}, "x")
    here[:] = 7
    assert arrays["x.there"] is there and sent == [(3,), (2,)]
    packed = unpack(*pack(arrays))
    np.testing.assert_array_equal(packed["x.here"], [0, 1])
    np.testing.assert_array_equal(packed["x.there"], [0, 1, 2])


def test_folders_are_written_side_by_side():
    """Orbax numbers its operations for all threads together."""
    folders = [CheckpointFolder(Path(f"folder {number}")) for number in range(3)]
    for step in range(4):
        for number, folder in enumerate(folders):
            folder.save(step, False, Contents({"step": step}, {"x": jnp.full(3, number)}))
        for number, folder in enumerate(folders):
            folder.wait()
            found = read(folder.entries()[-1].path)
            assert found.manifest["step"] == step
            np.testing.assert_array_equal(found.arrays["x"], number)

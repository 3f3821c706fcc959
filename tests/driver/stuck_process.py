"""One of two processes of which one fails while the other waits: `PORT RANK CASE [FOLDER]`."""

import errno
import os
import sys
import time

import jax


def main():
    port, rank, case = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    from jax.experimental import multihost_utils

    from ritz.callbacks import AbstractCallback
    from ritz.driver.processes import watchdog
    from tests.driver.noisy import NoisyDriver

    watchdog.MEETING, watchdog.PATIENCE = 1.5, 3.0  # quicker than for people

    class Told(AbstractCallback):
        """Says what was told."""

        def is_live(self, step):
            return False

        def on_run_error(self, step, error, driver):
            print(f"told at step {step}: {error}", flush=True)

    class Together(Told):
        """Computes something on both processes, but fails on one of them at step 13."""

        def is_live(self, step):
            return True

        def on_step_end(self, step, log_data, driver):
            if step == 13 and rank == 1:
                if case == "killed":
                    os._exit(9)
                raise ValueError("broken on purpose")
            multihost_utils.process_allgather(jax.numpy.ones(step + 10))

    def full_disk(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    callbacks = [Together()]
    if case == "background":  # Orbax writes in a thread of its own, and waits for all processes
        from orbax.checkpoint._src.checkpointers import async_checkpointer

        from ritz.checkpoint import Checkpoint

        if rank == 1:
            async_checkpointer._background_wait_for_commit_futures = full_disk
        callbacks = [Told(), Checkpoint(sys.argv[4], every_steps=5)]
    driver = NoisyDriver()
    driver.run(3, show_progress=False)  # what takes long is compiled
    began = time.monotonic()
    try:
        driver.run(20, callback=callbacks, show_progress=False)
    finally:
        print(f"left after {time.monotonic() - began}")


if __name__ == "__main__":
    main()

"""One of two processes of which one fails while the other is busy: `PORT RANK CASE`."""

import os
import signal
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

    class Together(AbstractCallback):
        """Computes something on both processes, but fails on one of them at step 13."""

        def on_run_error(self, step, error, driver):
            print(f"told at step {step}: {error}", flush=True)

        def on_step_end(self, step, log_data, driver):
            if step == 13 and rank == 1:
                if case == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ValueError("broken on purpose")
            if step == 13 and case == "killed":
                time.sleep(100)  # something that no exception ends
            multihost_utils.process_allgather(jax.numpy.ones(step + 10))

    driver = NoisyDriver()
    driver.run(3, show_progress=False)  # what takes long is compiled
    began = time.monotonic()
    try:
        driver.run(20, callback=[Together()], show_progress=False)
    finally:
        print(f"left after {time.monotonic() - began}")


if __name__ == "__main__":
    main()

"""One of two processes of a lattice run: `PORT RANK WORLD FOLDER CASE`."""

import json
import os
import signal
import sys
from pathlib import Path

import jax


def main():
    port, rank, world, folder, case = sys.argv[1:6]
    if int(world) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(rank))
    from ritz.callbacks import LambdaCallback, Timeout
    from ritz.loggers import RuntimeLog
    from tests.checkpoint import lattice_run

    def act(step, log_data, driver):
        if case == "signal" and rank == "1" and step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    watch = LambdaCallback(on_step_end=act, live=False)
    driver, memory, said = lattice_run.make_driver(), RuntimeLog(), ""
    n_steps = {"longer": 60, "late": 5000}.get(case, 40)
    limit = Timeout(per_run=2.0 if rank == "0" else 1e9)
    more = [limit] if case == "late" else []
    try:
        lattice_run.run(
            Path(folder),
            n_steps,
            more=[watch, *more],
            driver=driver,
            out=[memory],
            max_block=4,
            accept_changes=["callbacks"],
        )
    except KeyboardInterrupt as error:
        said = str(error)
    digest = {"bits": lattice_run.parameters(driver)} if case != "late" else {}
    rows = lattice_run.rows(memory.data)
    Path(f"{folder}-{case}-{rank}.json").write_text(
        json.dumps(
            {
                "step": driver.step_count,
                "message": driver.stop_message,
                "said": said,
                "rows": rows,
                **digest,
            }
        )
    )


if __name__ == "__main__":
    main()

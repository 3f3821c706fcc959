"""A sweep as the command executes it, with stand-ins, which tells how it was interrupted."""

import json
import signal
import sys

from ritz.cli.interrupts import interruptible
from ritz.sweeps import execution, sweep
from ritz.sweeps.record import counts
from ritz.sweeps.running import present_outcomes
from tests.sweeps.test_sweep import plan_of


def main():
    folder, patience, content = sys.argv[1:]
    execution.PATIENCE = float(patience)
    plan = plan_of(folder, **json.loads(content))
    print("begins", flush=True)
    try:
        sweep(plan)
    except KeyboardInterrupt:
        print(counts(present_outcomes(plan)))
        raise
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored, whoever has begun it
    sys.exit(interruptible(main))

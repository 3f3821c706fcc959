"""A sweep of two runs that take long, which tells how it was interrupted."""

import signal
import sys

from ritz.sweeps import sweep
from tests.sweeps.test_sweep import plan_of

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored, whoever has begun it
    try:
        sweep(plan_of(sys.argv[1], vary={"x": [1, 2, 3]}, base={"sleep": 60}))
    except KeyboardInterrupt:
        print("interrupted")

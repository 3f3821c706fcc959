"""Runs with a bar, in a process of their own: in a pseudo-terminal of any width, or with a pipe."""

import logging
import sys
import time

from ritz.callbacks import AbstractCallback, ProgressBar, never_live
from ritz.testing import QuadraticDriver


class Acceptance(AbstractCallback):
    callback_order = -1
    is_live = never_live

    def before_parameter_update(self, step, log_data, driver):
        log_data["acceptance"] = 0.5
        time.sleep(0.005)
        if step == 20:
            logging.getLogger("ritz.driver.compiled").warning("the block program was compiled")


if __name__ == "__main__":
    if "--handler" in sys.argv:
        logging.basicConfig(format="%(message)s")
    callbacks = [Acceptance(), ProgressBar(min_interval=0.02)]
    QuadraticDriver(noise=0.1).run(40, callback=callbacks, show_progress=False)

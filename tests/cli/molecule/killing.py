"""A callback that kills its own process, for tests: `train.callbacks=[{class_path: ...}]`."""

import os
import signal
import time

from ritz.driver.callback import AbstractCallback, never_live
from ritz.folders.saved import entries


class KillAt(AbstractCallback):
    """Ends the process, as a crash would, when a step has ended.

    Args:
        step: The step; its row has been written then.
        saved: Whether to wait for a checkpoint of the stage, which is written in the background.
    """

    callback_order = 100
    decides = False
    is_live = never_live

    def __init__(self, step: int, saved: bool = False):
        self.step, self.saved = step, saved

    def on_step_end(self, step, log_data, driver):
        """Kill the process."""
        if step == self.step:
            folder = driver.working_dir / "checkpoints" / driver.stage_name
            while self.saved and not entries(folder):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

"""Whether all processes of a run see one folder."""

import contextlib
import secrets
import time
from pathlib import Path

import jax
import numpy as np

from ritz.checkpoint.folder import CheckpointError
from ritz.driver.processes.consensus import gather, is_single_process, together

PATIENCE = 5.0
"""Seconds within which other processes must see what one writes."""


def check_shared(folder: Path) -> None:
    """Make sure that `folder` is one and the same for all processes, which all call this.

    Raises:
        CheckpointError: On all processes, with those that see another folder.
    """
    if is_single_process():
        return
    writes = jax.process_index() == 0
    token = folder / f".shared-{gather((secrets.randbelow(2**31),))[0, 0]:010d}"
    with together(f"as it wrote into the checkpoint folder {folder}"):
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            token.touch()
    seen = gather((int(writes or _appears(token)),))[:, 0]
    if writes:
        token.unlink(missing_ok=True)
    others = ", ".join(map(str, np.flatnonzero(seen == 0)))
    if others:
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless something else is in it
        raise CheckpointError(
            f"the checkpoint folder {folder} of process 0 is not that of process {others} of "
            f"{len(seen)}: all must see the same one, so put it on a file system that all machines "
            "share and run all processes in the same folder, or give the full path."
        )


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

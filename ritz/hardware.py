"""The cores and GPUs that this process may use, without a look at them by JAX."""

import os
import subprocess

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_PATIENCE = 20
"""Seconds that `nvidia-smi` may take."""


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpus() -> list[str]:
    """The GPUs of this machine that may be used; empty if there are none, or only others'."""
    for name in _VISIBLE:
        given = os.environ.get(name)
        if given is not None:
            return [one for one in given.split(",") if one.strip() and one.strip() != "-1"]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()

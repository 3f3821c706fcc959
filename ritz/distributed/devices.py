"""Which GPUs of its machine a process uses."""

import os
from collections.abc import Mapping

from ritz.distributed.coordinates import Coordinates
from ritz.hardware import gpus


def local_device_ids(
    coordinates: Coordinates, environment: Mapping[str, str] = os.environ
) -> list[int] | None:
    """The GPUs of this process among those that it sees; None for all of them.

    The GPUs that the processes of a machine all see are divided among them, in equal shares: one
    for each process, all for a single one. Where there are fewer than processes, or Slurm was told
    how many each task has, the launcher has divided them already.

    Args:
        coordinates: The place of this process.
        environment: The environment variables.

    Raises:
        ValueError: If they cannot be divided equally.
    """
    n_processes, number = coordinates.local_processes, coordinates.local_id
    if n_processes in (None, 1) or number is None or _without_gpus(environment):
        return None
    if _are_bound(environment):
        return None
    n_gpus = len(gpus())
    if n_gpus < n_processes:
        return None
    share, rest = divmod(n_gpus, n_processes)
    if rest:
        raise ValueError(
            f"{n_processes} processes cannot share {n_gpus} GPUs equally; start 1 process on each "
            "machine, or one for each GPU, or give local_device_ids (JAX_LOCAL_DEVICE_IDS)."
        )
    return list(range(number * share, (number + 1) * share))


def _are_bound(environment: Mapping[str, str]) -> bool:
    """Whether Slurm lets each task see only its own GPUs."""
    binding = environment.get("SLURM_GPU_BIND")
    if binding is not None:
        return binding.lower() != "none"
    return "SLURM_GPUS_PER_TASK" in environment


def _without_gpus(environment: Mapping[str, str]) -> bool:
    platforms = environment.get("JAX_PLATFORMS", "")
    return bool(platforms) and not {"cuda", "rocm", "gpu"} & set(platforms.split(","))

"""Connects the processes of a run through `jax.distributed`."""

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ritz.checks import check_count, check_positive
from ritz.distributed.coordinates import Coordinates, find_coordinates
from ritz.distributed.devices import local_device_ids as ids_of
from ritz.distributed.launchers import HERE
from ritz.distributed.meeting import meet
from ritz.sockets import split

_logger = logging.getLogger("ritz")

PATIENCE = 300.0
"""Seconds that processes wait for each other by default."""


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: Sequence[int] | None = None,
    initialization_timeout: float = PATIENCE,
) -> Coordinates:
    """Make this process one of a run of several, as `jax.distributed.initialize` does.

    What is not given comes from environment variables and launchers, see `find_coordinates`. The
    processes wait for each other, and JAX connects them once all are there. With one process there
    is nothing to connect. On CPUs Gloo carries what is summed and gathered.

    Call it first of all, before anything asks JAX for devices, but after options of JAX that
    concern these, such as `jax_platforms`. Then every process runs the same program.

    Args:
        coordinator_address: HOST:PORT of process 0, as the others reach it; the port is free there.
        num_processes: Number of processes.
        process_id: Number of this process, from 0 on.
        local_device_ids: The GPUs of this process, as numbers among those that it sees. By default
            the processes of a machine divide its GPUs: one each, or all for a single process.
        initialization_timeout: Seconds to wait for the other processes.

    Returns:
        The place of this process.

    Raises:
        ValueError: If something is missing, wrong, or contradicts what others were given.
        TimeoutError: If some process does not come in time; on all that have come.
        ConnectionError: If the port is taken.
        RuntimeError: If JAX is in use already.
    """
    timeout = check_positive("initialization_timeout", initialization_timeout)
    own = find_coordinates(coordinator_address, num_processes, process_id)
    if own.num_processes == 1:
        _restrict(local_device_ids)
        return own
    _check_unused()
    devices = _checked(local_device_ids)
    if devices is None and "JAX_LOCAL_DEVICE_IDS" not in os.environ:
        devices = ids_of(own)
    address = meet(own, timeout)
    host, port = split(address)
    _bypass_proxies(host)
    config: Any = jax.config
    if config.jax_cpu_collectives_implementation is None:
        config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"{HERE}:{port}" if own.process_id == 0 else address,
        own.num_processes,
        own.process_id,
        local_device_ids=devices,
        cluster_detection_method="deactivate",
        initialization_timeout=max(int(timeout), 1),
    )
    with _silent_stdout():
        multihost_utils.process_allgather(np.zeros(8, np.int32))
    if own.process_id == 0:
        _logger.info("%s, which meet at %s.", _shared_by(own), address)
    return own


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Nothing on standard output, where Gloo writes that processes are connected."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C++ has in its buffer
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


def _shared_by(own: Coordinates) -> str:
    devices = jax.devices()
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    launcher = f" of {own.launcher}" if own.launcher else ""
    return (
        f"{own.num_processes} processes{launcher} with {len(devices)} devices ({kinds}) share the "
        "run"
    )


def _check_unused() -> None:
    from jax._src import xla_bridge  # there is no public way to ask

    if jax.distributed.is_initialized():
        raise RuntimeError("the processes are connected already; initialize only once.")
    if xla_bridge.backends_are_initialized():
        raise RuntimeError(
            "JAX has looked for devices already; call ritz.distributed.initialize() before "
            "anything that computes or asks for devices."
        )


def _checked(ids: Sequence[int] | None) -> list[int] | None:
    return None if ids is None else [check_count("local_device_ids", one, 0) for one in ids]


def _restrict(ids: Sequence[int] | None) -> None:
    """Let a single process see only some GPUs."""
    if ids is None:
        return
    visible = ",".join(str(check_count("local_device_ids", one, 0)) for one in ids)
    for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
        jax.config.update(name, visible)


def _bypass_proxies(host: str) -> None:
    """Reach process 0 directly, where environment variables name a proxy for the world outside."""
    if not any("_proxy" in name.lower() for name in os.environ):
        return
    known = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy", "")  # noqa: SIM112
    direct = ",".join(filter(None, [known, host, HERE, "localhost"]))
    os.environ["no_grpc_proxy"] = direct  # noqa: SIM112
    with contextlib.suppress(AttributeError):  # JAX has no such option any more
        jax.config.update("jax_check_proxy_envs", False)

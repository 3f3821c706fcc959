"""The processes of a run meet before JAX connects them.

JAX ends a process without an exception if others do not come in time, or if its port is taken, and
does not notice that two processes have one number. So process 0 listens on the port first, waits
until each of the others has come, and tells them what is wrong otherwise.
"""

import contextlib
import json
import socket
import time
from collections.abc import Collection, Iterator
from typing import Any

from ritz.distributed.coordinates import Coordinates
from ritz.sockets import listen, split

_EVERY = 0.2
"""Seconds between two tries to reach process 0."""
_CONNECTING = 3.0
"""Seconds that one connection may take."""
_LINGERING = 5.0
"""Seconds in which process 0, which knows that something is wrong, tells those who still come."""
_LONGEST = 4096
"""Bytes of a message."""
_STRANGER = "another program answers, or a run that has a process of this number already"
"""What may answer at the address of process 0 and not wait for this process."""
_MOST_NAMED = 8
"""Processes whose numbers a message lists."""


def meet(coordinates: Coordinates, timeout: float) -> str:
    """Wait until all processes are there.

    Args:
        coordinates: The place of this process.
        timeout: Seconds to wait.

    Returns:
        HOST:PORT of process 0, the port of which is free again.

    Raises:
        TimeoutError: If some do not come, on all that have come.
        ConnectionError: If process 0 finds no free port.
        ValueError: If a process has another number of processes, or the number of another one.
    """
    deadline = time.monotonic() + timeout
    if coordinates.process_id > 0:
        return _come(coordinates, deadline, timeout)
    with _listening(coordinates) as (listener, address):
        _receive_all(listener, address, coordinates, deadline, timeout)
    return address


@contextlib.contextmanager
def _listening(coordinates: Coordinates) -> Iterator[tuple[socket.socket, str]]:
    """A socket at the first address whose port is free, and that address."""
    for address in coordinates.addresses:
        try:
            listener = listen(split(address)[1], coordinates.num_processes)
        except OSError:
            continue
        with listener:
            yield listener, address
        return
    ports = sorted({split(address)[1] for address in coordinates.addresses})
    listed = ", ".join(map(str, ports))
    raise ConnectionError(
        f"port {listed} of this machine, {socket.gethostname()}, is taken, and process 0 cannot "
        "meet the others there. Give another one as coordinator_address=HOST:PORT "
        "(JAX_COORDINATOR_ADDRESS, or JAX_COORDINATOR_PORT), the same to all processes."
    )


def _receive_all(
    listener: socket.socket,
    address: str,
    coordinates: Coordinates,
    deadline: float,
    timeout: float,
) -> None:
    """Wait for the other processes, and tell them to go on, or what is wrong."""
    ranks: set[int] = set()
    wrong: list[str] = []
    came: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(TimeoutError):
            while len(came) < coordinates.num_processes - 1:
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                connection, (host, *_) = listener.accept()
                stack.enter_context(connection)
                said = _greet(connection, coordinates)
                if said is None:
                    continue
                came.append(connection)
                doubt = _doubt(said, host.removeprefix("::ffff:"), coordinates, ranks)
                if doubt:
                    wrong.append(doubt)
                    deadline = min(deadline, time.monotonic() + _LINGERING)
        error: Exception | None = None
        if wrong:
            error = ValueError(" ".join(wrong))
        elif len(came) < coordinates.num_processes - 1:
            error = TimeoutError(_absent(coordinates, address, ranks, timeout))
        verdict = {"go": True} if error is None else {"error": str(error), "late": not wrong}
        for connection in came:
            with contextlib.suppress(OSError):
                _send(connection, verdict)
        if error is not None:
            raise error


def _greet(connection: socket.socket, coordinates: Coordinates) -> dict[str, Any] | None:
    """What a process of this run says of itself; None for anybody else."""
    with contextlib.suppress(OSError):
        said = _read(connection)
        if said.get("ritz") is not None and said.get("job") == coordinates.job:
            _send(connection, {"here": True})
            return said if _read(connection).get("stays") else None  # it may have gone long ago
        _send(connection, {"other": True})
    return None


def _doubt(said: dict[str, Any], host: str, coordinates: Coordinates, ranks: set[int]) -> str:
    """What is wrong with the numbers of a process; empty if they fit, and its rank is noted."""
    size, rank = said.get("num_processes"), said.get("process_id", 0)
    if size != coordinates.num_processes:
        return (
            f"process 0 was given num_processes={coordinates.num_processes}, but process {rank} "
            f"on {host} num_processes={size}."
        )
    if rank in ranks or rank not in range(1, coordinates.num_processes):
        return f"process_id={rank} was given to two processes, one of them on {host}."
    ranks.add(rank)
    return ""


def _absent(coordinates: Coordinates, address: str, ranks: Collection[int], timeout: float) -> str:
    missing = [rank for rank in range(1, coordinates.num_processes) if rank not in ranks]
    listed = ", ".join(map(str, missing[:_MOST_NAMED])) + ", ..." * (len(missing) > _MOST_NAMED)
    which = f"process {listed}" if len(missing) == 1 else f"processes {listed}"
    return (
        f"{which} of {coordinates.num_processes} did not come to process 0 within {timeout:g} s. "
        f"All must be started with the same numbers, and reach {address}. A longer "
        "initialization_timeout waits longer."
    )


def _come(coordinates: Coordinates, deadline: float, timeout: float) -> str:
    """Go to process 0, and wait with it for the others; returns its address."""
    found: dict[str, str] = {}
    while time.monotonic() < deadline:
        for address in coordinates.addresses:
            answer = _ask(address, coordinates, timeout)
            if answer.get("go"):
                return address
            if "error" in answer:
                kind = TimeoutError if answer.get("late") else ValueError
                raise kind(answer["error"])
            found[address] = answer["found"]
        time.sleep(_EVERY)
    told = "; ".join(f"at {address} {what}" for address, what in found.items())
    raise TimeoutError(
        f"{coordinates} did not find process 0 within {timeout:g} s: {told}. Process 0 must run on "
        "that machine; or give coordinator_address=HOST:PORT to all processes. A longer "
        "initialization_timeout waits longer."
    )


def _ask(address: str, coordinates: Coordinates, timeout: float) -> dict[str, Any]:
    """What process 0 answers at an address, if it is there."""
    try:
        connection = socket.create_connection(split(address), timeout=_CONNECTING)
    except OSError as error:
        return {"found": f"nobody answers ({error.strerror or error})"}
    with connection:
        try:
            _send(
                connection,
                {
                    "ritz": 1,
                    "job": coordinates.job,
                    "num_processes": coordinates.num_processes,
                    "process_id": coordinates.process_id,
                },
            )
            if not _read(connection).get("here"):
                return {"found": _STRANGER}
            _send(connection, {"stays": True})
            connection.settimeout(timeout + _CONNECTING)
            return _read(connection) or {"found": "process 0 has gone"}
        except OSError:
            return {"found": _STRANGER}


def _send(connection: socket.socket, said: dict[str, Any]) -> None:
    connection.sendall(json.dumps(said).encode() + b"\n")


def _read(connection: socket.socket) -> dict[str, Any]:
    """One line; empty if it is none that a process of Ritz writes."""
    if connection.gettimeout() is None:
        connection.settimeout(_CONNECTING)
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

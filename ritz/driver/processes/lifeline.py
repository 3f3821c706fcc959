"""Notices at once that another process was killed.

A process that is killed says nothing, and JAX misses it only after minutes, unless the others
compute with it. So each process holds a connection to process 0, which the system closes when the
process ends, whatever ended it; a machine that is gone is missed by keepalive messages. Process 0
tells the others through the key-value store of `jax.distributed`. If process 0 itself is killed,
JAX ends the others.
"""

import atexit
import contextlib
import functools
import logging
import secrets
import selectors
import socket
import threading
import time
from typing import Any

import jax

from ritz.sockets import listen, split

_logger = logging.getLogger("ritz")

LOST, LEFT = "ritz/lost/failed", "ritz/lost/left"
"""Folders of the store with what is told of processes that were killed, and that have ended."""

_PLACE = "ritz/lifeline"
_BYE = b"bye\n"
_LONGEST = 128
"""Bytes that a process says at most."""
_CONNECTING = 10.0
_IDLE, _BETWEEN, _PROBES = 6, 3, 4
"""Seconds without a message, seconds between two probes, and their number until one is lost."""

_held: list[socket.socket] = []


@functools.cache
def tie() -> None:
    """Hold the connection from now on, or, on process 0, those of all others; in threads."""
    hold = _hold_all if jax.process_index() == 0 else _hold
    threading.Thread(target=hold, name="ritz lifeline", daemon=True).start()


def _state() -> Any:
    """Store and addresses of `jax.distributed`."""
    from jax._src import distributed  # there is no public way to the store

    return distributed.global_state


def _hold() -> None:
    """Connect to process 0, once it is there, and say when this process ends by itself."""
    state = _state()
    try:
        port, token = _found(state.client).split()
        host, _ = split(state.coordinator_address)
        line = socket.create_connection((host, int(port)), timeout=_CONNECTING)
        line.sendall(f"{token} {jax.process_index()}\n".encode())
    except Exception as error:  # JAX misses a lost process too, later
        _logger.info("Process 0 does not see whether this process is alive: %s", error)
        return
    _held.append(line)
    atexit.register(say_bye)


def _found(client: Any) -> str:
    """Where process 0 listens; it may come to its first run much later."""
    while True:
        try:
            return client.blocking_key_value_get(_PLACE, int(1000 * _CONNECTING))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def say_bye() -> None:
    """Say that this process is not killed, but ends."""
    for line in _held:
        with contextlib.suppress(OSError):
            line.sendall(_BYE)


def _hold_all() -> None:
    """Accept the others, and tell which of them are lost."""
    client, token = _state().client, secrets.token_hex(16)
    try:
        listener = listen(0, jax.process_count())
        client.key_value_set(_PLACE, f"{listener.getsockname()[1]} {token}")
    except Exception as error:
        _logger.info("The other processes cannot be watched: %s", error)
        return
    ends: list[None] = []
    atexit.register(ends.append, None)  # others end at their own times then
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while not ends:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    _accept(listener, selector)
                elif not _read(key.fileobj, key.data, token):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # pyright: ignore
                    if not ends:
                        _tell(client, bytes(key.data), token)


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        line, _ = listener.accept()
    except OSError:  # too many files are open, perhaps
        time.sleep(1.0)
        return
    with contextlib.suppress(OSError):
        _keep_alive(line)
    selector.register(line, selectors.EVENT_READ, bytearray())


def _keep_alive(line: socket.socket) -> None:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    names = {"TCP_KEEPIDLE": _IDLE, "TCP_KEEPINTVL": _BETWEEN, "TCP_KEEPCNT": _PROBES}
    for name, value in names.items():
        if hasattr(socket, name):  # not on all systems
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _read(line: Any, said: bytearray, token: str) -> bool:
    """Read what is there; False if the connection is closed, or is none of this run."""
    try:
        more = line.recv(_LONGEST)
    except OSError:
        more = b""
    said += more
    hello = f"{token} ".encode()
    return bool(more) and len(said) <= _LONGEST and bytes(said[: len(hello)]) == hello[: len(said)]


def _tell(client: Any, said: bytes, token: str) -> None:
    """Publish that a process has ended, from all that it ever said."""
    hello, _, rest = said.partition(b"\n")
    found, _, rank = hello.decode(errors="replace").partition(" ")
    if found != token:  # somebody else
        return
    who = f"process {rank} of {jax.process_count()}"
    folder, text = LOST, f"{who} was lost: it was killed, or its machine has failed"
    if rest == _BYE:
        folder, text = LEFT, f"{who} has ended"
    with contextlib.suppress(Exception):  # the store is gone
        client.key_value_set(f"{folder}/{rank}", text)

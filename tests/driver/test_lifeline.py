"""Process 0 notices who of the others is gone; here they are sockets, and the store is a dict."""

import contextlib
import socket
import threading
import time
import types

import jax
import pytest

from ritz.driver.processes import lifeline


@pytest.fixture
def store(monkeypatch):
    """What process 0 of three has published, while it watches."""
    found = {}
    client = types.SimpleNamespace(key_value_set=found.__setitem__)
    monkeypatch.setattr(lifeline, "_state", lambda: types.SimpleNamespace(client=client))
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    threading.Thread(target=lifeline._hold_all, daemon=True).start()
    wait_for(lambda: lifeline._PLACE in found)
    return found


def wait_for(met):
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connected(store, rank=None):
    """A process that has said who it is, or a stranger."""
    port, token = store[lifeline._PLACE].split()
    line = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
    if rank is not None:
        line.sendall(f"{token} {rank}\n".encode())
    return line


def test_lost_and_left_are_told_apart(store):
    first, second = connected(store, 1), connected(store, 2)
    second.sendall(lifeline._BYE)
    second.close()
    wait_for(lambda: f"{lifeline.LEFT}/2" in store)
    assert store[f"{lifeline.LEFT}/2"] == "process 2 of 3 has ended"
    assert f"{lifeline.LOST}/1" not in store
    first.close()
    wait_for(lambda: f"{lifeline.LOST}/1" in store)
    assert store[f"{lifeline.LOST}/1"].startswith("process 1 of 3 was lost: it was killed")


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"x" * 5000])
def test_strangers_are_sent_away_and_change_nothing(store, said):
    stranger, silent = connected(store), connected(store)
    stranger.sendall(said)
    with contextlib.suppress(ConnectionResetError):
        assert stranger.recv(1) == b""
    stranger.close()
    silent.close()
    connected(store, 2).close()
    wait_for(lambda: f"{lifeline.LOST}/2" in store)
    assert store.keys() == {lifeline._PLACE, f"{lifeline.LOST}/2"}


def test_a_connection_that_cannot_be_accepted_is_not_the_end(store, monkeypatch):
    accept, failed = socket.socket.accept, []

    def once(listener):
        if not failed:
            failed.append(listener)
            raise OSError("too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", once)
    connected(store, 2).close()
    wait_for(lambda: f"{lifeline.LOST}/2" in store)
    assert failed

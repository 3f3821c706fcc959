"""Processes come to process 0, which tells what is wrong; here they are threads."""

import json
import socket
import threading
import time

import pytest

from ritz.distributed import Coordinates
from ritz.distributed import meeting as meeting_module
from ritz.distributed.meeting import meet
from tests.arrangements import free_port


def meeting(*processes, timeout=2.0):
    """What came of each: the address, or the error."""
    results = [None] * len(processes)

    def go(place, one):
        try:
            results[place] = meet(one, timeout)
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=go, args=given) for given in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def process(rank, size, *ports, job="job"):
    return Coordinates(size, rank, tuple(f"127.0.0.1:{port}" for port in ports), job=job)


def test_all_come():
    port = free_port()
    assert meeting(*(process(rank, 4, port) for rank in (2, 0, 3, 1))) == [f"127.0.0.1:{port}"] * 4
    again = meeting(*(process(rank, 2, port) for rank in range(2)))
    assert again == [f"127.0.0.1:{port}"] * 2  # the port is free again


def test_one_that_does_not_come_is_named():
    port = free_port()
    found = meeting(process(0, 4, port), process(2, 4, port), timeout=0.5)
    assert all(isinstance(error, TimeoutError) for error in found)
    text = f"processes 1, 3 of 4 did not come to process 0 within 0.5 s. .* reach 127.0.0.1:{port}"
    for error in found:
        with pytest.raises(TimeoutError, match=text):
            raise error


def test_without_process_0():
    port = free_port()
    with pytest.raises(TimeoutError, match=rf"process 1 of 2 .* at 127.0.0.1:{port} nobody answ"):
        meet(process(1, 2, port), 0.3)


def test_numbers_that_do_not_fit():
    port = free_port()
    found = meeting(process(0, 3, port), process(1, 3, port), process(2, 4, port))
    assert all("process 2 on 127.0.0.1 num_processes=4" in str(error) for error in found)
    assert all(isinstance(error, ValueError) for error in found)
    found = meeting(process(0, 3, port), process(1, 3, port), process(1, 3, port))
    assert all("process_id=1 was given to two processes" in str(error) for error in found)


def test_a_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(meeting_module, "_CONNECTING", 0.5)
    taken, other = free_port(), free_port()
    with socket.create_server(("", taken)):
        with pytest.raises(ConnectionError, match=f"port {taken} of this machine, .*, is taken"):
            meet(process(0, 2, taken), 1)
        found = meeting(process(0, 2, taken, other), process(1, 2, taken, other), timeout=20)
        assert found == [f"127.0.0.1:{other}"] * 2


def test_two_runs_with_one_port_do_not_mix():
    """One waits at the port that the other has chosen too, and takes its second one."""
    first, second = free_port(), free_port()
    slow = threading.Thread(target=meeting, args=(process(0, 2, first, job="other"),))
    slow.start()
    time.sleep(0.2)
    found = meeting(*(process(rank, 2, first, second) for rank in range(2)), timeout=20)
    slow.join()
    assert found == [f"127.0.0.1:{second}"] * 2


def test_one_that_has_gone_again_does_not_count():
    """On a busy machine process 0 may accept a connection after the other end has given it up."""
    port = free_port()
    found = []
    first = threading.Thread(target=lambda: found.append(meet(process(0, 2, port), 20)))
    first.start()
    said = {"ritz": 1, "job": "job", "num_processes": 2, "process_id": 1}
    with connected(port) as connection:
        connection.sendall(json.dumps(said).encode() + b"\n")
    time.sleep(0.5)
    assert first.is_alive()
    assert meet(process(1, 2, port), 20) == f"127.0.0.1:{port}"
    first.join()
    assert found == [f"127.0.0.1:{port}"]


def connected(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_noise_is_ignored():
    port = free_port()

    def shout():
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"ritz": 1}\n', b""):
            time.sleep(0.05)
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(said)

    noise = threading.Timer(0.2, shout)
    noise.start()
    late = threading.Timer(0.6, meeting, args=(process(1, 2, port),))
    late.start()
    assert meet(process(0, 2, port), 20) == f"127.0.0.1:{port}"
    noise.join()
    late.join()

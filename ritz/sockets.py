"""Addresses and listening sockets."""

import errno
import socket


def join(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def listen(port: int, backlog: int) -> socket.socket:
    """A socket that other machines reach by IPv4 and IPv6, where there is both.

    Args:
        port: Its port; 0 for any that is free.
        backlog: How many may wait to be accepted.

    Raises:
        OSError: If the port is taken.
    """
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    return socket.create_server(("", port), backlog=backlog)

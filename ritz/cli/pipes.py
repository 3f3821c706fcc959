"""Output of the command into a pipe that is read in part only, as by `head`."""

import os
import select
import signal
import sys
from collections.abc import Callable


def until_closed(action: Callable[[], int]) -> int:
    """Do it, and end quietly once nobody reads what is printed.

    Args:
        action: What the command does; returns its exit status.

    Returns:
        Its status; that of SIGPIPE, 141, where the pipe was closed before all was printed.
    """
    try:
        try:
            status = action()
        except SystemExit:  # of --help, which prints too
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed():
            raise
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())  # Python writes the rest at its end
        os.close(nothing)
        return 128 + signal.SIGPIPE
    return status


def _is_closed() -> bool:
    """Whether it is standard output that nobody reads, and no other pipe."""
    try:
        look = select.poll()
        look.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in look.poll(0))
    except (OSError, ValueError):  # it is no file
        return False

"""How many programs XLA has compiled."""

import threading

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


class _Count(threading.local):
    """A number of each thread."""

    value = 0


_count = _Count()


def _note(event: str, duration_secs: float, **about: object) -> None:
    _count.value += event == _EVENT


jax.monitoring.register_event_duration_secs_listener(_note)


def n_compilations() -> int:
    """Number of compilations in this thread so far, with those taken from JAX's cache on disk."""
    return _count.value

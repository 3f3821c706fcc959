"""Commands that run as several processes: `--distributed`."""

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ritz.distributed import Coordinates

_NUMBERS = {"num_processes": int, "process_id": int, "initialization_timeout": float}
_OPTIONS = {
    "coordinator_address": "HOST:PORT of process 0, where no launcher tells it",
    "num_processes": "number of processes, where no launcher tells it",
    "process_id": "number of this process, from 0 on, where no launcher tells it",
    "initialization_timeout": "seconds that the processes wait for each other (300)",
}


def add_options(command: Any) -> None:
    """Add what says that several processes share the work; `split_options` takes it out again."""
    command.add_argument(
        "--distributed",
        action="store_true",
        help="several processes share the work, started by srun, mpirun or mpiexec",
    )
    for name, text in _OPTIONS.items():
        command.add_argument(f"--{name}", type=_NUMBERS.get(name, str), default=None, help=text)


def split_options(given: Sequence[str]) -> tuple[list[str], dict[str, Any] | None]:
    """Take the options out of a command line.

    Returns:
        The rest, and the arguments of `ritz.distributed.initialize`; None where one process works
        alone.

    Raises:
        ValueError: If a value is missing or no number.
    """
    rest: list[str] = []
    found: dict[str, Any] = {}
    is_shared = False
    waiting = list(given)
    while waiting:
        token = waiting.pop(0)
        name, equals, value = token.removeprefix("--").partition("=")
        if token == "--distributed":
            is_shared = True
        elif name in _OPTIONS and (equals or token.startswith("--")):
            if not equals and not waiting:
                raise ValueError(f"{name}: a value is missing; write it as --{name}=VALUE.")
            found[name] = _value(name, value if equals else waiting.pop(0))
        else:
            rest.append(token)
    return rest, found if is_shared or found else None


def _value(name: str, text: str) -> Any:
    kind = _NUMBERS.get(name, str)
    pattern = {int: r"-?\d+", float: r"\d*\.?\d+(e\d+)?", str: r".*"}[kind]
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{name} must be a number, but {text!r} was given.")
    return kind(text)


def is_told(error: BaseException) -> bool:
    """Whether another process has failed with the same error, and tells of it."""
    return error.__dict__.get("_told", False)


def is_first() -> bool:
    """Whether this process is the one that prints; JAX does not look for devices for that."""
    from jax._src import distributed  # `jax.process_index` looks for them

    return distributed.global_state.process_id == 0


@contextlib.contextmanager
def shared(name: str, options: dict[str, Any] | None) -> Iterator[None]:
    """Context manager around a command, which connects its processes first.

    Only process 0 says how it goes; the others tell their own errors.

    Args:
        name: The command, such as "lattice train".
        options: From `split_options`.

    Raises:
        ValueError: If the processes are not found, or cannot share this command.
        SystemExit: If another process has failed.
    """
    if options is None:
        yield
        return
    from ritz.distributed import find_coordinates, initialize  # which imports JAX

    place = {k: v for k, v in options.items() if k != "initialization_timeout"}
    own = find_coordinates(**place)
    with _quiet(own):
        initialize(**options)
        with _failing_together(own, name):
            yield


@contextlib.contextmanager
def _quiet(own: "Coordinates") -> Iterator[None]:
    """No progress and no warnings of other processes than the first."""
    if own.process_id == 0:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _failing_together(own: "Coordinates", name: str) -> Iterator[None]:
    """An error of one process reaches the others, where they come to a decision."""
    if own.num_processes == 1:
        yield
        return
    from jax.errors import JaxRuntimeError

    from ritz.driver.processes.consensus import Failure, OtherProcessFailed, announce
    from ritz.driver.processes.watchdog import guard_command, told_by_others

    try:
        with guard_command():
            yield
    except OtherProcessFailed as error:
        raise SystemExit(told_by_others() or str(error)) from error
    except BaseException as error:
        with contextlib.suppress(OtherProcessFailed):
            announce(Failure(error, f"in ritz {name}"))
        # A process that has lost another one in a computation knows of its error only so.
        told = told_by_others() if isinstance(error, JaxRuntimeError) else ""
        if told:
            raise SystemExit(told) from error
        raise

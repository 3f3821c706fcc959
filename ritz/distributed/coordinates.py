"""How many processes a run has, which of them this one is, and where they meet."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from ritz.checks import check_count
from ritz.distributed.launchers import HERE, LOOKED_FOR, LauncherInfo, find_launcher, ports_of
from ritz.sockets import join

_VARIABLES = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
"""The environment variables that stand for arguments."""
_EXAMPLE = "coordinator_address=node1:61500 num_processes=2 process_id=0 (or 1)"


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """The place of this process among those of its run.

    Args:
        num_processes: Number of processes.
        process_id: Number of this process, from 0 on.
        addresses: Where process 0 may be met, as HOST:PORT, to be tried in turn; empty for one
            process.
        launcher: Who told; empty if they were given.
        job: What tells these processes from those of other jobs; empty if they were given.
        local_processes: Number of processes on this machine, where it is known.
        local_id: Number of this process among them, where it is known.
    """

    num_processes: int
    process_id: int
    addresses: tuple[str, ...] = ()
    launcher: str = ""
    job: str = ""
    local_processes: int | None = None
    local_id: int | None = None

    def __str__(self) -> str:
        return f"process {self.process_id} of {self.num_processes}"


def find_coordinates(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Coordinates:
    """Find the place of this process, from what is given, or else from its launcher.

    An argument that is not given is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES or
    JAX_PROCESS_ID, and then from the launcher: `srun`; `mpirun` of Open MPI; `mpiexec` of MPICH,
    Intel MPI or Cray; JAX's own detection of Kubernetes and TPUs. JAX_COORDINATOR_PORT chooses the
    port only.

    Args:
        coordinator_address: HOST:PORT of process 0, as the other processes reach it.
        num_processes: Number of processes.
        process_id: Number of this process, from 0 on.
        environment: The environment variables.

    Raises:
        ValueError: If something is missing, wrong or contradicts the launcher.
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    for name, variable in _VARIABLES.items():
        if given[name] is None and variable in environment:
            given[name] = environment[variable]
    address = _checked_address(given["coordinator_address"])
    size, rank = (_whole(name, given[name]) for name in ("num_processes", "process_id"))
    if size == 1 and rank is None:
        rank = 0
    if size is not None and rank is not None:
        _check_range(size, rank)
        if address or size == 1:
            return Coordinates(size, rank, address)
    info = find_launcher(environment)
    if info is None:
        raise ValueError(_missing(given))
    for name, mine, theirs in (
        ("num_processes", size, info.num_processes),
        ("process_id", rank, info.process_id),
    ):
        if mine not in (None, theirs):
            raise ValueError(
                f"{name}={mine} was given, but {info.launcher} has started process "
                f"{info.process_id} of {info.num_processes}. Leave out {name}, or give "
                f"all of {', '.join(_VARIABLES)}."
            )
    return _from_launcher(info, address, environment)


def _from_launcher(
    info: LauncherInfo, address: tuple[str, ...], environment: Mapping[str, str]
) -> Coordinates:
    _check_range(info.num_processes, info.process_id)
    addresses = address
    if info.num_processes > 1 and not address:
        if not info.hosts:
            raise ValueError(
                f"{info.launcher} does not tell on which machine process 0 runs. Give "
                "coordinator_address=HOST:PORT to all processes, with that machine and a port "
                "that is free there."
            )
        port = _whole("JAX_COORDINATOR_PORT", environment.get("JAX_COORDINATOR_PORT"))
        ports: Sequence[int] = [port] if port else ports_of(info.job)
        addresses = tuple(join(host, number) for number in ports for host in info.hosts)
    return Coordinates(
        info.num_processes,
        info.process_id,
        addresses,
        info.launcher,
        info.job,
        info.local_processes,
        info.local_id,
    )


def _checked_address(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    host, colon, port = str(given).rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(
            f"coordinator_address must be HOST:PORT, such as node1:61500 or {HERE}:61500, but "
            f"{given!r} was given."
        )
    return (str(given),)


def _whole(name: str, given: object) -> int | None:
    if isinstance(given, str):
        if not given.strip().isdigit():
            name = f"{name} ({_VARIABLES[name]})" if name in _VARIABLES else name
            raise ValueError(f"{name} must be a whole number, but {given!r} was given.")
        given = int(given)
    return None if given is None else check_count(name, given, int(name == "num_processes"))


def _check_range(size: int, rank: int) -> None:
    if not 0 <= rank < size:
        raise ValueError(
            f"process_id must be a whole number from 0 to num_processes - 1, but process_id={rank} "
            f"and num_processes={size} were given."
        )


def _missing(given: Mapping[str, object]) -> str:
    names = [name for name in _VARIABLES if given[name] is None]
    known = [name for name in _VARIABLES if given[name] is not None]
    looked = "; ".join(f"{launcher} ({name})" for launcher, name in LOOKED_FOR.items())
    if known:
        return (
            f"{' and '.join(known)} {'is' if len(known) == 1 else 'are'} given without "
            f"{' and '.join(names)}, and no launcher was found that tells the rest: "
            f"{looked}. Give all three, as in {_EXAMPLE}."
        )
    return (
        "no launcher was found that tells how many processes there are. Looked for were: "
        f"{looked}. In a container they must be passed on. To start processes by hand, give each "
        f"of them {_EXAMPLE}, or {', '.join(_VARIABLES.values())}."
    )

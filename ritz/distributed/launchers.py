"""What launchers of processes tell by environment variables."""

import contextlib
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

Environment = Mapping[str, str]

HERE = "127.0.0.1"
"""Where all processes of one machine meet."""

LOOKED_FOR = {
    "Slurm's srun": "SLURM_PROCID with SLURM_STEP_NODELIST",
    "Open MPI's mpirun": "OMPI_COMM_WORLD_RANK",
    "mpiexec of MPICH, Intel MPI or Cray": "PMI_RANK with PMI_SIZE",
}
"""Launchers that are known, and by which variable."""

_PORTS = range(61440, 65536)
"""Above the ports that Linux gives to outgoing connections."""
_N_PORTS = 4
"""Ports that are tried one after the other, as others may have taken some."""
_MPIEXEC = ("hydra_pmi_prox", "pmi_proxy", "mpiexec")
"""Beginnings of the names of processes that start those of a run; Linux cuts names."""


class LauncherInfo(NamedTuple):
    """What a launcher tells one of its processes."""

    launcher: str
    """The program, for messages, such as "Slurm"."""
    num_processes: int
    """Number of processes."""
    process_id: int
    """Number of this process, from 0 on."""
    local_processes: int | None = None
    """Number of processes on this machine; None if that is not told."""
    local_id: int | None = None
    """Number of this process among them; None if that is not told."""
    hosts: tuple[str, ...] = ()
    """Addresses of the machine of process 0; empty if that is not told."""
    job: str = ""
    """What tells these processes from those of other jobs."""


def find_launcher(environment: Environment) -> LauncherInfo | None:
    """What the launcher of this process tells; None if there was none.

    MPI's launchers come before Slurm, since they start their processes by it in its jobs.

    Raises:
        ValueError: If the variables cannot be understood, or belong to a batch script of Slurm that
            is to start several processes.
    """
    for found_by in (_open_mpi, _hydra, _slurm_step, _pmi, _slurm_batch, _jax):
        found = found_by(environment)
        if found is not None:
            return found
    return None


def ports_of(job: str) -> list[int]:
    """The ports on which processes of a job may meet, the same ones in each of them."""
    first = zlib.crc32(job.encode())
    return [_PORTS[(first + 997 * number) % len(_PORTS)] for number in range(_N_PORTS)]


def _number(environment: Environment, name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, but it is {text!r}.") from None


def _open_mpi(environment: Environment) -> LauncherInfo | None:
    """`mpirun` of Open MPI 4 (with ORTE) and 5 (with PRRTE)."""
    size = _number(environment, "OMPI_COMM_WORLD_SIZE")
    rank = _number(environment, "OMPI_COMM_WORLD_RANK")
    if size is None or rank is None:
        return None
    local = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    space = environment.get("PMIX_NAMESPACE", "")
    hosts: tuple[str, ...] = ()
    if local == size:
        hosts = (HERE,)
    elif uri:
        hosts = _hosts_of_uri(uri)
    elif launched_on := re.fullmatch(r"[^-]+-(.+)-\d+@\d+", space):  # prterun-HOST-PROCESS@JOB
        hosts = (launched_on[1],)
    return LauncherInfo(
        "Open MPI",
        size,
        rank,
        local,
        _number(environment, "OMPI_COMM_WORLD_LOCAL_RANK"),
        hosts or _first_host(environment),
        f"{_batch_job(environment)} {uri.partition(';')[0] or space}",
    )


def _hosts_of_uri(uri: str) -> tuple[str, ...]:
    """The addresses in `JOB.0;tcp://10.0.0.1,10.1.0.1:34911` or `...;tcp6://[fe80::1]:4370`."""
    found: list[str] = []
    for part in uri.split(";")[1:]:
        if listed := re.match(r"tcp6?://\[?([^\[\]]+?)\]?:\d+$", part):
            found += listed[1].split(",")
    return tuple(found)


def _hydra(environment: Environment) -> LauncherInfo | None:
    """`mpiexec` of MPICH and Intel MPI."""
    return _pmi(environment) if "MPI_LOCALNRANKS" in environment else None


def _pmi(environment: Environment) -> LauncherInfo | None:
    """Launchers that give their processes numbers by PMI, Cray's PALS among them."""
    size, rank = _number(environment, "PMI_SIZE"), _number(environment, "PMI_RANK")
    if size is None or rank is None:
        return None
    local, local_id = (
        next(filter(lambda n: n is not None, (_number(environment, name) for name in names)), None)
        for names in (
            ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE", "PALS_LOCAL_SIZE"),
            ("MPI_LOCALRANKID", "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID"),
        )
    )
    is_here = local == size
    hosts = (HERE,) if is_here else _first_host(environment)
    number = environment.get("PALS_APID") or (_mpiexec_here() if is_here else "")
    return LauncherInfo(
        "mpiexec", size, rank, local, local_id, hosts, f"{_batch_job(environment)} {number}"
    )


def _mpiexec_here() -> str:
    """The number of the process of `mpiexec` that has started this one; empty if none is found."""
    process = os.getppid()
    with contextlib.suppress(OSError, ValueError, IndexError):
        while process > 1:
            status = Path(f"/proc/{process}/stat").read_text()
            name, _, rest = status.partition("(")[2].rpartition(")")
            if name.startswith(_MPIEXEC):
                return str(process)
            process = int(rest.split()[1])
    return ""


def _slurm_step(environment: Environment) -> LauncherInfo | None:
    """`srun`."""
    rank = _number(environment, "SLURM_PROCID")
    nodes = environment.get("SLURM_STEP_NODELIST")
    size = _number(environment, "SLURM_STEP_NUM_TASKS")
    if size is None:
        size = _number(environment, "SLURM_NTASKS")
    if nodes is None or rank is None or size is None:
        return None
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    is_one_node = (_number(environment, "SLURM_STEP_NUM_NODES") or 0) == 1
    return LauncherInfo(
        "Slurm",
        size,
        rank,
        size if is_one_node else _tasks_of_node(environment),
        _number(environment, "SLURM_LOCALID"),
        (HERE,) if is_one_node else (first_of_nodes(nodes),),
        ".".join(environment.get(name, "") for name in names),
    )


def _tasks_of_node(environment: Environment) -> int | None:
    """Tasks on this node, from a list such as `4(x2),3`."""
    node = _number(environment, "SLURM_NODEID")
    counts: list[int] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        if found := re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip()):
            counts += [int(found[1])] * int(found[2] or 1)
    return counts[node] if node is not None and node < len(counts) else None


def first_of_nodes(nodes: str) -> str:
    """The first of Slurm's nodes: `node007` of `node[007,009-012],other3`."""
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes).partition(",")[0]


def _slurm_batch(environment: Environment) -> LauncherInfo | None:
    """The batch script of a job of Slurm, which starts its processes by `srun`.

    Raises:
        ValueError: If the job has several tasks.
    """
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return None
    size = _number(environment, "SLURM_NTASKS") or _number(environment, "SLURM_JOB_NUM_NODES") or 1
    if size == 1:
        return LauncherInfo("Slurm", 1, 0, 1, 0, (HERE,), job)
    raise ValueError(
        f"this is the batch script of Slurm's job {job}, or a shell in it, and not one of its "
        f"{size} tasks: put `srun` before the command, which starts it as often."
    )


def _jax(environment: Environment) -> LauncherInfo | None:
    """Kubernetes and TPUs, which JAX knows itself."""
    known = ("KUBERNETES_SERVICE_HOST", "TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")
    if not any(name in environment for name in known):
        return None
    from jax._src.clusters import ClusterEnv  # there is no public way to them

    for kind in ClusterEnv._cluster_types:
        if not kind.opt_in_only_method and kind.is_env_present():
            host = kind.get_coordinator_address(60, None).rpartition(":")[0]
            return LauncherInfo(
                kind.name, kind.get_process_count(), kind.get_process_id(), hosts=(host,)
            )
    return None


def _batch_job(environment: Environment) -> str:
    """Name of the job of the queue, whichever it is."""
    names = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "COBALT_JOBID")
    found = (environment.get(name) for name in names)
    user = os.getuid() if hasattr(os, "getuid") else 0
    return next(filter(None, found), f"user {user}")


def _first_host(environment: Environment) -> tuple[str, ...]:
    """The machine on which a job of a queue begins, where MPI puts process 0."""
    if nodes := environment.get("SLURM_JOB_NODELIST"):
        return (first_of_nodes(nodes),)
    for name in ("PBS_NODEFILE", "LSB_DJOB_HOSTFILE", "PE_HOSTFILE"):
        file = Path(environment.get(name, ""))
        if file.is_file() and (words := file.read_text().split()):
            return (words[0],)
    return tuple(environment.get("LSB_HOSTS", "").split()[:1])

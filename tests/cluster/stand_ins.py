"""Stand-ins for the programs of queues and launchers, which run everything on this machine.

`installed` puts them on PATH. They take the options that the scripts give them, and set the
variables that the real programs set. A job runs in the background, as in a queue; its processes
are found by a variable in their environment, as those of a real job are by their control group.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = (
    "sbatch", "srun", "scontrol", "squeue", "scancel", "qsub", "qdel", "bsub", "bkill", "mpirun",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
FIRST = 4711
"""The first number of a job."""
HOSTS = "localhost,localhost.localdomain"


def installed(folder):
    """The environment in which the stand-ins are found, with `ritz` and a folder for their jobs."""
    folder.mkdir()
    programs = {name: f"-m tests.cluster.stand_ins {name}" for name in PROGRAMS}
    for name, what in {**programs, "ritz": "-m ritz"}.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} {what} "$@"\n')
        file.chmod(0o755)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "OMPI", "PMI"))},
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "STAND_INS": str(folder),
    }


def job_folder(number):
    return Path(os.environ["STAND_INS"]) / "jobs" / str(number)


def processes_of(number):
    """The processes of a job, wherever in the tree they are."""
    mark = f"STAND_IN_JOB={job_folder(number)}".encode()  # numbers are those of one folder
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                yield int(place.name)


def end_job(number, patience=5.0):
    """SIGTERM to all processes of a job, and then SIGKILL."""
    deadline = time.monotonic() + patience
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for process in processes_of(number):
            with contextlib.suppress(OSError):
                os.kill(process, sent)
        while sent is signal.SIGTERM and time.monotonic() < deadline and any(processes_of(number)):
            time.sleep(0.1)


def options_of(words, short):
    """Options as `--name=value`, `--name` and `-x value`, and what follows them."""
    found, rest = {}, list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if name in short:
            name, value = short[name], rest.pop(0)
        found[name] = value if equals or value else "yes"
    return found, rest


SBATCH = {
    "J": "job-name", "o": "output", "e": "error", "p": "partition", "n": "ntasks", "t": "time",
}  # fmt: skip


def sbatch(words):
    given, (script, *arguments) = options_of(words, SBATCH)
    text = Path(script).read_text()
    directives = {}
    for line in re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE):
        directives |= options_of(shlex.split(line, comments=True), SBATCH)[0]
    options = {**directives, **given}
    first, _, last = options.get("array", "").partition("%")[0].partition("-")
    tasks = range(int(first), int(last) + 1) if last else [None]
    runner = submitted(text, {"arguments": arguments, "options": options, "tasks": [*tasks]})
    sys.stdout.write(f"Submitted batch job {runner.number}\n")
    sys.stdout.flush()
    return runner.process.wait() if "wait" in options else 0


def qsub(words):
    where = {"queue": "PBS", "submitted_from": os.getcwd()}
    runner = submitted(Path(words[-1]).read_text(), where)
    sys.stdout.write(f"{runner.number}.head\n")
    return 0


def bsub(words):
    text = Path(words[-1]).read_text() if words else sys.stdin.read()
    runner = submitted(text, {"queue": "LSF"})
    sys.stdout.write(f"Job <{runner.number}> is submitted to default queue <normal>.\n")
    return 0


class submitted:
    """A job in the background."""

    def __init__(self, script, description):
        number = FIRST
        while True:
            with contextlib.suppress(FileExistsError):
                job_folder(number).mkdir(parents=True)
                break
            number += 1
        self.number = number
        (job_folder(number) / "script").write_text(script)
        (job_folder(number) / "job.json").write_text(json.dumps(description))
        with open(f"job-{number}.out", "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__ if __name__ != "__main__" else __spec__.name,
                 "job", str(number)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip


def job(words):
    """Run a job to its end, as often as it is put in the queue again."""
    number = words[0]
    description = json.loads((job_folder(number) / "job.json").read_text())
    statuses = []
    for place, task in enumerate(description.get("tasks", [None])):
        variables = variables_of(number, description)
        if task is not None:
            array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task)}
            variables |= array | {"SLURM_JOB_ID": str(int(number) + place)}
        statuses.append(run_script(number, description, variables))
    return max(statuses)


def variables_of(number, description):
    if description.get("queue") == "PBS":
        nodes = job_folder(number) / "nodes"
        nodes.write_text("localhost\n")
        return {
            "PBS_JOBID": f"{number}.head", "PBS_NODEFILE": str(nodes),
            "PBS_O_WORKDIR": description["submitted_from"],
        }  # fmt: skip
    if description.get("queue") == "LSF":
        return {"LSB_JOBID": number, "LSB_HOSTS": "localhost"}
    options = description["options"]
    nodes = int(options.get("nodes", 1))
    tasks = int(options.get("ntasks") or nodes * int(options.get("ntasks-per-node", 1)))
    return {
        "SLURM_JOB_ID": number, "SLURM_NTASKS": str(tasks), "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_JOB_NODELIST": HOSTS if nodes == 2 else "localhost", "SLURM_PROCID": "0",
        "SLURM_CPUS_PER_TASK": options.get("cpus-per-task", "1"),
    }  # fmt: skip


def run_script(number, description, variables):
    folder = job_folder(number)
    restarts = 0
    while True:
        environment = {**os.environ, **variables, "STAND_IN_JOB": str(folder)}
        if restarts:
            environment["SLURM_RESTART_COUNT"] = str(restarts)
        line = ["bash", str(folder / "script"), *description.get("arguments", [])]
        home = folder if description.get("queue") == "PBS" else None  # where PBS begins
        script = subprocess.Popen(line, env=environment, cwd=home)
        while script.poll() is None and not (folder / "requeue").exists():
            if (folder / "cancel").exists():
                end_job(number)
                script.wait()
                return 1
            if (folder / "expire").exists():
                announce_end(folder, description["options"].get("signal", ""), script.pid)
                (folder / "expire").unlink()
            time.sleep(0.05)
        if not (folder / "requeue").exists():
            return script.wait()
        (folder / "requeue").unlink()
        end_job(number)
        script.wait()
        restarts += 1


def announce_end(folder, wanted, script):
    """What `--signal=[B:]NAME@SECONDS` asks for."""
    to_script, name = re.fullmatch(r"(B:)?(\w+)@\d+", wanted).groups()
    tasks = [int(line) for line in (folder / "tasks").read_text().split()]
    for process in [script] if to_script else tasks:
        os.kill(process, getattr(signal, f"SIG{name}"))


def srun(words):
    given, line = options_of(words, SBATCH)
    number = os.environ["SLURM_JOB_ID"]
    n = int(given.get("ntasks", os.environ["SLURM_NTASKS"]))
    nodes = min(n, int(os.environ["SLURM_JOB_NUM_NODES"]))
    a_node = -(-n // nodes)
    step = {
        "SLURM_NTASKS": n, "SLURM_STEP_NUM_TASKS": n, "SLURM_STEP_NUM_NODES": nodes,
        "SLURM_STEP_ID": 0, "SLURM_STEP_NODELIST": os.environ["SLURM_JOB_NODELIST"],
        "SLURM_STEP_TASKS_PER_NODE": f"{a_node}(x{nodes})",
    }  # fmt: skip
    tasks = [
        {**step, "SLURM_PROCID": i, "SLURM_LOCALID": i % a_node, "SLURM_NODEID": i // a_node}
        for i in range(n)
    ]
    return started(line, tasks, job_folder(number) / "tasks")


def mpirun(words):
    """Open MPI 5."""
    given, line = options_of(words, {"n": "n", "np": "n"})
    n = int(given["n"])
    shared = {
        "OMPI_COMM_WORLD_SIZE": n, "OMPI_COMM_WORLD_LOCAL_SIZE": n, "PRTE_LAUNCHED": 1,
        "PMIX_NAMESPACE": f"prterun-localhost-{os.getpid()}@1",
    }  # fmt: skip
    names = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_RANK")
    return started(line, [{**shared, **dict.fromkeys(names, i)} for i in range(n)])


def started(line, places, note=None):
    """Start a process at each place, end all if one fails, and return the worst status."""
    processes = []
    for place in places:
        more = {name: str(value) for name, value in place.items()}
        processes.append(subprocess.Popen(line, env={**os.environ, **more}))
    if note is not None and note.parent.is_dir():
        note.write_text("".join(f"{process.pid}\n" for process in processes))
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            time.sleep(20)  # they end by themselves
            for process in processes:
                process.kill()
        time.sleep(0.05)
    codes = [process.wait() for process in processes]
    return max(code if code >= 0 else 128 - code for code in codes)


def scontrol(words):
    command, number = words
    options = json.loads((job_folder(number) / "job.json").read_text())["options"]
    if command != "requeue" or "requeue" not in options:
        sys.stderr.write("Requested operation is presently disabled\n")
        return 1
    (job_folder(number) / "requeue").touch()
    return 0


def squeue(words):
    sys.stdout.write("UNLIMITED\n")
    return 0


def scancel(words):
    number = words[-1].partition(".")[0]
    (job_folder(number) / "cancel").touch()
    return 0


qdel = bkill = scancel


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](sys.argv[2:]))

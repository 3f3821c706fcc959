"""What launchers tell, and what is given beside."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ritz.distributed import find_coordinates
from ritz.distributed.devices import local_device_ids
from ritz.distributed.launchers import first_of_nodes

ROOT = Path(__file__).parents[2]
SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "node[007-009]",
    "SLURM_STEP_NUM_NODES": "3", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_NODEID": "1",
    "SLURM_NTASKS": "5", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}  # fmt: skip
PRRTE = {**OPEN_MPI, "PMIX_NAMESPACE": "prterun-gpu-01-4242@1", "PMIX_RANK": "2"}
ORTE = {**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.0.0.1,10.1.0.1:34911"}
HYDRA = {"PMI_SIZE": "4", "PMI_RANK": "1", "MPI_LOCALNRANKS": "4", "MPI_LOCALRANKID": "1"}


def found(environment, *given, **more):
    return find_coordinates(*given, **more, environment=environment)


def hosts(one):
    return list(dict.fromkeys(address.rpartition(":")[0] for address in one.addresses))


def place(one):
    return one.launcher, one.num_processes, one.process_id, one.local_processes, one.local_id


def test_a_step_of_slurm():
    one = found(SLURM)
    assert place(one) == ("Slurm", 5, 3, 2, 1) and hosts(one) == ["node007"]
    assert str(one) == "process 3 of 5"
    alone = found({**SLURM, "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "node9"})
    assert hosts(alone) == ["127.0.0.1"] and alone.local_processes == 5
    part_of_job = found({**SLURM, "SLURM_STEP_NUM_TASKS": "4"})
    assert part_of_job.num_processes == 4


def test_ports_are_those_of_one_step():
    ports = [int(address.rpartition(":")[2]) for address in found(SLURM).addresses]
    assert len(set(ports)) == 4 and all(61440 <= port < 65536 for port in ports)
    assert found({**SLURM, "SLURM_PROCID": "0"}).addresses == found(SLURM).addresses
    for name in ("SLURM_STEP_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        other = found({**SLURM, name: "2"})
        assert other.addresses != found(SLURM).addresses and other.job != found(SLURM).job
    chosen = found({**SLURM, "JAX_COORDINATOR_PORT": "50123"})
    assert chosen.addresses == ("node007:50123",)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node7", "node7"), ("node7,other3", "node7"), ("node[007,009-012],other3", "node007"),
     ("rack[1-2]node[01-16]", "rack1node01"), ("n[3-4]-ib,m1", "n3-ib")],
)  # fmt: skip
def test_the_first_node(nodes, first):
    assert first_of_nodes(nodes) == first


def test_a_batch_script_of_slurm():
    batch = {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_NODEID": "0"}
    assert found(batch).num_processes == 1
    for name in ("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"):
        with pytest.raises(ValueError, match=r"not one of its 4 tasks: put `srun` before"):
            found({**batch, name: "4"})
    by_hand = found({**batch, "SLURM_NTASKS": "4"}, "a:61500", 2, 1)
    assert by_hand.num_processes == 2 and by_hand.launcher == ""


def test_mpirun_of_open_mpi():
    one = found(PRRTE)
    assert place(one) == ("Open MPI", 4, 2, 2, 0) and hosts(one) == ["gpu-01"]
    assert hosts(found(ORTE)) == ["10.0.0.1", "10.1.0.1"]
    uri = "1314521088.0;tcp://10.0.0.1:5;tcp6://[fe80::b9b,2620:10d::2]:43370"
    both = found({**ORTE, "OMPI_MCA_orte_hnp_uri": uri})
    assert hosts(both) == ["10.0.0.1", "[fe80::b9b]", "[2620:10d::2]"]
    assert hosts(found({**PRRTE, "OMPI_COMM_WORLD_LOCAL_SIZE": "4"})) == ["127.0.0.1"]


def test_mpi_in_a_job_of_slurm():
    """Its daemons are a step of Slurm, whose numbers are not those of the processes."""
    daemon = {**SLURM, "SLURM_NTASKS": "3", "SLURM_PROCID": "1"}
    assert place(found({**daemon, **PRRTE}))[:3] == ("Open MPI", 4, 2)
    assert place(found({**daemon, **HYDRA})) == ("mpiexec", 4, 1, 4, 1)
    by_pmi2 = {**SLURM, "PMI_SIZE": "5", "PMI_RANK": "3"}
    assert found(by_pmi2).launcher == "Slurm"


def test_mpiexec_finds_the_first_machine_in_the_queue(tmp_path):
    several = {**HYDRA, "MPI_LOCALNRANKS": "2"}
    with pytest.raises(ValueError, match=r"mpiexec does not tell on which machine process 0 runs"):
        found(several)
    nodes = tmp_path / "nodes"
    nodes.write_text("r1n5\nr1n5\nr1n6\n")
    of_pbs = found({**several, "PBS_NODEFILE": str(nodes), "PBS_JOBID": "12.server"})
    assert hosts(of_pbs) == ["r1n5"] and "12.server" in of_pbs.job
    assert hosts(found({**several, "LSB_HOSTS": "h1 h1 h2"})) == ["h1"]
    assert hosts(found({**several, "SLURM_JOB_NODELIST": "n[1-2]"})) == ["n1"]
    given = found(several, "head:61500")
    assert given.addresses == ("head:61500",) and given.process_id == 1
    cray = {"PMI_SIZE": "2", "PMI_RANK": "1", "PMI_LOCAL_SIZE": "2", "PMI_LOCAL_RANK": "1"}
    assert place(found(cray)) == ("mpiexec", 2, 1, 2, 1)


def test_what_jax_knows_is_asked(monkeypatch):
    from jax._src.clusters import ClusterEnv

    class Pods:
        name, opt_in_only_method = "k8s", False
        is_env_present = get_process_id = staticmethod(lambda: 1)
        get_process_count = staticmethod(lambda: 2)
        get_coordinator_address = staticmethod(lambda timeout_secs, port: "pod-0:8476")

    monkeypatch.setattr(ClusterEnv, "_cluster_types", [Pods])
    one = found({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert place(one)[:3] == ("k8s", 2, 1) and hosts(one) == ["pod-0"]


def test_coordinates_that_are_given():
    variables = {"JAX_COORDINATOR_ADDRESS": "a:61500", "JAX_NUM_PROCESSES": "3"}
    one = found(variables, process_id=2)
    assert (one.num_processes, one.process_id, one.addresses) == (3, 2, ("a:61500",))
    assert found(variables, "b:1", 4, 3).addresses == ("b:1",)
    assert found({}, num_processes=1).process_id == 0
    assert found({}, "[fe80::1]:61500", 2, 0).addresses == ("[fe80::1]:61500",)


@pytest.mark.parametrize(
    ("environment", "given", "text"),
    [
        ({}, {}, r"no launcher was found .*SLURM_PROCID.*OMPI_COMM_WORLD_RANK.*PMI_RANK"),
        ({}, {"num_processes": 2}, "num_processes is given without coordinator_address and proces"),
        ({}, {"coordinator_address": "a:61500"}, "without num_processes and process_id"),
        ({}, {"coordinator_address": "a"}, "must be HOST:PORT, such as node1:61500"),
        ({}, {"coordinator_address": "a:99999"}, "but 'a:99999' was given"),
        ({}, {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2}, "from 0 to num_"),
        ({}, {"num_processes": 0, "process_id": 0}, "num_processes must be a whole number of a"),
        ({}, {"num_processes": 2, "process_id": 0}, "num_processes and process_id are given witho"),
        ({}, {"num_processes": -2}, "num_processes must be a whole number of at least 1"),
        ({"JAX_PROCESS_ID": "one"}, {}, r"process_id \(JAX_PROCESS_ID\) must be a whole number"),
        (SLURM, {"num_processes": 2}, r"but Slurm has started process 3 of 5. Leave out num_proc"),
        (SLURM, {"process_id": 0}, "process_id=0 was given, but Slurm has started process 3 of 5"),
        ({**SLURM, "SLURM_PROCID": "x"}, {}, "SLURM_PROCID must be a whole number, but it is 'x'"),
        ({**SLURM, "SLURM_PROCID": "5"}, {}, "process_id=5 and num_processes=5"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_told(environment, given, text):
    with pytest.raises(ValueError, match=text):
        found(environment, **given)


@pytest.mark.parametrize(
    ("n_gpus", "more", "ids"),
    [
        (2, {}, [1]),  # one for each of the two processes of a machine
        (4, {}, [2, 3]),
        (1, {}, None),  # each sees its own one
        (0, {}, None),
        (2, {"SLURM_GPUS_PER_TASK": "2"}, None),
        (4, {"SLURM_GPU_BIND": "single:1"}, None),
        (2, {"SLURM_GPUS_PER_TASK": "1", "SLURM_GPU_BIND": "none"}, [1]),  # both see both
        (4, {"JAX_PLATFORMS": "cpu"}, None),
        (4, {"JAX_PLATFORMS": "cuda,cpu"}, [2, 3]),
    ],
)
def test_gpus_of_a_machine_are_divided(monkeypatch, n_gpus, more, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(n_gpus))))
    assert local_device_ids(found(SLURM), more) == ids


def test_gpus_that_cannot_be_divided(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(ValueError, match="2 processes cannot share 3 GPUs equally"):
        local_device_ids(found(SLURM), {})
    one_per_node = {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x5)"}
    assert local_device_ids(found(one_per_node), {}) is None  # it has all of them
    assert local_device_ids(found({}, "a:1", 2, 0), {}) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a file of Linux")
def test_two_runs_of_one_machine_are_told_apart_by_their_mpiexec(tmp_path):
    shutil.copy(shutil.which("bash"), tmp_path / "mpiexec")
    code = "from ritz.distributed.launchers import _mpiexec_here as here; print(here())"
    script = f"cd {ROOT} && {sys.executable} -c '{code}'; true"
    with subprocess.Popen([tmp_path / "mpiexec", "-c", script], stdout=subprocess.PIPE) as process:
        assert int(process.communicate()[0]) == process.pid

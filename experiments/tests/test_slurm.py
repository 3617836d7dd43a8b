"""Sweeps on a real Slurm: a cluster of one node that these tests start, use and end themselves."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from reference.tests.small_runs import CALM, contents, write_small
from seem.datasets import load
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.records import write_atomically
from seem.sweep import Task, run_sweep, run_tasks
from seem.training import train

pytestmark = pytest.mark.slurm

DAEMONS = ("munged", "slurmctld", "slurmd")
SLURM = ExecutorOptions(executor="slurm", partition="debug")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits until its old credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def start_daemons(folder: Path) -> list[subprocess.Popen]:
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    own = [
        f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("key-file", "socket", "pid-file", "log-file")
    ]
    commands = (
        ["munged", "--foreground", "--force", *own, f"--seed-file={folder}/munge.seed"],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    )
    daemons = []
    for command in commands:
        with (folder / f"{command[0]}.out").open("w") as output:
            daemons.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
        if command[0] == "munged":
            wait_for((folder / "munge.socket").exists, 10)
    return daemons


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A running Slurm that ``sbatch`` finds; the folder's name is short, as a socket's has to be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")
        missing = [name for name in (*DAEMONS, "sbatch") if shutil.which(name) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge")
        folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        settings = {"host": socket.gethostname().partition(".")[0], "user": getpass.getuser(), "ports": free_ports()}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, **settings))
        for name in ("state", "spool"):
            (folder / name).mkdir()
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        daemons = start_daemons(folder)
        try:
            if not wait_for(lambda: ask("sinfo", "-h", "-o", "%t") == "idle", 30):
                said = [path.read_text().splitlines()[-1:] for path in sorted(folder.glob("*.log"))]
                pytest.skip(f"Slurm does not start here: {said}")
            yield
        finally:
            ask("scancel", "--user", settings["user"])
            wait_for(lambda: ask("squeue", "-h") == "", 10)
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tasks(tmp_path) -> list[Task]:
    """Two runs on a small data set in D4RL's layout."""
    path = write_small(tmp_path / "small.hdf5")
    return [Task(name, CALM, path) for name in ("requeued", "preempted")]


def train_or_hang(out: Path, task: Task) -> Path:
    """Train; the first attempt stops at a step, says which job it is, and waits to be killed."""
    folder = out / task.name
    attempted = (folder / "config.json").exists()

    def on_step(taken: int) -> None:
        if taken >= 30 and not attempted:
            job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
            write_atomically(out / f"{task.name}.job", job)
            time.sleep(120)

    train(task.config, load(task.data), folder, checkpoint_seconds=0.0, on_step=on_step)
    return folder


def hang_unless_preempted(task: Task) -> None:
    if task.name != "preempted":
        time.sleep(120)


def test_requeued_and_preempted_jobs_resume_to_the_same_bytes(cluster, tasks, tmp_path):
    train(CALM, load(tasks[0].data), tmp_path / "whole")
    marks = [tmp_path / f"{task.name}.job" for task in tasks]
    with ThreadPoolExecutor(1) as pool:
        sweep = pool.submit(lambda: dict(run_tasks(partial(train_or_hang, tmp_path), tasks, SLURM, folder=tmp_path)))
        assert wait_for(lambda: sweep.done() or all(mark.exists() for mark in marks), 120)
        assert not sweep.done(), sweep.result()
        requeued, preempted = (mark.read_text() for mark in marks)
        subprocess.run(["scontrol", "requeue", requeued], check=True)
        subprocess.run(["scancel", "--signal=USR2", preempted], check=True)
        folders = sweep.result(timeout=240)
    assert folders == {task: tmp_path / task.name for task in tasks}
    for folder in folders.values():
        assert contents(folder) == contents(tmp_path / "whole")
    logs = [path.read_text() for path in tmp_path.glob("jobs/*/*_log.out")]
    assert [log.count("Starting with") for log in logs] == [2, 2]


def test_a_sweep_that_is_given_up_leaves_no_job(cluster, tasks, tmp_path):
    finished = run_tasks(hang_unless_preempted, tasks, SLURM, folder=tmp_path)
    assert next(finished) == (tasks[1], None)
    # Slurm ends a job a little after its result is there.
    assert wait_for(lambda: len(ask("squeue", "-h").splitlines()) == 1, 30)
    finished.close()
    assert wait_for(lambda: ask("squeue", "-h") == "", 30)


def test_an_unknown_partition_is_one_sentence(cluster, tasks, tmp_path):
    options = ExecutorOptions(executor="slurm", partition="nowhere")
    with pytest.raises(InputError, match="invalid partition") as caught:
        list(run_sweep(tasks, tmp_path, options))
    assert "\n" not in str(caught.value)

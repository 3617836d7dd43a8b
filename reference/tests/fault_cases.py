"""Commands for the fault injection: a training, a sweep of a pool, a collection, a download from this machine.

Run as a module it is one of them: ``python -m reference.tests.fault_cases train sgd OUT``.
"""

import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import torch

from reference.tests.faults import Command
from reference.tests.small_runs import CALM, write_small
from reference.tests.training_cases import RUNS, dataset
from seem.errors import run_command
from seem.executors import ExecutorOptions
from seem.sweep import Task, run_sweep
from seem.training import train

HERE = ("-m", "reference.tests.fault_cases")
VOLATILE = frozenset({"seconds", "seal"})
"""The wall time of a run, and the seal over it."""
COLLECT = (
    "-m", "seem.datasets.collect", "--env", "hopper", "--level", "medium", "--rows", "60", "--budget", "90",
    "--start-steps", "60", "--batch-size", "8", "--evaluation-interval", "40", "--evaluation-episodes", "1",
    "--agent.critic.width", "8", "--agent.actor.width", "8", "--out", "{out}/small.hdf5",
)  # fmt: skip
COMMANDS = (
    *(Command(f"train {name}", (*HERE, "train", name, "{out}/run"), volatile=VOLATILE) for name in ("sgd", "sac")),
    Command("sweep", (*HERE, "sweep", "{out}"), volatile=VOLATILE, tries=10),
    Command("download", (*HERE, "download", "{out}")),
    Command("collect", COLLECT, volatile=frozenset({"command"}), once=True, tries=16),
)


def warm() -> None:
    """Load what torch and others load late, once for all forks."""
    torch.set_num_threads(1)  # a fork would lose the others
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sgd", "sac"):
            train_one(name, Path(folder) / name)


def train_one(name: str, out: Path) -> int:
    """A run of `RUNS`, with a checkpoint at every reading."""
    train(RUNS[name], dataset(), out, checkpoint_seconds=0.0)
    return 0


def sweep(out: Path) -> int:
    """Two runs in two processes; the data lie beside the output folder and are written once."""
    data = out.parent / "small.hdf5"
    if not data.exists():
        write_small(data)
    tasks = [Task(f"calm-seed{seed}", replace(CALM, seed=seed), data) for seed in range(2)]
    list(run_sweep(tasks, out, ExecutorOptions(workers=2)))
    return 0


def fetch(out: Path) -> int:
    """A file without a pinned hash from a server of this process."""
    from reference.tests.download_server import Server
    from seem.datasets import download

    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        download(server.entry(), out / "cache")
        server.shutdown()
    return 0


def main() -> int:
    """The one that the command line names."""
    match sys.argv[1:]:
        case ["train", name, out]:
            return train_one(name, Path(out))
        case ["sweep", out]:
            return sweep(Path(out))
        case ["download", out]:
            return fetch(Path(out))
    return 2


if __name__ == "__main__":
    run_command(main)

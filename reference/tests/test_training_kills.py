"""Runs that are killed again and again, at any moment, end with the same bytes.

Run as a module, this file is the process that gets killed: see `chain_of_kills`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reference.tests.small_runs import FILES, contents
from reference.tests.training_cases import RUNS, dataset
from seem.records import read_lines, read_run
from seem.training import train

KILLS = {"sgd": (7,), "adam": (6, 8), "momentum": (8,), "sac": (7,)}
"""For each run, inside which of a process's fsyncs it is killed."""


def chain_of_kills(name: str, folder: Path, fatal_write: int) -> int:
    """Run, SIGKILL the process inside its ``fatal_write``-th fsync, start again, until a run comes through.

    Every process is a fork of this one, which has one thread and has loaded all that a run needs.

    Returns:
        The number of kills.
    """
    for kills in range(200):
        process = os.fork()
        if process == 0:
            train_until_killed(name, folder, fatal_write)
        status = os.waitpid(process, 0)[1]
        if not os.WIFSIGNALED(status):
            if os.waitstatus_to_exitcode(status):
                raise SystemExit("the run failed")
            return kills
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"the run ended by signal {os.WTERMSIG(status)}")
    raise SystemExit("the run makes no progress")


def train_until_killed(name: str, folder: Path, fatal_write: int) -> None:
    writes, original = 0, os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == fatal_write:
            os.kill(os.getpid(), signal.SIGKILL)
        original(descriptor)

    os.fsync = fsync
    status = 1
    try:
        train(RUNS[name], dataset(), folder, checkpoint_seconds=0.0)
        status = 0
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    """All runs of `KILLS`, each killed to its end by one script: their folder, and the number of kills."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL")
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "reference.tests.test_training_kills", str(folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("name", KILLS)
def test_a_run_killed_again_and_again_gives_the_same_bytes(name, killed, tmp_path):
    """A resumed run writes its two lists, then a reading, a forecast and a checkpoint: kill it in each of these."""
    folder, kills = killed
    train(RUNS[name], dataset(), tmp_path)
    readings = len(read_lines(tmp_path / "readings.jsonl"))
    for write, count in zip(KILLS[name], kills[name], strict=True):
        assert count >= readings // 2, "a resumed run gets one reading further before it is killed again"
        again = folder / f"{name}{write}"
        assert contents(again) == contents(tmp_path)
        assert {path.name for path in again.iterdir()} == {*FILES, "outcome.json"}, "no torn file is left over"
        outcome, expected = read_run(again).outcome, read_run(tmp_path).outcome
        assert {**outcome, "seconds": 0} == {**expected, "seconds": 0}


def kill_all(folder: Path) -> dict[str, list[int]]:
    for name, config in RUNS.items():
        train(config, dataset(), folder / name)  # loads what torch loads late, once for all forks
    return {
        name: [chain_of_kills(name, folder / f"{name}{write}", write) for write in writes]
        for name, writes in KILLS.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # as in conftest.py: sums in one order, and nothing that a fork would lose
    print(json.dumps(kill_all(Path(sys.argv[1]))))

"""Where tasks run, and how one of them is called; jobs of a cluster are in `seem.jobs`."""

import importlib.util
import os
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Literal

import torch

from seem.checks import open_device
from seem.errors import InputError

MOST_PROCESSES = 16
"""Processes that are started without being asked for."""
INSTALL = "pip install -c constraints.txt -e '.[slurm]'"


@dataclass(frozen=True)
class ExecutorOptions:
    """Where the tasks of a sweep run.

    Attributes:
        workers: Tasks at a time; here one a core by default.
        executor: Processes of this machine, jobs of Slurm, or submitit's local jobs, a rehearsal of these.
        partition: Slurm partition, the cluster's own default when left out. Anything else that sbatch should
            know goes through its own variables, such as SBATCH_ACCOUNT.
        minutes: Time limit of a job; one that reaches it is queued again and goes on from its checkpoint.
    """

    workers: int | None = None
    executor: Literal["processes", "slurm", "local"] = "processes"
    partition: str | None = None
    minutes: int = 60

    def check(self, device: str = "cpu") -> None:
        """Refuse what cannot be done here, before anything is written.

        Args:
            device: Where the tasks compute.

        Raises:
            InputError: When an option is impossible, submitit or Slurm is missing, or the device is.
        """
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers {self.workers} is impossible: pass 1 or more processes")
        if self.minutes < 1:
            raise InputError(f"--minutes {self.minutes} is no time limit: pass 1 or more")
        if self.partition is not None and self.executor != "slurm":
            raise InputError(f"--partition {self.partition} is Slurm's: add --executor slurm or leave it out")
        if self.executor != "processes" and importlib.util.find_spec("submitit") is None:
            raise InputError(f"--executor {self.executor} needs submitit: {INSTALL}")
        if self.executor == "slurm":
            if shutil.which("srun") is None:
                raise InputError("there is no Slurm here: go to a login node, or pass --executor processes")
        else:
            open_device(device)

    def workers_for(self, device: str) -> int:
        """Tasks at a time: as asked for, or on this machine's CPU one a core, or one on any other device."""
        if self.workers is not None:
            return self.workers
        return min(len(os.sched_getaffinity(0)), MOST_PROCESSES) if device == "cpu" else 1


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its value, or the words of its failure."""

    value: Any = None
    failure: str | None = None


def attempt(function: Callable[[Any], Any], task: Any) -> Outcome:
    """One call with one torch thread, its exception caught; what is not bad input leaves its traceback on stderr."""
    with _one_thread():
        try:
            return Outcome(function(task))
        except InputError as error:
            return Outcome(failure=str(error))
        except Exception as error:
            traceback.print_exc()
            return Outcome(failure=in_words(error))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_words(error: Exception) -> str:
    """An exception on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def run_in_processes(
    function: Callable[[Any], Any], tasks: Sequence[Any], workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Every worker is a pool of one process, so that a killed process loses its own task and no other."""
    waiting = iter(range(len(tasks)))
    pools = {worker: _open_pool() for worker in range(min(workers, len(tasks)))}
    running: dict[Future[Outcome], tuple[int, int]] = {}

    def start(worker: int) -> None:
        number = next(waiting, None)
        if number is not None:
            running[pools[worker].submit(attempt, function, tasks[number])] = (worker, number)

    try:
        for worker in pools:
            start(worker)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, number = running.pop(future)
                outcome = _outcome_of(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    pools[worker].shutdown()
                    pools[worker] = _open_pool()
                start(worker)
                yield number, outcome
    finally:
        for pool in pools.values():
            pool.shutdown(wait=True, cancel_futures=True)


def _outcome_of(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(failure="its process was killed, as by a machine that is short of memory")
    except Exception as error:  # a task or a value that cannot be pickled
        return Outcome(failure=in_words(error))


def _open_pool() -> ProcessPoolExecutor:
    # Spawned, because a forked process would inherit torch's threads in an undefined state.
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this process with the one that started it, lest a killed sweep and its repetition write the same run."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

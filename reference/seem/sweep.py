"""Sweeps: a declared list of tasks, mostly training runs, each done once, wherever `seem.executors` puts it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from seem.config import RunConfig, run_key
from seem.datasets import Dataset, load
from seem.errors import InputError
from seem.executors import ExecutorOptions, attempt, run_in_processes
from seem.jobs import run_as_jobs
from seem.records import make_folder, read_outcome
from seem.training import train

KEY_DIGITS = 12
"""Digits of its key that a run's folder shows."""


@runtime_checkable
class Named(Protocol):
    """What a task has to have: words that say which one it is."""

    @property
    def name(self) -> str:
        """What progress bars and failures call it."""
        ...


T = TypeVar("T", bound=Named)
R = TypeVar("R")


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    options: ExecutorOptions,
    *,
    folder: Path,
    device: str = "cpu",
) -> Iterator[tuple[T, R]]:
    """Call a function on every task, several at a time, each with one torch thread; a failure stops no other task.

    Args:
        function: Takes a task; a module's own function, or a `functools.partial` of one.
        tasks: What to call it on; picklable.
        options: Where.
        folder: Where the jobs of a cluster keep their files.
        device: Where the tasks compute: jobs of a cluster that compute elsewhere than on a CPU ask for one GPU.

    Yields:
        Each task with what the function returned for it, in the order in which they finish.

    Raises:
        InputError: After the last task when some failed, naming each with its error; at once when the
            executor cannot be used here.
    """
    options.check(device)
    workers = options.workers_for(device)
    if options.executor != "processes":
        outcomes = run_as_jobs(function, tasks, options, make_folder(folder / "jobs"), device)
    elif workers == 1:
        outcomes = ((number, attempt(function, task)) for number, task in enumerate(tasks))
    else:
        outcomes = run_in_processes(function, tasks, workers)
    failures = []
    for number, outcome in outcomes:
        if outcome.failure is None:
            yield tasks[number], outcome.value
        else:
            failures.append(f"{tasks[number].name}: {outcome.failure}")
    if failures:
        listed = "; ".join(failures)
        raise InputError(
            f"{len(failures)} of {len(tasks)} tasks failed ({listed}): mend that and repeat the same command, "
            "which keeps what is finished"
        )


@dataclass(frozen=True)
class Task:
    """One training run of a sweep.

    Attributes:
        name: What its folder, progress bars and failures call it.
        config: What is run.
        data: The data set's file.
    """

    name: str
    config: RunConfig
    data: Path


def run_folder(out: Path, name: str, config: RunConfig, dataset: Dataset, device: str) -> Path:
    """A run's folder: its name, and the first digits of its key, so that another configuration gets another one.

    Args:
        out: The folder of all runs.
        name: Words for people.
        config: What is run.
        dataset: On which data.
        device: Where.

    Returns:
        A path that need not exist.
    """
    return out / f"{name}-{run_key(config, dataset, device)[:KEY_DIGITS]}"


def train_task(out: Path, device: str, task: Task) -> Path:
    """Train one task, go on with one that was killed, or read a finished one back.

    Args:
        out: The folder of all runs.
        device: A torch device.
        task: What to run.

    Returns:
        The finished run's folder, for `seem.records.read_run`.
    """
    dataset = load(task.data)
    folder = run_folder(out, task.name, task.config, dataset, device)
    train(task.config, dataset, folder, device=device)
    return folder


def run_sweep(
    tasks: Sequence[Task], out: Path, options: ExecutorOptions, *, device: str = "cpu"
) -> Iterator[tuple[Task, Path]]:
    """Train all tasks; those that are finished are handed over first and never reach an executor.

    A crash of the trained network is a result. A task that fails stops no other one.

    Args:
        tasks: The sweep.
        out: The folder of all runs.
        options: Where they run.
        device: A torch device.

    Yields:
        Each task with its finished run's folder.

    Raises:
        InputError: At once when a data file cannot be read or a run is declared twice; after the last task when
            some failed, naming each with its error.
    """
    folders = _declare(tasks, out, device)
    finished = [task for task in tasks if _is_finished(folders[task])]
    for task in finished:
        yield task, folders[task]
    waiting = [task for task in tasks if task not in finished]
    yield from run_tasks(partial(train_task, out, device), waiting, options, folder=out, device=device)


def _declare(tasks: Sequence[Task], out: Path, device: str) -> dict[Task, Path]:
    folders: dict[Task, Path] = {}
    for data in dict.fromkeys(task.data for task in tasks):
        dataset = load(data)  # one at a time: a sweep's data need not fit into memory
        for task in tasks:
            if task.data == data:
                folder = run_folder(out, task.name, task.config, dataset, device)
                if folder in folders.values():
                    raise InputError(f"the run {task.name!r} is declared twice: declare each run of a sweep once")
                folders[task] = folder
    return folders


def _is_finished(folder: Path) -> bool:
    try:
        return read_outcome(folder) is not None
    except InputError:  # a changed record: the task fails on it, under its own name
        return False


def show_progress(finished: Iterable[tuple[T, R]], total: int, console: Console) -> Iterator[tuple[T, R]]:
    """Draw a progress bar while tasks finish.

    Args:
        finished: What `run_sweep` or `run_tasks` yields.
        total: Number of tasks.
        console: Where to draw.

    Yields:
        The same pairs.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training", total=total)
        for task, value in finished:
            progress.update(bar, advance=1, description=f"done {task.name}")
            yield task, value

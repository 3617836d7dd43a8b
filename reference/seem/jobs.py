"""Tasks as jobs of a cluster, through submitit: preempted or timed out ones are queued again and go on.

A job's files (its pickled task and result, and its logs) belong to the scheduler; no record is read from them.
That a job was cancelled or lost its node is known from ``sacct`` alone: without Slurm's accounting such a sweep waits
until it is interrupted, and the same command resumes it.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.errors import InputError
from seem.executors import ExecutorOptions, Outcome, attempt

LARGEST_ARRAY = 1000
"""Jobs of one array; a Slurm that was not told otherwise refuses more than 1001."""
MOST_REQUEUES = 1000
"""Time-outs after which a job is given up; a run that resumes may have many."""


@dataclass(frozen=True)
class Job:
    """A task as a job: when it is preempted or out of time it is queued again, and goes on from its own files."""

    function: Callable[[Any], Any]
    task: Any

    def __call__(self) -> Outcome:
        """The task's outcome."""
        return attempt(self.function, self.task)

    def checkpoint(self) -> Any:
        """What submitit queues again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_as_jobs(
    function: Callable[[Any], Any], tasks: Sequence[Any], options: ExecutorOptions, folder: Path, device: str
) -> Iterator[tuple[int, Outcome]]:
    """Arrays of jobs, one array after the other."""
    local = options.executor == "local"
    size = options.workers_for(device) if local else LARGEST_ARRAY
    for start in range(0, len(tasks), size):
        jobs = _submit([Job(function, task) for task in tasks[start : start + size]], options, folder, device)
        numbers = {job: start + index for index, job in enumerate(jobs)}
        try:
            from submitit.helpers import as_completed

            for job in as_completed(jobs, poll_frequency=0.2 if local else 2.0):
                yield numbers.pop(job), _result_of(job)
        finally:
            for job in numbers:
                job.cancel(check=False)


def _submit(jobs: list[Job], options: ExecutorOptions, folder: Path, device: str) -> list[Any]:
    """Submit one array; every array has a folder of its own, because schedulers use ids again."""
    import submitit

    own = tempfile.mkdtemp(dir=folder)
    limits = {"timeout_min": options.minutes, "cpus_per_task": 1} | ({} if device == "cpu" else {"gpus_per_node": 1})
    slurm = {"slurm_array_parallelism": options.workers, "slurm_partition": options.partition}
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    try:
        executor = submitit.AutoExecutor(own, cluster=options.executor, slurm_max_num_timeout=MOST_REQUEUES)
        executor.update_parameters(
            name="seem", **limits, **{name: value for name, value in slurm.items() if value is not None}
        )
        # Jobs find the modules that this process finds, also those beside the script.
        with submitit.helpers.environment_variables(PYTHONPATH=paths):
            return list(executor.submit_array(jobs))
    except RuntimeError as error:  # what sbatch said
        said = " ".join(str(error).split())
        raise InputError(f"{options.executor} refuses the jobs ({said}): change the options it names") from error


def _result_of(job: Any) -> Outcome:
    from submitit.core.utils import UncompletedJobError

    try:
        return job.result()
    except UncompletedJobError:
        return Outcome(failure=f"its job ended without a result, as {job.paths.stderr} tells")

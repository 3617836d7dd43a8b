"""What studies of training runs share: their command line, their runs, and how each is done once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Self

import tyro
from matplotlib.figure import Figure
from rich.table import Table
from studies.shared.runs import Arm, Budget, KeptRun, keep, value_bound
from studies.shared.study import Plan, Study, StudyOptions
from studies.shared.verdicts import Verdict

from seem.checks import check_rows, check_steps, check_unique, open_device
from seem.config import RunConfig
from seem.datasets import Dataset, describe, environment_of, is_path, load, resolve
from seem.files import read_bytes
from seem.locks import lock_folder
from seem.records import canonical_json, make_folder, parse_json, read_run, write_atomically
from seem.sweep import Task, run_folder, train_task
from seem.training import LOCK_SECONDS

KEPT = "kept.json"


@dataclass(frozen=True)
class TrainingOptions(StudyOptions):
    """Command line of a study of training runs.

    Attributes:
        data: Environments, names of data sets such as hopper-medium-v0 or hopper-medium-v2, or files of any task.
        data_dir: The only folder to look for data in.
        steps: Critic steps after which a run that goes on is censored.
        rows: Transitions that are read.
        device: Torch device; cuda uses a GPU.
    """

    data: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--dataset"])] = ("hopper",)
    data_dir: Path | None = None
    steps: int = 1000
    rows: int = 256
    device: str = "cpu"

    def shortened(self) -> Self:
        """The options of a first look."""
        return replace(self, seeds=self.seeds[:1], steps=min(self.steps, 60), rows=min(self.rows, 64))


@dataclass(frozen=True)
class DeclaredRun:
    """One run of a study, before it is done.

    Attributes:
        name: What its folder, progress bars and failures call it.
        arm: Its arm's name.
        config: What is run.
        data: The data set's file.
    """

    name: str
    arm: str
    config: RunConfig
    data: Path


Measure = Callable[[Path, str, DeclaredRun], KeptRun]
"""Does one run, given the folder of all runs and a torch device, and says what is kept of it."""


def train_run(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """Train one run with readings, or read a finished one back.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.

    Returns:
        What is kept of it.
    """
    folder = train_task(out, device, Task(run.name, run.config, run.data))
    bound = value_bound(load(run.data), run.config.agent.discount)
    return keep(read_run(folder), run.arm, bound)


def measure_once(out: Path, device: str, run: DeclaredRun, measure: Callable[[Dataset], KeptRun]) -> KeptRun:
    """What is kept of a run that is measured in a way of its own: from its file, or measured and written.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.
        measure: Does the run on its data.
    """
    dataset = load(run.data)
    folder = make_folder(run_folder(out, run.name, run.config, dataset, device))
    path = folder / KEPT
    if not path.exists():
        with lock_folder(folder, wait=LOCK_SECONDS):
            if not path.exists():  # else another process has measured it in the meantime
                write_atomically(path, canonical_json(measure(dataset)) + "\n")
    return parse_json(read_bytes(path).decode())


def find(name: str, data_dir: Path | None) -> Dataset:
    """A data set by its own name, an environment's first one, or a file of any task."""
    named = is_path(name) or "-" in name
    return resolve(None, name, data_dir) if named else resolve(name, None, data_dir)


def plan_training(
    arms: Sequence[Arm], budget: Callable[[int, int], Budget], measure: Measure, options: TrainingOptions
) -> Plan:
    """All runs of a study of training runs: every arm and seed on every data set.

    Args:
        arms: What is compared.
        budget: What the runs share, given steps and rows.
        measure: Does one run.
        options: The command line.

    Raises:
        InputError: Naming the option that is impossible.
    """
    check_unique("--data", options.data)
    check_steps("--steps", options.steps)
    open_device(options.device, "--device")
    # By name, so that runs are in one order however the data are listed.
    datasets = sorted((find(name, options.data_dir) for name in options.data), key=lambda dataset: dataset.name)
    check_unique("--data", [dataset.name for dataset in datasets])
    for dataset in datasets:
        check_rows("--rows", options.rows, len(dataset.transitions), dataset.name, least=2)
    shared = budget(options.steps, options.rows)
    tasks = []
    for dataset, arm, seed in product(datasets, arms, options.seeds):
        name = re.sub(r"[^\w.]+", "-", f"{dataset.name} {arm.name} seed{seed}")
        tasks.append(DeclaredRun(name, arm.name, shared.run(arm, seed), dataset.path))
    told = [describe(environment_of(dataset), dataset) for dataset in datasets]
    return Plan(tasks, partial(_measure, measure, options.device), datasets, told, options.device)


def _measure(measure: Measure, device: str, out: Path, run: DeclaredRun) -> list[KeptRun]:
    return [measure(out, device, run)]


def training_study(
    name: str,
    arms: Sequence[Arm],
    judge: Callable[[Sequence[KeptRun]], list[Verdict]],
    table: Callable[[Sequence[KeptRun]], Table],
    figures: Callable[[Sequence[KeptRun]], dict[str, Figure]],
    measure: Measure = train_run,
    budget: Callable[[int, int], Budget] = Budget,
    options: TrainingOptions = TrainingOptions(),
    plan: Callable[[TrainingOptions], Plan] | None = None,
) -> Study[TrainingOptions]:
    """A study whose runs are one arm and one seed on one data set each.

    Args:
        name: As in its declaration.
        arms: What is compared.
        judge: From kept runs to verdicts.
        table: What is printed of the runs.
        figures: Figures by file name.
        measure: Does one run and says what is kept of it.
        budget: What the runs share, given steps and rows.
        options: Its command line; seeds come from the declaration.
        plan: From options to runs, where it is not every arm on every data set.
    """
    plan = plan or partial(plan_training, arms, budget, measure)
    return Study(name, options, arms, plan, judge, lambda runs, _: figures(runs), lambda runs: [table(runs)])

"""What every study of many training runs shares: its command line, its sweep, its records, its way to end."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure
from rich.table import Table
from training_runs import Budget, Run, Variant, keep, value_bound
from verdicts import Claim, as_json, open_console, print_claims

from seem.config import RunConfig, versions
from seem.datasets import Dataset, describe, load, resolve
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.plots import save_figure
from seem.records import (
    canonical_json,
    digest,
    make_folder,
    parse_json,
    read_lines,
    read_run,
    write_atomically,
    write_lines,
)
from seem.sweep import Task, run_folder, run_tasks, show_progress, train_task

RUNS, RESULTS, KEPT = "runs.jsonl", "results.json", "kept.json"


@dataclass(frozen=True)
class StudyOptions:
    """Command line that all studies share.

    Attributes:
        data: Environments, or names of data sets such as hopper-medium-v0 or hopper-medium-v2.
        data_dir: The only folder to look for data in.
        seeds: Seeds, fixed in advance; all are reported. 0 to 9 were used up in choosing arms and steps.
        steps: Critic steps after which a run that goes on is censored.
        rows: Transitions that are read.
        device: Torch device; cuda uses a GPU.
        execution: Where the runs are computed.
        out: Output folder; the same command resumes there.
        quick: Fewer and shorter runs: a first look in seconds.
    """

    data: tuple[str, ...] = ("hopper",)
    data_dir: Path | None = None
    seeds: tuple[int, ...] = tuple(range(10, 20))
    steps: int = 1000
    rows: int = 256
    device: str = "cpu"
    execution: tyro.conf.OmitArgPrefixes[ExecutorOptions] = ExecutorOptions()
    out: Path | None = None
    quick: bool = False

    def shortened(self) -> "StudyOptions":
        """The options of a first look, when that is asked for."""
        if not self.quick:
            return self
        return replace(self, seeds=self.seeds[:1], steps=min(self.steps, 60), rows=min(self.rows, 64))


@dataclass(frozen=True)
class Arm:
    """One run of a study.

    Attributes:
        name: What its folder, progress bars and failures call it.
        variant: Its arm's name.
        config: What is run.
        data: The data set's file.
    """

    name: str
    variant: str
    config: RunConfig
    data: Path


def train_arm(out: Path, device: str, arm: Arm) -> Run:
    """Train one run with readings, or read a finished one back.

    Args:
        out: The folder of all runs.
        device: A torch device.
        arm: Which run.

    Returns:
        What is kept of it.
    """
    folder = train_task(out, device, Task(arm.name, arm.config, arm.data))
    bound = value_bound(load(arm.data), arm.config.agent.discount)
    return keep(read_run(folder), arm.variant, bound)


def measure_once(out: Path, device: str, arm: Arm, measure: Callable[[Dataset], Run]) -> Run:
    """What is kept of a run that is measured in a way of its own: from its file, or measured and written.

    Args:
        out: The folder of all runs.
        device: A torch device.
        arm: Which run.
        measure: Does the run on its data.
    """
    dataset = load(arm.data)
    path = make_folder(run_folder(out, arm.name, arm.config, dataset, device)) / KEPT
    if not path.exists():
        write_atomically(path, canonical_json(measure(dataset)) + "\n")
    return parse_json(path.read_text())


@dataclass(frozen=True)
class Study:
    """One study: what it trains, how it judges, what it draws.

    Attributes:
        name: Its name; runs/NAME is the folder without ``--out``.
        variants: Its arms.
        judge: From kept runs to claims; pure, so that recorded runs can be judged again.
        table: What is printed of the runs.
        figures: Figures by file name, drawn from kept runs.
        measure: Does one run and says what is kept of it: with readings as `seem.training.train` takes them, or in
            another way.
        budget: What its runs share, given steps and rows.
    """

    name: str
    variants: Sequence[Variant]
    judge: Callable[[Sequence[Run]], list[Claim]]
    table: Callable[[Sequence[Run]], Table]
    figures: Callable[[Sequence[Run]], dict[str, Figure]]
    measure: Callable[[Path, str, "Arm"], Run] = train_arm
    budget: Callable[[int, int], Budget] = Budget


def run_study(study: Study, options: StudyOptions) -> int:
    """Train all runs of a study, or read them back; print table and verdicts; write records and figures.

    Args:
        study: The study.
        options: The command line.

    Returns:
        The exit status: 1 when a claim is refuted.

    Raises:
        InputError: When an option is impossible or data are missing.
    """
    options = options.shortened()
    console = open_console()
    datasets = [find(name, options.data_dir) for name in options.data]
    check(options, study, datasets)
    for dataset in datasets:
        console.print(describe(dataset.name.split("-")[0], dataset), highlight=False, soft_wrap=True)
    out = make_folder(options.out or Path("runs") / study.name)
    arms = declare(study, options, datasets)
    measure = partial(study.measure, out / "runs", options.device)
    sweep = run_tasks(measure, arms, options.execution, folder=out, device=options.device)
    runs = [run for _, run in show_progress(sweep, len(arms), console)]
    names = [variant.name for variant in study.variants]
    runs.sort(key=lambda run: (run["data"], names.index(run["variant"]), run["seed"]))
    claims = study.judge(runs)
    console.print(study.table(runs))
    write(out, study, options, runs, claims)
    console.print(f"records and figures: {out}", highlight=False, soft_wrap=True)
    return print_claims(console, claims)


def find(name: str, data_dir: Path | None) -> Dataset:
    """A data set by its own name, or an environment's first one."""
    env, *rest = name.split("-")
    return resolve(env, name if rest else None, data_dir)


def declare(study: Study, options: StudyOptions, datasets: Sequence[Dataset]) -> list[Arm]:
    """All runs of a study, fixed before the first one starts."""
    budget, arms = study.budget(options.steps, options.rows), []
    for dataset, variant, seed in product(datasets, study.variants, options.seeds):
        name = re.sub(r"[^\w.]+", "-", f"{dataset.name} {variant.name} seed{seed}")
        arms.append(Arm(name, variant.name, budget.run(variant, seed), dataset.path))
    return arms


def check(options: StudyOptions, study: Study, datasets: Sequence[Dataset]) -> None:
    """Refuse a study that cannot run, before anything is written.

    Raises:
        InputError: Naming the option.
    """
    if not options.seeds or not datasets:
        raise InputError("a study needs data and a seed: pass at least one of --data and of --seeds")
    if any(seed < 0 for seed in options.seeds):
        raise InputError("a seed is negative: pass --seeds of 0 or more")
    for dataset in datasets:
        if not 2 <= options.rows <= len(dataset.transitions):
            raise InputError(f"--rows {options.rows} does not fit {dataset.name}: pass 2 to {len(dataset.transitions)}")
    study.budget(options.steps, options.rows).run(study.variants[0], options.seeds[0])
    options.execution.check(options.device)


def write(out: Path, study: Study, options: StudyOptions, runs: Sequence[Run], claims: Sequence[Claim]) -> None:
    """Write the kept runs, what was concluded of them, and the figures."""
    write_lines(out / RUNS, runs)
    asked = {**asdict(options), "out": None, "data_dir": None, "execution": None}
    content = {"study": study.name, "options": asked, "versions": versions(), "claims": as_json(claims)}
    content |= {"runs_sha256": digest((out / RUNS).read_bytes())}
    write_atomically(out / RESULTS, canonical_json(content) + "\n")
    for name, figure in study.figures(runs).items():
        save_figure(figure, out / name)


def read_study(folder: Path) -> tuple[dict[str, Any], list[Run]]:
    """The results and kept runs of a recorded study, its hash checked.

    Raises:
        InputError: When a file is missing or the runs were changed after the results were written.
    """
    try:
        results = parse_json((folder / RESULTS).read_text())
        content = (folder / RUNS).read_bytes()
    except OSError as error:
        raise InputError(f"{folder} holds no recorded study ({error.strerror}): repeat its command") from error
    if digest(content) != results["runs_sha256"]:
        raise InputError(f"{folder / RUNS} changed after the run: restore it or repeat the study's command")
    return results, read_lines(folder / RUNS)

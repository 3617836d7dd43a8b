"""The skeleton of every study: what is declared is run, kept, judged, shown, recorded, and held against the record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from studies.shared.declaration import Declaration, read_declaration
from studies.shared.record import RUNS, begin, find_record, write_results
from studies.shared.runs import KeptRun
from studies.shared.verdicts import Verdict, as_json, exit_status, open_console, print_verdicts, turned

from seem.checks import check_seeds
from seem.datasets import Dataset
from seem.errors import InputError, run_command
from seem.executors import ExecutorOptions
from seem.locks import lock_folder
from seem.plots import save_figure
from seem.records import make_folder, read_lines, write_lines
from seem.sweep import Named, run_tasks, show_progress


@dataclass(frozen=True)
class StudyOptions:
    """Command line that all studies share.

    Attributes:
        seeds: Seeds; all are reported.
        execution: Where the runs are computed.
        out: Output folder; the same command resumes there.
        quick: Fewer and shorter runs: a first look in seconds.
        strict: End with status 1 also when a sentence is refuted as it is in the record.
    """

    seeds: tuple[int, ...] = ()
    execution: tyro.conf.OmitArgPrefixes[ExecutorOptions] = ExecutorOptions()
    out: Path | None = None
    quick: bool = False
    strict: bool = False

    def shortened(self) -> Self:
        """The options of a first look."""
        return replace(self, seeds=self.seeds[:1])


@dataclass(frozen=True)
class Plan:
    """All runs of a study, fixed before the first one starts.

    Attributes:
        tasks: What is done, several at a time.
        measure: From the folder of all runs and a task to the runs that are kept of it; picklable.
        datasets: The data.
        told: One line per data set: which it is.
        device: A torch device.
    """

    tasks: Sequence[Named]
    measure: Callable[[Path, Any], list[KeptRun]]
    datasets: Sequence[Dataset] = ()
    told: Sequence[str] = ()
    device: str = "cpu"


AnyOptions = TypeVar("AnyOptions", bound=StudyOptions)


@dataclass(frozen=True)
class Study(Generic[AnyOptions]):
    """One study.

    Attributes:
        name: Its name, also that of its declaration and, without ``--out``, of its folder below runs/.
        options: Its command line without any option; seeds come from the declaration.
        arms: What it compares; their configurations are part of the declaration's hash.
        plan: From options to runs; refuses what cannot be run before anything is written.
        judge: From kept runs to verdicts; pure, so that recorded runs are judged again.
        figures: Figures by file name, drawn from kept runs and from the folder of all runs.
        tables: What is printed of the runs.
        again: Makes kept runs again from the folder of all runs, for a study that keeps rows of runs with records of
            their own.
        folder: Name of its output folder without ``--out``, where that depends on the options.
    """

    name: str
    options: AnyOptions
    arms: Sequence[Any]
    plan: Callable[[AnyOptions], Plan]
    judge: Callable[[Sequence[KeptRun]], list[Verdict]]
    figures: Callable[[Sequence[KeptRun], Path], dict[str, Figure]]
    tables: Callable[[Sequence[KeptRun]], list[Table]] = lambda _: []
    again: Callable[[Path, Sequence[KeptRun]], list[KeptRun]] | None = None
    folder: Callable[[AnyOptions], str] | None = None

    @property
    def declaration(self) -> Declaration:
        """What it declares."""
        return read_declaration(self.name)

    @property
    def declared(self) -> dict[str, str]:
        """What its records say of the declaration: its hash, and when it was written."""
        declaration = self.declaration
        told = {"written": declaration.written, "date": declaration.date.isoformat()}
        return {"sha256": declaration.sha256(self.arms), **told}


def parse(study: Study[AnyOptions], arguments: Sequence[str] | None = None) -> AnyOptions:
    """The options that a user typed.

    Args:
        study: The study.
        arguments: The command line; that of this process without it.
    """
    default = replace(study.options, seeds=study.declaration.seeds)
    return tyro.cli(type(default), default=default, args=arguments, description=study.declaration.question)


def main(study: Study[Any]) -> None:
    """Run a study from the command line, and end this process with its status.

    The status is 0 when the study ran and no verdict contradicts the record of the same declaration, options and data
    (or there is none), 1 when one turned from verified to refuted or back, 2 on bad input, 70 on a mistake of the
    program.
    """
    run_command(lambda: run_study(study, parse(study)))


def run_study(study: Study[AnyOptions], options: AnyOptions) -> int:
    """Do all runs of a study, or read them back; print tables and verdicts; write records and figures.

    Args:
        study: The study.
        options: The command line.

    Returns:
        The exit status: 1 when a verdict turned from verified to refuted or back against the record of the same
        declaration and options on the same data; with ``strict`` also when a sentence is refuted; else 0.

    Raises:
        InputError: When an option is impossible, data are missing, or another process runs a study in the same folder.
    """
    console = open_console()
    used = options.shortened() if options.quick else options
    check_seeds("--seeds", used.seeds)
    plan = study.plan(used)
    used.execution.check(plan.device)
    for line in plan.told:
        console.print(line, soft_wrap=True)
    out = make_folder(used.out or Path("runs") / (study.folder(used) if study.folder else study.name))
    with lock_folder(out):
        return _run(console, study, used, plan, out)


def _run(console: Console, study: Study[AnyOptions], used: AnyOptions, plan: Plan, out: Path) -> int:
    begin(out, study.name, study.declared["sha256"])
    sweep = run_tasks(partial(plan.measure, out / "runs"), plan.tasks, used.execution, folder=out, device=plan.device)
    finished = dict(show_progress(sweep, len(plan.tasks), console))
    write_lines(out / RUNS, chain.from_iterable(finished[task] for task in plan.tasks))
    runs = check_distinct(read_lines(out / RUNS))
    verdicts = study.judge(runs)
    for table in study.tables(runs):
        console.print(table)
    for name, figure in study.figures(runs, out / "runs").items():
        save_figure(figure, out / name)
    results = write_results(out, study.name, study.declared, used, plan.datasets, as_json(verdicts))
    print_verdicts(console, [_noted(study, verdict) for verdict in verdicts])
    console.print(f"{study.declaration.in_words}; records and figures: {out}", soft_wrap=True)
    return _compare(console, results, strict=used.strict)


def check_distinct(runs: list[KeptRun]) -> list[KeptRun]:
    """The runs, none of which is there twice.

    Raises:
        InputError: When two runs have one data set, arm and seed: a run that is counted twice is no evidence.
    """
    names = ("data", "arm", "kind", "depth", "seed")
    keys = [tuple(run.get(name) for name in names) for run in runs if "data" in run and "seed" in run]
    for key in keys:
        if keys.count(key) > 1:
            told = " ".join(str(value) for value in key if value is not None)
            raise InputError(f"the run {told} is there twice: one that is counted twice is no evidence, drop it")
    return runs


def _noted(study: Study[Any], verdict: Verdict) -> Verdict:
    """A verdict as it is printed: it says so where the sentence was added after a look at recorded runs."""
    looked_at = study.declaration.looked_at(verdict.sentence)
    said = f"; added after a look at {', '.join(looked_at)}" if looked_at else ""
    return replace(verdict, evidence=verdict.evidence + said)


def _compare(console: Console, results: dict[str, Any], *, strict: bool) -> int:
    """The exit status, after one line that says which record decided it."""
    found = find_record(results)
    if found is None:
        console.print("no record of this declaration, these options and these data", soft_wrap=True)
        return exit_status(results["verdicts"], [], strict=strict)
    folder, recorded = found
    changed = turned(results["verdicts"], recorded["verdicts"])
    said = f"turned: {'; '.join(changed)}" if changed else "no verdict turned"
    console.print(f"compared with the record {folder}: {said}", soft_wrap=True)
    return exit_status(results["verdicts"], recorded["verdicts"], strict=strict)

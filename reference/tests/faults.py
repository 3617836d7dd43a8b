"""Fault injection: a command under every fault, again without one, and its files against those of an undisturbed run.

    python -m reference.tests.faults --commands reference.tests.fault_cases:COMMANDS --table faults.md

A try survives when the command finishes with the same files, or ends in one clear sentence with the right exit status
(or by the signal) and the same command without the fault then finishes with the same files. Anything else is a loss:
another file, one file more or less, another status, a traceback. Commands are described by `Command`; those of a study
are its command line, its output folder and the fields that a repetition changes.
"""

import importlib
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from reference.tests.fault_files import contents, differs
from reference.tests.fault_plan import SETTINGS, Fault, Setting, plan, spread
from reference.tests.fault_processes import Done, run
from reference.tests.inject.sitecustomize import HAPPENED, PATHS

STATUSES = {"SIGKILL": {-9, 137}, "SIGTERM": {-15, 143}, "SIGHUP": {-1, 129}, "SIGINT": {-2, 130}}
TRACEBACK = "Traceback (most recent call last)"
BAD_INPUT = 2


@dataclass(frozen=True)
class Command:
    """A command that writes files.

    Attributes:
        name: What the table calls it.
        words: What follows ``python``; "{out}" stands for the output folder, an absolute path that exists.
        equal: What must be equal of an output folder; all its files without anything volatile when left out.
        volatile: Fields that a repetition changes, for `contents`.
        once: Whether it refuses to write a second time what is there already.
        env: Further environment variables; "{out}" as in the words.
        status: The exit status of an undisturbed run.
        tries: Most tries, evenly spread over the plan, of a command that takes long; None for all.
    """

    name: str
    words: tuple[str, ...]
    equal: Callable[[Path], Any] | None = None
    volatile: frozenset[str] = frozenset()
    once: bool = False
    env: dict[str, str] = field(default_factory=dict)
    status: int = 0
    tries: int | None = None

    def files(self, out: Path) -> Any:
        """What must be equal."""
        return self.equal(out) if self.equal else contents(out, self.volatile)


@dataclass(frozen=True)
class Try:
    """One try.

    Attributes:
        command: Name of the command.
        setting: Name of the setting.
        fault: What was to happen.
        status: The first process's exit status.
        loss: Why it is a loss; "" where it survived.
        happened: Whether the fault happened: a command may not come by the call, and then nothing was tried.
    """

    command: str
    setting: str
    fault: Fault
    status: int
    loss: str
    happened: bool = True


def launch(command: Command, setting: Setting, fault: Fault, out: Path, counts: Path, *, fork: bool) -> Done:
    """Run a command once under a fault.

    Args:
        command: What to run.
        setting: How.
        fault: What happens.
        out: Its output folder.
        counts: A folder for the numbers of calls.
        fork: Whether a fork of this process will do.

    Returns:
        How it ended.
    """
    injected = {"fault": {"under": str(out), "counts": str(counts), **asdict(fault)}, "umask": setting.umask}
    env = {key: value.replace("{out}", str(out)) for key, value in command.env.items()}
    words = [*(["-O"] if setting.optimise else []), *(word.replace("{out}", str(out)) for word in command.words)]
    return run(words, injected, env, elsewhere=setting.elsewhere, fork=fork)


def numbers_of(counts: Path) -> Counter[str]:
    """How many calls of each kind there were."""
    return Counter({path.name: path.stat().st_size for path in counts.iterdir() if path.name != PATHS})


@dataclass(frozen=True)
class Undisturbed:
    """A command's run without a fault: its files, its numbers of calls and their paths."""

    files: Any
    calls: Counter[str]
    paths: frozenset[str]


def undisturbed(command: Command, *, fork: bool = False) -> Undisturbed:
    """Run a command without a fault.

    Raises:
        RuntimeError: When it does not end as it should.
    """
    with tempfile.TemporaryDirectory() as name:
        out, counts = _folders(Path(name), Setting())
        done = launch(command, Setting(), Fault(), out, counts, fork=fork)
        if done.status != command.status:
            raise RuntimeError(f"{command.name} ends with status {done.status} by itself: {done.errors}")
        paths = (counts / PATHS).read_text(errors="replace") if (counts / PATHS).exists() else ""
        return Undisturbed(command.files(out), numbers_of(counts), frozenset(paths.splitlines()))


def attempt(command: Command, setting: Setting, fault: Fault, expected: Any, *, fork: bool = False) -> Try:
    """One try: the command under a fault, and again without it."""
    with tempfile.TemporaryDirectory() as name:
        out, counts = _folders(Path(name), setting)
        done = launch(command, setting, fault, out, counts, fork=fork)
        loss, happened = why_lost(command, fault, done), not fault.does or numbers_of(counts)[HAPPENED] > 0
        finished = done.status == command.status
        if not loss and finished and (difference := differs(command.files(out), expected)):
            loss = f"finished with other files: {difference}"
        if not loss and not finished and not (command.once and not differs(command.files(out), expected)):
            again = launch(command, setting, Fault(), out, counts, fork=fork)
            if again.status != command.status:
                loss = f"the same command then ends with status {again.status}: {_last(again.errors)}"
            elif difference := differs(command.files(out), expected):
                loss = f"the same command then leaves other files: {difference}"
        return Try(command.name, setting.name, fault, done.status, loss, happened)


def _attempt_case(command: Command, expected: Any, fork: bool, case: tuple[Setting, Fault]) -> Try:
    return attempt(command, *case, expected, fork=fork)


def why_lost(command: Command, fault: Fault, done: Done) -> str:
    """Why the end of a process under a fault is a loss in itself; "" when it is none."""
    if TRACEBACK in done.errors + done.output:
        return f"a traceback (status {done.status}): {_last(done.errors)}"
    if done.status == command.status or done.status in STATUSES.get(fault.does, ()):
        return ""
    if done.status != BAD_INPUT:
        return f"status {done.status}: {_last(done.errors)}"
    sentences = [line for line in done.errors.splitlines() if line.startswith("error: ")]
    if len(sentences) != 1 or not re.search(r"\S: \S", sentences[0].removeprefix("error: ")):
        return f"{len(sentences)} sentences: {_last(done.errors)}"
    return ""


def _folders(parent: Path, setting: Setting) -> tuple[Path, Path]:
    out, counts = parent / setting.folder, parent / "counts"
    out.mkdir(parents=True)
    counts.mkdir()
    return out, counts


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no word"


def try_all(
    commands: Iterable[Command],
    *,
    most: int = 4,
    settings: Sequence[Setting] = SETTINGS,
    stages: Sequence[str] = (),
    workers: int = 1,
    fork: bool = False,
    report: Callable[[Try], None] = lambda done: None,
) -> list[Try]:
    """Every command under every fault.

    Args:
        commands: What to run.
        most: Most tries of one kind of fault.
        settings: How they run: every fault in the first, and a kill, a full disk and no fault in the others.
        stages: Parts of paths at which those are killed too that come by them.
        workers: Tries at a time; forks are made one at a time.
        fork: Whether forks of this process run them.
        report: Called with each try when it is done.

    Returns:
        The tries.
    """
    tries: list[Try] = []
    for command in commands:
        reference = undisturbed(command, fork=fork)
        middle = max(1, reference.calls["any"] // 2)
        passed = [stage for stage in stages if any(stage in path for path in reference.paths)]
        cases = [(settings[0], fault) for fault in plan(reference.calls, most, passed)]
        for setting in settings[1:]:
            faults = (
                Fault(),
                Fault("SIGKILL", "any", middle),
                Fault("ENOSPC", "write", max(1, reference.calls["write"] // 2)),
            )
            cases += [(setting, fault) for fault in faults]
        if command.tries is not None:
            cases = [cases[index - 1] for index in spread(len(cases), command.tries)]
        one = partial(_attempt_case, command, reference.files, fork)
        with ThreadPoolExecutor(workers) as pool:  # a fork is made by the only thread that there is
            for done in map(one, cases) if fork else pool.map(one, cases):
                tries.append(done)
                report(done)
    return tries


def as_table(tries: Sequence[Try], command: str) -> str:
    """The tries as Markdown: kinds of fault, tries and survivals, and every loss in words.

    Faults that did not happen are no tries, unless something was lost all the same.

    Args:
        tries: What was tried.
        command: The command line that makes the table.

    Returns:
        Markdown.
    """
    planned, tries = len(tries), [one for one in tries if one.happened or one.loss]
    kinds = Counter((one.fault.kind, one.setting) for one in tries)
    survived = Counter((one.fault.kind, one.setting) for one in tries if not one.loss)
    lines = [f"`{command}`", "", f"Commands: {', '.join(dict.fromkeys(one.command for one in tries))}.", ""]
    lines += ["| fault | setting | tries | survived |", "|---|---|--:|--:|"]
    lines += [
        f"| {kind} | {setting} | {n} | {survived[kind, setting]} |" for (kind, setting), n in sorted(kinds.items())
    ]
    lines += [f"| **all** | | **{len(tries)}** | **{sum(survived.values())}** |", ""]
    if absent := planned - len(tries):
        lines += [f"{absent} further faults were planned at calls that did not come; they count for nothing.", ""]
    lines += [f"- {t.command}, {t.setting}, {t.fault.kind} {t.fault.k}: {t.loss}" for t in tries if t.loss]
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class FaultOptions:
    """Try commands under faults and write a table.

    Attributes:
        commands: Where lists of `Command` are, each as MODULE:NAME.
        table: The Markdown file to write; printed only without it.
        only: Names of the commands to try; all when left out.
        most: Most tries of one kind of fault and command.
        stages: Parts of paths at which a command is killed too, such as "summary" or ".png".
        workers: Tries at a time.
        fork: Run forks of this process, one at a time; it has loaded the commands' module and called its ``warm``.
    """

    commands: tuple[str, ...] = ("reference.tests.fault_cases:COMMANDS",)
    table: Path | None = None
    only: tuple[str, ...] = ()
    most: int = 4
    stages: tuple[str, ...] = ()
    workers: int = 1
    fork: bool = False


def main(options: FaultOptions) -> int:
    """Try everything.

    Returns:
        1 when something was lost, else 0.
    """
    commands: list[Command] = []
    for place in options.commands:
        module, _, name = place.partition(":")
        loaded = importlib.import_module(module)
        if options.fork and hasattr(loaded, "warm"):
            loaded.warm()
        commands += [command for command in getattr(loaded, name) if not options.only or command.name in options.only]
    console = Console()

    def report(done: Try) -> None:
        fate = done.loss or ("survived" if done.happened else "did not happen")
        console.print(f"{done.command}, {done.setting}, {done.fault.kind} {done.fault.k}: {fate}", markup=False)

    tries = try_all(
        commands, most=options.most, stages=options.stages, workers=options.workers, fork=options.fork, report=report
    )
    table = as_table(tries, "python -m reference.tests.faults " + " ".join(sys.argv[1:]))
    if options.table:
        options.table.write_text(table, encoding="utf-8")
    console.print(table, markup=False)
    return 1 if any(one.loss for one in tries) else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FaultOptions)))

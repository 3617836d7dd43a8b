"""Run the tests against every domain mutant and print the survivors.

Each mutant is one mistake in a copy of the repository; the test that its entry names must fail on it
(`nox -s mutants`). Exit status 0 when all are killed, 1 when one survives, 2 on a catalogue that is wrong.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from properties.mutants.catalogue import REPOSITORY, Mutant, read_catalogue
from seem.errors import InputError, run_command

TIMEOUT = 300.0
"""Seconds after which a mutant counts as killed: the slowest test takes a tenth of it."""
COPIED = ("reference", "properties", "claims", "benchmarks", "theory", "experiments")
"""Folders of which a mutant gets a copy, beside the files at the top."""

OUTPUT_KEPT = 8000
"""Characters of pytest's output that are kept of a mutant that is not killed."""

Fate = Literal["killed", "killed (timeout)", "survived", "broken"]
COLOURS: dict[Fate, str] = {"killed": "green", "killed (timeout)": "green", "survived": "red", "broken": "red"}


@dataclass(frozen=True)
class MutantOptions:
    """Command line of the mutant runner.

    Attributes:
        ids: Only these mutants; all without one.
        area: Only the mutants of this catalogue file.
        workers: Mutants tried at the same time; one a core without it.
    """

    ids: tuple[str, ...] = field(default=())
    area: str | None = None
    workers: int | None = None


def run_pytest(
    tests: Iterable[str], repository: Path, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy of the repository.

    Args:
        tests: Node ids, relative to the copy.
        repository: The copy.
        timeout: Seconds after which `subprocess.TimeoutExpired` is raised; none without it.

    Returns:
        The finished process; its status is pytest's.
    """
    # The ledger's plugin would fail a run for verdicts that the copy changes: only the test itself may kill.
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:claims.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, *tests]
    # Options of a run that this one is part of are not for it: they can fail a test that the mutant does not.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    package = str(repository / "reference")
    environment = {"PYTHONPATH": package, "HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(  # noqa: S603 - the command is this interpreter's pytest
        command,
        cwd=repository,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def copy_repository(folder: Path) -> Path:
    """Copy sources and tests into a folder; the copy is what a mutant is made in."""
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def try_mutant(mutant: Mutant) -> tuple[Fate, str]:
    """Make the mistake in a copy and run the test that must notice it.

    Returns:
        The mutant's fate and the end of pytest's output.
    """
    with tempfile.TemporaryDirectory() as name:
        repository = copy_repository(Path(name))
        file = repository / mutant.file
        file.write_text(mutant.patched(file.read_text(encoding="utf-8")), encoding="utf-8")
        try:
            finished = run_pytest([mutant.killed_by], repository, TIMEOUT)
        except subprocess.TimeoutExpired:
            return "killed (timeout)", f"no end within {TIMEOUT:.0f} s"
    fates: dict[int, Fate] = {0: "survived", 1: "killed"}
    # Any other status is no verdict: the mutant could not be imported, or the test was not found.
    return fates.get(finished.returncode, "broken"), (finished.stdout + finished.stderr)[-OUTPUT_KEPT:]


def check_unmutated(mutants: list[Mutant]) -> None:
    """Refuse a catalogue whose tests fail without any mistake.

    Raises:
        InputError: When one of the tests does not pass on an unchanged copy.
    """
    with tempfile.TemporaryDirectory() as name:
        finished = run_pytest(sorted({mutant.killed_by for mutant in mutants}), copy_repository(Path(name)))
    if finished.returncode:
        output = finished.stdout[-3000:]
        raise InputError(f"the tests fail without a mutant: repair them first, they print\n{output}")


def select(options: MutantOptions) -> list[Mutant]:
    """The mutants that the command line asks for.

    Raises:
        InputError: When there is none, or a name is unknown.
    """
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers {options.workers} is impossible: pass 1 or more")
    mutants = read_catalogue()
    if unknown := set(options.ids) - {mutant.id for mutant in mutants}:
        raise InputError(f"unknown mutants {', '.join(sorted(unknown))}: choose ids of properties/mutants/*.toml")
    chosen = [m for m in mutants if (not options.ids or m.id in options.ids) and options.area in (None, m.area)]
    if not chosen:
        areas = ", ".join(sorted({mutant.area for mutant in mutants}))
        raise InputError(f"no mutant is selected: choose an area among {areas}")
    return chosen


def main(options: MutantOptions) -> int:
    """Try the mutants and print each one's fate.

    Returns:
        The exit status.
    """
    console = Console() if sys.stdout.isatty() else Console(width=140)
    mutants = select(options)
    check_unmutated(mutants)
    fates: dict[str, tuple[Fate, str]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(options.workers or os.cpu_count()) as pool:
        bar = progress.add_task("mutants", total=len(mutants))
        futures = {pool.submit(try_mutant, mutant): mutant for mutant in mutants}
        for future in as_completed(futures):
            fates[futures[future].id] = future.result()
            progress.advance(bar)
    console.print(_table(mutants, fates))
    alive = [mutant for mutant in mutants if not fates[mutant.id][0].startswith("killed")]
    for mutant in alive:
        console.print(f"\n{mutant.id} {fates[mutant.id][0]}\n{fates[mutant.id][1]}", markup=False, highlight=False)
    console.print(f"{len(mutants) - len(alive)} of {len(mutants)} mutants killed", highlight=False)
    return 1 if alive else 0


def _table(mutants: list[Mutant], fates: dict[str, tuple[Fate, str]]) -> Table:
    table = Table("area", "mutant", "mistake", "test", "fate")
    for mutant in mutants:
        fate = fates[mutant.id][0]
        test = mutant.killed_by.removeprefix("properties/").replace("::", " ")
        table.add_row(mutant.area, mutant.id, mutant.mistake, test, f"[{COLOURS[fate]}]{fate}[/]")
    return table


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(MutantOptions)))

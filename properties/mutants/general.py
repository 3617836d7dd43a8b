"""Mutate the core of the project with mutmut and hold the properties and unit tests to a score.

The core is the kernel, the spectrum, the growth laws and the forecast, and what turns numbers into verdicts: the
statistics, the judging of runs, the ledger and its verdicts. Every survivor is printed with its change; those of
`survivors.toml` have a reason why no test can or should notice them (`nox -s mutation`).
Exit status 0 at a score of at least `SCORE` with every survivor explained, else 1; 2 when mutmut cannot run.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from properties.mutants.catalogue import REPOSITORY
from seem.errors import InputError, run_command

PACKAGES = {"seem": "reference/seem", "claims": "claims", "studies": "experiments/studies"}
"""Packages that modules to mutate are of, and where they are."""
THEORY = ("ntk", "factors", "features", "spectrum", "rates", "growth", "forecasting")
CORE: dict[str, tuple[str, ...]] = {
    **{f"seem.{name}": ("properties", f"reference/tests/test_{name.removesuffix('ing')}*.py") for name in THEORY},
    "seem.statistics": ("reference/tests/test_statistics.py",),
    "studies.shared.verdicts": ("experiments/tests/test_judging.py",),
    "claims.verdicts": ("ledger/test_judging.py",),
    "claims.ledger": ("ledger/test_ledger.py",),
}
"""Modules and packages that are mutated, each with its tests."""
SCORE = 0.95
SURVIVORS = Path(__file__).with_name("survivors.toml")
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src/"]
only_mutate = {files}
also_copy = ["properties", "reference", "theory", "ledger", "experiments"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
use_git_change_detection = false
timeout_constant = 25.0
timeout_multiplier = 4.0

[tool.pytest.ini_options]
pythonpath = ["."]
addopts = ["--import-mode=importlib", "-p", "no:xdist", "-k", "not of_the_project"]
markers = ["claim(*ids): evidence"]
filterwarnings = ["ignore:Do not use the .random. module inside strategies"]
"""


@dataclass(frozen=True)
class MutationOptions:
    """Command line of the general mutation run.

    Attributes:
        modules: Which modules or packages of `CORE` to mutate.
        workers: Mutants tried at the same time; one a core without it.
        folder: Where to work, kept afterwards so that a second run continues; a temporary one without it.
    """

    modules: tuple[str, ...] = field(default=tuple(CORE))
    workers: int | None = None
    folder: Path | None = None


@dataclass(frozen=True, order=True)
class Change:
    """What mutmut changed: the function and its lines, removed and written, as one text."""

    function: str
    lines: str


def prepare(folder: Path, modules: tuple[str, ...]) -> None:
    """Lay the sources and the tests out as mutmut wants them: the packages under src, the tests beside it.

    Raises:
        InputError: When a module is none of the core.
    """
    if unknown := set(modules) - CORE.keys():
        raise InputError(f"{min(unknown)} is not mutated: choose among {', '.join(CORE)}")
    unwanted = shutil.ignore_patterns("__pycache__", "meta", "mutants", ".hypothesis")
    for package, place in PACKAGES.items():
        shutil.copytree(REPOSITORY / place, folder / "src" / package, ignore=unwanted, dirs_exist_ok=True)
    for tests in ("properties", "reference/tests", "theory", "experiments/tests"):
        shutil.copytree(REPOSITORY / tests, folder / tests, ignore=unwanted, dirs_exist_ok=True)
    # Not beside src/claims under the same name. They make a small repository with one recorded study.
    (folder / "ledger").mkdir(exist_ok=True)
    for path in (*(REPOSITORY / "claims").glob("test_*.py"), REPOSITORY / "claims" / "conftest.py"):
        shutil.copy(path, folder / "ledger")
    recorded = Path("experiments/recorded")
    shutil.copytree(REPOSITORY / recorded / "baird", folder / "src" / recorded / "baird", dirs_exist_ok=True)
    shutil.copy(REPOSITORY / recorded / "SHA256SUMS", folder / "src" / recorded)
    files = [f"src/{path.relative_to(folder / 'src')}" for module in modules for path in _files(folder / "src", module)]
    wanted = dict.fromkeys(pattern for module in modules for pattern in CORE[module])
    if "properties" in wanted:
        wanted |= {"reference/tests/test_operators*.py": None}
    tests = [str(path.relative_to(folder)) for pattern in wanted for path in sorted(folder.glob(pattern))]
    (folder / "pyproject.toml").write_text(CONFIGURATION.format(files=files, tests=tests), encoding="utf-8")


def _files(source: Path, module: str) -> list[Path]:
    path = source.joinpath(*module.split("."))
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def mutmut(folder: Path, *arguments: str, capture: bool = True) -> str:
    """Run one command of mutmut in a folder.

    Returns:
        What it printed, empty unless captured.

    Raises:
        InputError: When it fails.
    """
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    try:
        environment = os.environ | {"HYPOTHESIS_PROFILE": "mutants"}
        finished = subprocess.run(  # noqa: S603 - mutmut of this interpreter
            command, cwd=folder, env=environment, capture_output=capture, text=True, check=False
        )
    except FileNotFoundError:
        raise InputError("mutmut is not installed: run this through `nox -s mutation`") from None
    if finished.returncode:
        raise InputError(f"mutmut {' '.join(arguments)} failed: run the tests by themselves and repair what they print")
    return finished.stdout or ""


def read_fates(folder: Path) -> dict[str, str]:
    """Name and fate of every mutant."""
    lines = (
        line.strip().rsplit(": ", 1) for line in mutmut(folder, "results", "--all", "true").splitlines() if ": " in line
    )
    return {name: fate for name, fate in lines if "__mutmut_" in name}


def read_change(folder: Path, name: str) -> Change:
    """What a mutant changed."""
    diff = mutmut(folder, "show", name).splitlines()
    changed = [line[0] + " " + line[1:].strip() for line in diff if re.match(r"[-+](?![-+]{2} )", line)]
    return Change(re.sub(r"\.xǁ?_?|ǁ", ".", name.partition("__mutmut_")[0]), "\n".join(changed))


def read_explained(path: Path = SURVIVORS) -> dict[Change, str]:
    """The survivors that have a reason."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    return {Change(entry["function"], entry["lines"].strip()): entry["reason"] for entry in entries}


def report(folder: Path, console: Console) -> int:
    """Print the score by module and every survivor.

    Returns:
        The exit status.
    """
    fates = read_fates(folder)
    killed = {name for name, fate in fates.items() if fate in ("killed", "timeout", "segfault")}
    table = Table("module", "mutants", "killed", "score")
    totals, kills = (Counter(_module(name) for name in names) for names in (fates, killed))
    for module, total in sorted(totals.items()):
        table.add_row(module, str(total), str(kills[module]), f"{kills[module] / total:.1%}")
    console.print(table)
    explained, unexplained = read_explained(), 0
    for change in sorted(read_change(folder, name) for name in fates.keys() - killed):
        reason = explained.get(change)
        unexplained += reason is None
        text = f"\nsurvived in {change.function}: {reason or 'UNEXPLAINED'}\n{change.lines}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    score = len(killed) / len(fates)
    summary = f"\n{len(killed)} of {len(fates)} mutants killed, {score:.1%} (at least {SCORE:.0%} wanted)"
    console.print(f"{summary}; {unexplained} survivors without a reason", highlight=False)
    return 0 if score >= SCORE and not unexplained else 1


def _module(name: str) -> str:
    return re.split(r"\.xǁ|\.x_", name)[0]


def main(options: MutationOptions) -> int:
    """Mutate, run, and report.

    Returns:
        The exit status.
    """
    console = Console() if sys.stdout.isatty() else Console(width=140)
    workers = [] if options.workers is None else ["--max-children", str(options.workers)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        prepare(folder, options.modules)
        mutmut(folder, "run", *workers, capture=False)
        return report(folder, console)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(MutationOptions)))

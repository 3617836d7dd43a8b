"""Runs the commands that users type, word for word, in a fresh clone; `pytest -m readme` selects it.

First both commands of the README, then the three by which the project is used, each with its exit status. The suites of
properties/ and theory/ have a command of their own, so the README's test command leaves them out here; all of them keep
their outcomes together, so that the last one judges every claim.
"""

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


def commands() -> list[str]:
    """The lines of the README's first block of shell commands."""
    block = re.search(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for line in block[1].splitlines() if line]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone of what is committed."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def scratch():
    """Where the tests keep their files: in memory where there is such a place, since they often wait for the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own in it
    folder = tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "VIRTUAL_ENV"))}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment | variables, check=False)


@pytest.mark.readme
def test_the_readme_has_two_commands():
    first, second = commands()
    assert "experiments/verify_growth.py --env hopper" in first
    assert "pytest -n auto" in second


@pytest.mark.readme
def test_first_command_forecasts_a_crash(clone):
    environment = {name: value for name, value in os.environ.items() if name != "SEEM_D4RL_DIR"}
    done = subprocess.run(
        ["bash", "-c", commands()[0]], cwd=clone, env=environment, check=False, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, "no verdict contradicts the record"
    assert "embedded (made by this project)" in done.stdout.splitlines()[0]
    assert "crash step forecast at 80% of the run" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("compared with the record hopper-embedded: no verdict turned")
    for name in ("forecast.png", "power_lines.png", "seem_and_q.png", "runs.jsonl", "results.json"):
        assert (clone / "runs" / "growth-hopper" / name).stat().st_size > 0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Where all suites keep their outcomes."""
    return tmp_path_factory.mktemp("claims") / "outcomes.json"


@pytest.mark.readme
def test_second_command_passes(clone, outcomes, scratch):
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    # Not --ignore: it spares the folders of testpaths.
    others = " ".join(folder for folder in folders if folder not in ("properties", "theory"))
    rest = f"-o 'testpaths={others}' --claim-outcomes={outcomes}"
    assert shell(commands()[1], clone, PYTEST_ADDOPTS=rest, TMPDIR=scratch).returncode == 0


@pytest.mark.readme
@pytest.mark.parametrize(
    "command",
    ["python experiments/verify_growth.py --env hopper --quick", "pytest -n auto theory/", "nox -s properties"],
)
def test_the_commands_by_which_the_project_is_used_pass(clone, outcomes, scratch, command):
    activated = {"PATH": f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = shell(command, clone, PYTEST_ADDOPTS=f"--claim-outcomes={outcomes}", TMPDIR=scratch, **activated)
    assert done.returncode == 0

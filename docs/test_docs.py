"""What the README and these pages ask a reader to type works.

Run: every block of Python in docs/, in one namespace a page and in a folder of its own, and its printed output compared
with the block of text below it (words exactly, numbers within 5 %: another processor rounds otherwise); the commands in
RUN, and `python -m seem`. The README's blocks of Python are run by reference/tests/test_readme_example.py, its two
commands in a fresh clone by readme_test.py, the examples of CONTRIBUTING.md by docs/test_contributing.py.

Checked, not run: all other commands of Python scripts, whose own parser gets the options as written; pytest's, whose
paths must hold tests of the whole suite (those with SEEM_CRITIC are collected); nox's, by its list of what it would
run; pip's, against the extras of the package; run_gpu.sh's, whose options are those of verify_growth.py. A command that
none of this covers fails.
"""

import argparse
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import tyro

from claims.ledger import read_ledger
from docs import commands as documented
from seem.datasets.registry import PINS, read_pins

ROOT = documented.ROOT
TUTORIALS = [page for page in documented.PAGES if page not in documented.TOP]
WITH_PYTHON = [page for page in TUTORIALS if any(block.language == "python" for block in documented.blocks(page))]
COMMANDS = documented.commands()
RUN = {"experiments/verify_baird.py --quick", "experiments/findings.py --out runs/FINDINGS.md"}
"""Commands that take seconds."""
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TESTPATHS = PYPROJECT["tool"]["pytest"]["ini_options"]["testpaths"]
EVERYWHERE = {"du"}
"""Commands of any system."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
CLOSE = 0.05
HISTORY = '{"step":0.0,"seem":1.0,"share_of_bound":0.1}\n'
"""What a watch leaves in its file."""


class Parsed(BaseException):  # no error, and none that a command would catch
    """The options were accepted; nothing was run."""


def outside() -> dict[str, str]:
    """The environment without what pytest and its plugins have put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SEEM", "HYPOTHESIS"))}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_blocks(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "reader"}
    for block, following in pairwise([*documented.blocks(page), documented.Block("end", "")]):
        if block.language != "python":
            continue
        exec(compile(block.text, page.name, "exec"), names)  # noqa: S102 - the page is this repository's own text
        printed = capsys.readouterr().out
        shown = following.text if following.language == "text" else ""
        assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown), f"{page.name} shows other output:\n{printed}"
        for real, said in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
            assert float(real) == pytest.approx(float(said), rel=CLOSE), f"{page.name} shows other numbers:\n{printed}"


def test_pages_have_examples_and_commands():
    assert {page.stem for page in WITH_PYTHON} >= {"tutorial", "forecast", "own-data", "own-critic"}
    assert {command.words[0] for command in COMMANDS} >= {"python", "pytest", "nox", "pip", "experiments/run_gpu.sh"}
    assert {" ".join(command.words[1:]) for command in COMMANDS} >= RUN


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.line}"[:80])
def test_commands(command, tmp_path, monkeypatch):
    name, *arguments = command.words
    if name in ("python", "python3") and arguments[:2] == ["-m", "pytest"]:
        check_pytest(arguments[2:], command.variables)
    elif name in ("python", "python3") and arguments[:2] == ["-m", "nox"]:
        check_nox(arguments[2:])
    elif name in ("python", "python3"):
        if arguments[:2] != ["-m", "venv"]:
            check_script(arguments, tmp_path, monkeypatch)
    elif name == "pytest":
        check_pytest(arguments, command.variables)
    elif name == "nox":
        check_nox(arguments)
    elif name == "pip":
        check_pip(arguments)
    elif name == "experiments/run_gpu.sh":
        assert os.access(ROOT / name, os.X_OK)
        parse_options("experiments/verify_growth.py", ["--env", "hopper", *arguments[2:]], monkeypatch)
    else:
        assert name in EVERYWHERE, f"{command.page} has a command that no test knows: {command.line}"


def check_script(arguments: list[str], folder: Path, monkeypatch) -> None:
    """Run a script where that takes seconds, else have it parse its options."""
    if arguments[:2] == ["-m", "seem"]:
        if arguments[2] == "watch":
            (folder / arguments[3]).write_text(HISTORY, encoding="utf-8")
        subprocess.run([sys.executable, *arguments], env=outside(), cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return
    script, options = arguments[0], arguments[1:]
    if script == "-m":
        script, options = importlib.util.find_spec(options[0]).origin, options[1:]
    if " ".join(arguments) not in RUN:
        parse_options(script, options, monkeypatch)
        return
    (folder / "runs").mkdir()
    done = subprocess.run([sys.executable, ROOT / script, *options], cwd=folder, env=outside(), check=False)
    assert done.returncode == 0
    assert list((folder / "runs").iterdir())


def parse_options(script: str, options: list[str], monkeypatch) -> None:
    """Start a script and stop it as soon as its parser has taken the options."""
    path = ROOT / script
    cli, parse_args = tyro.cli, argparse.ArgumentParser.parse_args

    def parse(*arguments, **settings):
        raise Parsed(cli(*arguments, **settings))

    def parse_plainly(parser, argv=None):
        raise Parsed(parse_args(parser, argv))

    if "import argparse" in path.read_text(encoding="utf-8"):
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_plainly)
    else:
        monkeypatch.setattr(tyro, "cli", parse)
    monkeypatch.setattr(sys, "argv", [script, *options])
    with pytest.raises((Parsed, SystemExit)) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.type is Parsed or (ended.value.code == 0 and "--help" in options), f"{script} refuses {options}"


def test_a_stale_option_is_noticed(monkeypatch):
    with pytest.raises(AssertionError, match="refuses"):
        parse_options("experiments/verify_growth.py", ["--env", "hopper", "--no-such-option"], monkeypatch)


def check_pytest(arguments: list[str], variables: dict[str, str]) -> None:
    """Paths hold tests, which a run of the whole suite collects; with variables set they are collected here."""
    if arguments[:1] == ["--claim"]:
        assert arguments[1] in read_ledger().claims
        arguments = arguments[2:]
    paths = [word for word in arguments if not word.startswith("-") and word != "auto"]
    assert set(arguments) - set(paths) <= {"-n", "auto", "-q"}
    for path in paths:
        assert (ROOT / path).is_file() or list((ROOT / path).rglob("test_*.py")), f"{path} holds no tests"
        assert path.split("/")[0] in {Path(name).parts[0] for name in TESTPATHS}
    if variables:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *paths]
        done = subprocess.run(command, cwd=ROOT, env=outside() | variables, stdout=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stdout.decode()


def check_nox(arguments: list[str]) -> None:
    """What is asked for by name or tag is there."""
    assert sessions(tuple(arguments)), f"noxfile.py has nothing for {arguments}"


@cache
def sessions(asked: tuple[str, ...]) -> list[dict[str, object]]:
    """The sessions that nox would run."""
    command = [sys.executable, "-m", "nox", "--list", "--json", *asked]
    done = subprocess.run(command, cwd=ROOT, env=outside(), check=False, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else []


def test_a_missing_session_is_noticed():
    assert sessions(("-s", "docs"))
    assert not sessions(("-s", "no-such-session"))
    assert not sessions(("-t", "no-such-tag"))


def check_pip(arguments: list[str]) -> None:
    """The constraints are used, and the extras exist."""
    assert arguments[0] == "install"
    assert "constraints.txt" in arguments
    extras = PYPROJECT["project"]["optional-dependencies"]
    for package in (word for word in arguments if word.startswith(".")):
        asked = re.fullmatch(r"\.(?:\[([\w,-]+)\])?", package)[1]
        assert set(asked.split(",") if asked else ()) <= extras.keys()


def test_files_that_are_named_exist():
    """Names of this repository's files and folders in code quotes, save for what a command is still to write."""
    roots = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"runs"}
    for page in documented.PAGES:
        prose = documented.BLOCK.sub("", page.read_text(encoding="utf-8"))
        for name in re.findall(r"`([\w.-]+/[\w./*-]*)`", prose):
            if name.split("/")[0] in roots:
                assert any(ROOT.glob(name)), f"{page.name} names {name}, which is not there"


def test_modules_and_functions_that_are_named_exist():
    for page in documented.PAGES:
        prose = documented.BLOCK.sub("", page.read_text(encoding="utf-8"))
        for name in re.findall(r"`(seem(?:\.\w+)+)`", prose):
            try:
                found = importlib.util.find_spec(name)  # not imported: it may need a library that is not here
            except ModuleNotFoundError:
                found = None
            if found is None:
                module, _, attribute = name.rpartition(".")
                assert hasattr(importlib.import_module(module), attribute), f"{page.name} names {name}"


def test_data_labels_are_those_of_the_code():
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    labels = {label for _, label in read_pins(PINS).values()}
    assert {"embedded (made by this project)", "D4RL v0 windows", "surrogate"} < labels
    for label in labels:
        assert f"| {'NeoRL-2 NAME, training or validation file' if 'NeoRL-2' in label else label} |" in page

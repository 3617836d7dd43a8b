"""Every file in its room, imports one way, and few modules between a user's options and a verdict."""

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from studies.baird.study import STUDY as BAIRD
from studies.growth.study import STUDY as GROWTH
from studies.shared.study import parse, run_study

from claims.ledger import ROOT

ROOMS = {
    "reference/seem": set(),
    "reference/peers": {"reference/seem"},
    "reference/tests": {"reference/seem", "reference/peers", "theory", "properties", "claims"},
    "theory": {"reference/seem"},
    "properties": {"reference/seem", "reference/tests", "theory"},
    "experiments": {"reference/seem", "reference/peers", "reference/tests", "theory", "claims"},
    "benchmarks": {"reference/seem", "reference/peers", "reference/tests"},
    "integrations": {"reference/seem", "reference/tests"},
    "claims": {"reference/seem", "experiments", "theory"},
    "docs": {"reference/seem", "experiments", "theory", "claims"},
}
"""What each room may import; theory/ does so in its tests alone, and so does experiments/ with the ledger."""
PACKAGES = {
    "seem": "reference/seem",
    "peers": "reference/peers",
    "studies": "experiments",
    "reference": "reference/tests",
}
MODULES = {name: name for name in ("theory", "properties", "claims", "docs", "benchmarks", "experiments")}
TOP = {".ci", "benchmarks", "claims", "docs", "experiments", "integrations", "properties", "reference", "theory"}
SCRIPTS = {"verify", "record", "findings", "forecast_errors", "float64_readings", "picture", "run_gpu"}
"""Beginnings of the names that users type in experiments/."""


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def room_of(name: str) -> str | None:
    return next((room for room in ROOMS if name.startswith(f"{room}/")), None)


def imported(path: Path) -> set[str]:
    """The rooms whose modules a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        found |= {(PACKAGES | MODULES).get(name.split(".")[0], "") for name in names}
    return found - {""}


def test_imports_go_one_way():
    arrows = Counter()
    for name in tracked():
        room = room_of(name)
        if room is None or not name.endswith(".py"):
            continue
        for target in imported(ROOT / name) - {room}:
            arrows[room, target] += 1
            assert target in ROOMS[room], f"{name} imports {target}, which {room}/ must not"
    for (room, target), count in sorted(arrows.items()):
        print(f"{room} -> {target}: {count} files")
    assert arrows["experiments", "reference/seem"] > 10, "nothing was read"


def test_every_file_is_in_its_room():
    for name in tracked():
        first, *rest = name.split("/")
        assert not rest or first in TOP, f"{name} is outside every room"
        if first == "experiments" and len(rest) == 1:
            known = rest[0] in ("FINDINGS.md", "findings.toml") or any(rest[0].startswith(word) for word in SCRIPTS)
            assert known, f"{name} belongs into experiments/studies/"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.name)
def test_what_users_type_is_a_thin_entry(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.If) for node in body)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 25


def modules_entered(study, arguments) -> set[str]:
    """The modules of experiments/ whose functions run between a user's options and the verdicts."""
    entered, judged, home = set(), [], f"{ROOT / 'experiments'}{os.sep}"

    def watch(frame, event, argument):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(home):
            entered.add(Path(name.removeprefix(home)).as_posix())
        if event == "return" and frame.f_code is study.judge.__code__:
            judged.append(argument)
            sys.setprofile(None)  # figures are drawn afterwards, by very many calls

    sys.setprofile(watch)
    try:
        run_study(study, parse(study, ["--workers", "1", *arguments]))
    finally:
        sys.setprofile(None)
    assert judged
    return entered - {"tests/test_house.py"}


def test_from_options_to_a_verdict_are_at_most_eight_modules(tmp_path):
    small = ("--depths", "2", "--width", "8", "--batch", "16", "--budget", "10", "--adam-steps", "10")
    entered = modules_entered(GROWTH, ["--env", "hopper", "--quick", "--out", str(tmp_path / "growth"), *small])
    # The script itself is one more.
    assert len(entered) + 1 <= 8, sorted(entered)
    assert {"studies/growth/runs.py", "studies/growth/verdicts.py", "studies/shared/study.py"} <= entered
    entered = modules_entered(BAIRD, ["--quick", "--steps", "0.1", "--out", str(tmp_path / "baird")])
    assert len(entered) + 1 <= 8, sorted(entered)

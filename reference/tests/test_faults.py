"""The fault injection finds what is lost, and only that: scripts with one known weakness each, and real runs."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reference.tests.fault_cases import COMMANDS, VOLATILE
from reference.tests.fault_files import contents
from reference.tests.fault_plan import SETTINGS, Fault, Setting, plan, spread
from reference.tests.faults import Command, Try, as_table, attempt, try_all, undisturbed

SAFE = """
import os, sys, time
from pathlib import Path
out = Path(sys.argv[1])
try:
    for path in out.glob("*.tmp"):
        path.unlink()
    (out / "below").mkdir(exist_ok=True)
    for name in ("a.json", "below/b.txt"):
        with open(out / "x.tmp", "w") as file:
            file.write('{"seconds": %r, "x": 1}' % time.time() if name == "a.json" else "text" * 5000)
            file.flush()
            os.fsync(file.fileno())
        os.replace(out / "x.tmp", out / name)
    (out / "below/b.txt").read_text()
except OSError as error:
    print(f"error: cannot write {out} ({error.strerror}): free some space", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)
"""
WEAK = {
    "a traceback": SAFE.replace("except OSError", "except ZeroDivisionError"),
    "status 1": SAFE.replace("sys.exit(2)", "sys.exit(1)"),
    "0 sentences": SAFE.replace("error: cannot", "cannot"),
    "2 sentences": SAFE.replace("    sys.exit(2)", "    print('error: a: b', file=sys.stderr)\n    sys.exit(2)"),
    "finished with other files": SAFE.replace("sys.exit(2)", "sys.exit(0)"),
    "the same command then leaves other files": SAFE.replace("        path.unlink()", "        pass").replace(
        '"x.tmp"', 'f"{os.getpid()}.tmp"'
    ),
    "the same command then ends with status 2": SAFE.replace(
        "try:\n", "try:\n    if list(out.glob('*.tmp')): raise OSError(5, 'left')\n"
    ),
}


def command_of(script: str, folder: Path) -> Command:
    (folder / "script.py").write_text(script)
    return Command("script", (str(folder / "script.py"), "{out}"), volatile=frozenset({"seconds"}))


def test_a_safe_script_survives_everything(tmp_path):
    tries = try_all([command_of(SAFE, tmp_path)], most=2, stages=("below", "absent"), workers=2)
    assert [one.loss for one in tries if one.loss] == []
    assert len(tries) > 60
    assert {one.setting for one in tries} == {setting.name for setting in SETTINGS}
    assert all(one.happened for one in tries)
    assert {2, 0, -9, -15, -1, 130} <= {one.status for one in tries}, "faults of every kind do happen"


@pytest.mark.parametrize("weakness", WEAK)
def test_a_weak_script_is_found_out(weakness, tmp_path):
    command = command_of(WEAK[weakness], tmp_path)
    faults = (Fault("ENOSPC", "write", 2), Fault("EIO", "fsync", 1), Fault("SIGKILL", "replace", 2))
    losses = [attempt(command, SETTINGS[0], fault, undisturbed(command).files).loss for fault in faults]
    assert any(loss.startswith(weakness) for loss in losses), losses


def test_a_dear_command_has_few_tries_of_all_kinds(tmp_path):
    tries = try_all([replace(command_of(SAFE, tmp_path), tries=3)], most=2, workers=2)
    assert [one.loss for one in tries] == ["", "", ""]
    assert tries[0].fault.call == "write"
    assert tries[-1].setting == SETTINGS[-1].name


def test_a_script_that_fails_by_itself_is_no_reference(tmp_path):
    with pytest.raises(RuntimeError, match="ends with status 3 by itself"):
        undisturbed(command_of("import sys; sys.exit(3)", tmp_path))


def test_calls_are_counted_by_kind(tmp_path):
    expected = {"write": 2, "fsync": 2, "replace": 2, "mkdir": 1, "create": 2, "open": 1}
    calls = undisturbed(command_of(SAFE, tmp_path)).calls
    assert calls == Counter(expected) + Counter({"any": sum(expected.values())})
    lost = plan(calls, 1)
    assert {fault.does for fault in lost} == {
        "ENOSPC",
        "EIO",
        "EACCES",
        "SIGKILL",
        "SIGTERM",
        "SIGHUP",
        "SIGINT",
        "clock",
    }


def test_a_fault_at_a_call_that_does_not_come_does_not_happen(tmp_path):
    command = command_of(SAFE, tmp_path)
    kills = {k: attempt(command, SETTINGS[0], Fault("SIGKILL", "any", k, path="below"), {}) for k in (1, 999)}
    assert kills[1].happened
    assert not kills[999].happened
    assert attempt(command, SETTINGS[0], Fault(), {}).happened, "no fault at all"


def test_numbers_are_spread_from_the_first_to_the_last():
    assert spread(3, 5) == [1, 2, 3]
    assert spread(100, 3) == [1, 50, 100] or spread(100, 3) == [1, 51, 100]
    assert spread(0, 3) == []
    assert spread(7, 1) == [1]


def test_only_declared_fields_are_left_out(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"seconds": 1, "deep": [{"seconds": 2, "x": 3}]}))
    (tmp_path / "b.jsonl").write_text('{"seconds": 1, "y": 2}\n')
    assert contents(tmp_path, frozenset({"seconds"})) == {"a.json": {"deep": [{"x": 3}]}, "b.jsonl": [{"y": 2}]}
    assert contents(tmp_path)["b.jsonl"] == [{"seconds": 1, "y": 2}]


def test_the_table_counts_and_names_the_losses():
    tries = [
        Try("train", "plain", Fault("ENOSPC", "write", 1), 2, ""),
        Try("train", "plain", Fault("ENOSPC", "write", 2), 1, "a traceback"),
        Try("train", "umask 077", Fault(), 0, ""),
        Try("train", "plain", Fault("EIO", "unlink", 9), 0, "", happened=False),
    ]
    table = as_table(tries, "command")
    assert "| ENOSPC at a write | plain | 2 | 1 |" in table
    assert "| **all** | | **3** | **2** |" in table
    assert "- train, plain, ENOSPC at a write 2: a traceback" in table
    assert "EIO" not in table
    assert "1 further faults were planned at calls that did not come" in table


REAL = {command.name: command for command in COMMANDS}


@pytest.mark.parametrize(
    ("name", "setting", "fault"),
    [
        ("train sgd", SETTINGS[4], Fault("ENOSPC", "write", 12)),
        ("train sgd", Setting("all at once", "a b", 0o077, True, True), Fault("SIGKILL", "any", 60)),
        ("sweep", SETTINGS[0], Fault("SIGKILL", "replace", 5)),
        ("download", SETTINGS[4], Fault("EIO", "fsync", 1)),
    ],
)
def test_real_commands_survive(name, setting, fault):
    command = REAL[name]
    assert attempt(command, setting, fault, undisturbed(command).files).loss == ""


def test_the_commands_leave_out_nothing_but_times():
    assert {"seconds", "seal"} == VOLATILE
    assert all(command.volatile <= VOLATILE | {"command"} for command in COMMANDS)
    assert "SEEM_FAULT" not in os.environ

"""One writer a folder: two and three processes on one run end as one does, and a killed one leaves nothing locked."""

import errno
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reference.tests.small_runs import FILES, contents
from reference.tests.training_cases import RUNS, dataset
from seem import locks
from seem.errors import InputError
from seem.locks import LOCK, FolderInUseError, lock_file, lock_folder, write_alone
from seem.records import read_run
from seem.training import train

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from seem.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TRAIN = """
import sys
from pathlib import Path
from reference.tests.training_cases import RUNS, dataset
from seem.errors import InputError
from seem.training import train
print("ready", flush=True)
sys.stdin.readline()
try:
    train(RUNS[sys.argv[2]], dataset(), Path(sys.argv[1]), lock_seconds=float(sys.argv[3]), checkpoint_seconds=0.0)
except InputError as error:
    print(error)
    sys.exit(2)
"""


def start(script: str, *arguments: str) -> subprocess.Popen:
    """A process that has said its first word."""
    command = [sys.executable, "-c", script, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    return process


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path):
    with start(HOLD, str(tmp_path)) as holder:
        with pytest.raises(FolderInUseError) as caught, lock_folder(tmp_path):
            pytest.fail("two processes hold one lock")
        assert re.fullmatch(
            rf"the folder {tmp_path} is in use by process {holder.pid} on \S+ \(.*\): "
            "wait until that has ended, or choose another",
            str(caught.value),
        )
        holder.stdin.close()
        holder.wait()
    with lock_folder(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_frees_its_lock_and_what_it_left_is_removed(tmp_path):
    with start(HOLD, str(tmp_path)) as holder:
        (tmp_path / ".outcome.json.x.partial").touch()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK).exists()
    with lock_folder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_a_waiting_process_gets_the_lock_when_it_is_free(tmp_path, monkeypatch):
    held = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    waited = []

    def release(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:  # as a holder ends: the file goes first, then the lock
            (tmp_path / LOCK).unlink()
            os.close(held)

    monkeypatch.setattr(locks.time, "sleep", release)
    with lock_folder(tmp_path, wait=60.0):
        assert len(waited) == 3
        assert (tmp_path / LOCK).exists(), "a lock on a file without a name would exclude nobody"


@pytest.mark.parametrize("next_holder", [False, True])
def test_a_lock_on_a_file_that_lost_its_name_is_not_taken_for_one(next_holder, tmp_path, monkeypatch):
    opened = []
    original = locks._open

    def open_and_lose(path: Path) -> int:
        opened.append(original(path))
        if len(opened) == 1:
            path.rename(tmp_path / "kept")  # its holder ended between this process's open and its lock
            if next_holder:
                path.touch()
        return opened[-1]

    monkeypatch.setattr(locks, "_open", open_and_lose)
    with lock_file(tmp_path / "x"):
        assert len(opened) == 2
        assert (tmp_path / "x").exists()


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path):
        raise ZeroDivisionError
    with lock_folder(tmp_path):
        pass


def test_a_file_alone_leaves_nothing_of_a_killed_writer_and_nothing_of_others_is_removed(tmp_path):
    mine, others = tmp_path / "a[b].json", ("b.json", ".a.json.x.partial", ".ab.json.x.partial", "a[b].json.partial")
    for name in (*others, ".a[b].json.x.partial"):
        (tmp_path / name).write_text("half")
    write_alone(mine, "whole")
    assert mine.read_text() == "whole"
    assert {path.name for path in tmp_path.iterdir()} == {*others, mine.name}


def test_a_file_that_is_being_written_is_refused(tmp_path):
    with lock_file(tmp_path / f".a.json{LOCK}"), pytest.raises(FolderInUseError, match=r"a\.json is in use by"):
        write_alone(tmp_path / "a.json", "")
    assert not (tmp_path / "a.json").exists()


def test_a_folder_and_a_folder_in_it_have_locks_of_their_own(tmp_path):
    (tmp_path / "run").mkdir()
    with lock_folder(tmp_path), lock_folder(tmp_path / "run"):
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_named_once_and_used(code, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with lock_folder(tmp_path):
                pass
    (record,) = caplog.records
    assert str(tmp_path) in record.getMessage()
    assert "no second process" in record.getMessage()


def test_another_failure_of_the_lock_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"cannot lock .*Input/output error.*choose another"), lock_folder(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["folder", "link", "missing"])
def test_a_place_where_no_lock_can_be_is_refused(kind, tmp_path):
    folder = tmp_path / "out"
    if kind != "missing":
        folder.mkdir()
    if kind == "folder":
        (folder / LOCK).mkdir()
    if kind == "link":
        (folder / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"cannot write into .*choose another output folder"), lock_folder(folder):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("wait", ["0", "60"])
def test_processes_at_once_on_one_run_leave_the_record_of_one(processes, wait, tmp_path):
    """All let go at the same moment: with waiting all end well, without it one does and the others are refused."""
    train(RUNS["adam"], dataset(), tmp_path / "alone")
    folder = tmp_path / "shared"
    started = [start(TRAIN, str(folder), "adam", wait) for _ in range(processes)]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0] for process in started]
    codes = [process.returncode for process in started]
    assert set(codes) <= ({0} if wait == "60" else {0, 2}), said
    assert 0 in codes
    assert all("is in use by process" in text for text, code in zip(said, codes, strict=True) if code == 2)
    assert contents(folder) == contents(tmp_path / "alone")
    assert {path.name for path in folder.iterdir()} == {*FILES, "outcome.json"}
    outcome, expected = read_run(folder).outcome, read_run(tmp_path / "alone").outcome
    assert {**outcome, "seconds": 0} == {**expected, "seconds": 0}

"""Sweeps: every run once, wherever it runs; kills, preemptions and failures cost their own task and no other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console

from reference.tests.small_runs import CALM, contents, write_small
from seem import sweep
from seem.config import run_key
from seem.datasets import load
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.records import read_run
from seem.sweep import Task, run_sweep, run_tasks, show_progress
from seem.training import train

SERIAL, POOL, LOCAL = (
    ExecutorOptions(workers=1),
    ExecutorOptions(workers=2),
    ExecutorOptions(workers=2, executor="local"),
)


@dataclass(frozen=True)
class Number:
    """A task that is no training run."""

    value: int

    @property
    def name(self) -> str:
        return f"number {self.value}"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small.hdf5")


def tasks_of(data: Path) -> list[Task]:
    return [Task(f"calm-seed{seed}", replace(CALM, seed=seed), data) for seed in range(2)]


def square(task: Number) -> tuple[int, int]:
    return task.value**2, torch.get_num_threads()


def fail_on_odd(task: Number) -> int:
    if task.value == 1:
        raise InputError("one is odd: pass an even number")
    if task.value == 3:
        raise ZeroDivisionError("three\nis odd")
    return task.value


def kill_own_process_on_odd(task: Number) -> int:
    if task.value % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.value


def hand_back_a_function(task: Number):
    return lambda: task


def train_until(signalled: int, step: int, out: Path, task: Task) -> Path:
    """Train, and at a step of the first attempt signal the own process, as an impatient cluster does."""
    folder = out / task.name
    attempted = (folder / "config.json").exists()

    def on_step(taken: int) -> None:
        if taken >= step and not attempted:
            os.kill(os.getpid(), signalled)

    train(task.config, load(task.data), folder, checkpoint_seconds=0.0, on_step=on_step)
    return folder


def until_the_failure(finished: Iterator) -> tuple[list, str]:
    """What a sweep yields before it says which of its tasks failed, and what it says."""
    done = []
    try:
        done.extend(pair for pair in finished)
    except InputError as error:
        return done, str(error)
    raise AssertionError("no task failed")


@pytest.mark.parametrize("options", [SERIAL, POOL, LOCAL], ids=["serial", "pool", "local"])
def test_every_task_comes_back_with_its_value_on_one_thread(options, tmp_path):
    before = torch.get_num_threads()
    tasks = [Number(value) for value in range(3)]
    finished = dict(run_tasks(square, tasks, options, folder=tmp_path))
    assert finished == {task: (task.value**2, 1) for task in tasks}
    assert torch.get_num_threads() == before


def test_a_serial_sweep_runs_a_task_when_it_is_asked_for(tmp_path):
    finished = run_tasks(square, [Number(2), Number(3)], SERIAL, folder=tmp_path)
    assert next(finished) == (Number(2), (4, 1))
    assert not list(tmp_path.iterdir()), "nothing but a cluster's jobs needs files"


def test_nothing_to_do_is_no_error(tmp_path):
    for options in (SERIAL, POOL, LOCAL):
        assert list(run_tasks(square, [], options, folder=tmp_path)) == []


@pytest.mark.parametrize("options", [SERIAL, POOL, LOCAL], ids=["serial", "pool", "local"])
def test_a_failing_task_is_named_and_loses_no_other(options, tmp_path, capfd):
    tasks = [Number(value) for value in range(4)]
    finished, sentence = until_the_failure(run_tasks(fail_on_odd, tasks, options, folder=tmp_path))
    assert sorted(value for _, value in finished) == [0, 2]
    assert "\n" not in sentence
    assert sentence.startswith("2 of 4 tasks failed (")
    assert "number 1: one is odd: pass an even number" in sentence
    assert "number 3: ZeroDivisionError: three is odd" in sentence
    logs = capfd.readouterr().err + "".join(path.read_text() for path in tmp_path.glob("jobs/*/*.err"))
    assert "in fail_on_odd" in logs, "where an unexpected error came from is not lost"
    assert "InputError" not in logs


def test_a_killed_process_loses_its_own_task_only(tmp_path):
    tasks = [Number(value) for value in (0, 1, 2, 4)]
    finished, sentence = until_the_failure(run_tasks(kill_own_process_on_odd, tasks, POOL, folder=tmp_path))
    assert sorted(value for _, value in finished) == [0, 2, 4]
    assert sentence.startswith("1 of 4 tasks failed (number 1: its process was killed")


def test_what_cannot_be_pickled_is_a_failure_with_a_name(tmp_path):
    with pytest.raises(InputError, match=r"number 5: .*[Pp]ickle"):
        list(run_tasks(hand_back_a_function, [Number(5)], POOL, folder=tmp_path))


def test_runs_lie_in_folders_named_by_words_and_key(data, tmp_path):
    tasks = tasks_of(data)
    folders = dict(run_sweep(tasks, tmp_path, SERIAL))
    for task in tasks:
        key = run_key(task.config, load(data), "cpu")
        assert folders[task] == tmp_path / f"{task.name}-{key[:12]}"
        assert read_run(folders[task]).outcome["key"] == key


def test_finished_runs_are_handed_over_and_never_run_again(data, tmp_path, monkeypatch):
    first, second = tasks_of(data)
    (done,) = run_sweep([first], tmp_path, SERIAL)
    before = {path: path.stat().st_mtime_ns for path in done[1].iterdir()}
    trained = []
    monkeypatch.setattr(sweep, "train", lambda *a, **k: trained.append(a[0].seed) or train(*a, **k))
    assert [task for task, _ in run_sweep([second, first], tmp_path, SERIAL)] == [first, second]
    assert trained == [second.config.seed]
    assert {path: path.stat().st_mtime_ns for path in done[1].iterdir()} == before


def test_another_configuration_under_the_same_name_gets_its_own_folder(data, tmp_path):
    first, _ = tasks_of(data)
    changed = replace(first, config=replace(first.config, budget=61))
    folders = dict(run_sweep([first, changed], tmp_path, SERIAL))
    assert len(set(folders.values())) == 2


def test_the_order_and_the_executor_change_no_byte(data, tmp_path):
    tasks = tasks_of(data)
    serial = dict(run_sweep(tasks, tmp_path / "serial", SERIAL))
    pool = dict(run_sweep(tasks[::-1], tmp_path / "pool", POOL))
    assert {t: contents(f) for t, f in serial.items()} == {t: contents(f) for t, f in pool.items()}
    assert {f.name for f in serial.values()} == {f.name for f in pool.values()}


def test_a_changed_record_is_one_task_s_failure(data, tmp_path):
    first, second = tasks_of(data)
    (done,) = run_sweep([first], tmp_path, SERIAL)
    (done[1] / "readings.jsonl").write_text("{}\n")
    finished, sentence = until_the_failure(run_sweep([first, second], tmp_path, SERIAL))
    assert [task for task, _ in finished] == [second]
    assert sentence.startswith(f"1 of 2 tasks failed ({first.name}: readings.jsonl in ")


def test_a_run_declared_twice_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="'calm-seed0' is declared twice"):
        list(run_sweep(tasks_of(data) * 2, tmp_path / "out", SERIAL))
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> dict[str, bytes]:
    """What a run writes that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    train(CALM, load(data), folder)
    return contents(folder)


def test_a_killed_worker_s_run_resumes_to_the_same_bytes(data, whole, tmp_path):
    task = Task("calm", CALM, data)
    killed = partial(train_until, signal.SIGKILL, 30, tmp_path)
    with pytest.raises(InputError, match="1 of 1 tasks failed"):
        list(run_tasks(killed, [task], POOL, folder=tmp_path))
    assert (tmp_path / "calm" / "checkpoint.safetensors").exists()
    assert list(run_tasks(killed, [task], POOL, folder=tmp_path)) == [(task, tmp_path / "calm")]
    assert contents(tmp_path / "calm") == whole


def test_a_preempted_job_is_requeued_and_resumes_to_the_same_bytes(data, whole, tmp_path):
    task = Task("calm", CALM, data)
    preempted = partial(train_until, signal.SIGUSR2, 30, tmp_path)
    assert list(run_tasks(preempted, [task], LOCAL, folder=tmp_path)) == [(task, tmp_path / "calm")]
    assert contents(tmp_path / "calm") == whole
    (log,) = (path.read_text() for path in tmp_path.glob("jobs/*/*_log.out"))
    assert "Requeued job" in log
    assert log.count("Starting with") == 2


def test_a_job_without_a_result_is_a_failure_with_a_log(tmp_path, monkeypatch):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)
    with pytest.raises(InputError, match=r"number 1: its job ended without a result, as .*_log\.err tells"):
        list(run_tasks(kill_own_process_on_odd, [Number(1)], LOCAL, folder=tmp_path))


def test_processes_end_with_the_sweep_that_started_them(tmp_path):
    """A killed sweep leaves nobody who would write the runs of its repetition."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from seem.executors import run_in_processes\n"
        "def wait(task):\n"
        "    Path(sys.argv[1], f'{task}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(300)\n"
        "if __name__ == '__main__':\n"
        "    list(run_in_processes(wait, ['a', 'b'], 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 60

    def started() -> list[int]:
        return [int(text) for path in tmp_path.glob("*.pid") if (text := path.read_text())]

    while len(started()) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in started()):
        assert time.monotonic() < deadline, "a worker outlives its sweep"
        time.sleep(0.05)


def test_the_progress_bar_names_what_is_done(tmp_path):
    console = Console(record=True, width=80, force_terminal=True)
    tasks = [Number(value) for value in range(2)]
    shown = list(show_progress(run_tasks(square, tasks, SERIAL, folder=tmp_path), len(tasks), console))
    assert [task for task, _ in shown] == tasks
    text = console.export_text()
    assert "done number 1" in text
    assert "2/2" in text

"""Options of executors: what cannot be done here is refused in one sentence, before anything is written."""

import os
import re

import pytest

from seem import executors
from seem.agents.td3 import TD3Config
from seem.config import RunConfig
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.sweep import Task, run_tasks

BAD = {
    "workers": (ExecutorOptions(workers=0), "pass 1 or more processes"),
    "minutes": (ExecutorOptions(minutes=0), "pass 1 or more"),
    "partition": (ExecutorOptions(partition="gpu"), "add --executor slurm"),
    "submitit": (ExecutorOptions(executor="local"), "pip install"),
    "slurm": (ExecutorOptions(executor="slurm"), "there is no Slurm here"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_option_is_one_sentence_and_leaves_nothing(name, tmp_path, monkeypatch):
    options, remedy = BAD[name]
    monkeypatch.setenv("PATH", str(tmp_path))
    if name == "submitit":
        monkeypatch.setattr(executors.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        list(run_tasks(print, [Task("calm", RunConfig(TD3Config()), tmp_path)], options, folder=tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="cannot be used here"):
        ExecutorOptions().check("abacus")


def test_workers_by_default(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert ExecutorOptions().workers_for("cpu") == executors.MOST_PROCESSES
    assert ExecutorOptions().workers_for("cuda") == 1
    assert ExecutorOptions(workers=3).workers_for("cuda") == 3

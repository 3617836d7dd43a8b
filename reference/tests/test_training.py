"""The training loop: the exact crash step, forecasts first, censoring, refusals, and kills at any moment.

Run as a script, this file is the process that gets killed: see `chain_of_kills`.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from seem import training
from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3, TD3Config
from seem.config import RunConfig, run_key
from seem.datasets import Dataset
from seem.errors import InputError
from seem.networks import MLPConfig
from seem.records import read_lines, read_run
from seem.training import TRACE_COLUMNS, train
from seem.transitions import Transitions

SHAPE = MLPConfig(depth=2, width=16)
SGD = TD3Config(
    critic=SHAPE,
    actor=SHAPE,
    critic_optimiser="sgd",
    critic_lr=0.05,
    actor_interval=10**6,
    target_rate=1.0,
    target_interval=1,
    target_noise=0.0,
)
CRASHING = RunConfig(SGD, rows=8, budget=60, reading_interval=5)
"""Crashes at step 22: successors twice as far out excite the critic."""
CALM = replace(CRASHING, agent=replace(SGD, critic_lr=1e-3, discount=0.0), budget=21, reading_interval=4)
"""Without a bootstrap and with small steps the critic is a regression, which does not crash."""
TD3_PLUS = TD3Config(critic=SHAPE, actor=SHAPE, behaviour_cloning=1.0)
RUNS = {
    "sgd": CRASHING,
    "adam": RunConfig(TD3_PLUS, rows=6, batch=5, normalise_states=True, dtype="float32", budget=40, reading_interval=7),
    "momentum": replace(CALM, agent=replace(SGD, momentum=0.9, critic_lr=1e-3), batch=4, seed=3),
    "sac": RunConfig(SACConfig(critic=SHAPE, actor=SHAPE), rows=6, batch=5, budget=30, reading_interval=7),
}
KILLS = {"sgd": (7,), "adam": (6, 8), "momentum": (8,), "sac": (7,)}
"""For each run, inside which of a process's fsyncs it is killed."""
FILES = ("config.json", "readings.jsonl", "forecasts.jsonl", "trace.safetensors")


def dataset(rows: int = 24, sha256: str = "0" * 64) -> Dataset:
    """Rewards of 1 and successors s' = 2s, on which a critic excites itself."""
    generator = torch.Generator().manual_seed(0)
    s = torch.randn(rows, 3, generator=generator)
    a = torch.rand(rows, 1, generator=generator) * 2 - 1
    transitions = Transitions(s, a, torch.ones(rows), 2 * s, torch.zeros(rows))
    return Dataset("toy", "surrogate", Path("toy.hdf5"), sha256, transitions)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def bare_run(config: RunConfig) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """The loop without the loop: (values, target, norm of θ) before every step, up to the first non-finite value."""
    dtype = getattr(torch, config.dtype)
    rows = dataset().transitions.to(dtype=dtype).subset(config.rows, torch.Generator().manual_seed(config.seed))
    agent, seen = TD3(config.agent, 3, 1, seed=config.seed, dtype=dtype), []
    for _ in range(config.budget):
        norm = torch.cat([parameter.detach().flatten() for parameter in agent.critics[0].parameters()]).norm().item()
        values, target = agent.update(rows)
        seen.append((values, target, norm))
        if not values.isfinite().all():
            break
    return seen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_crash_is_recorded_at_its_exact_step(dtype, tmp_path):
    config = replace(CRASHING, dtype=dtype)
    outcome = train(config, dataset(), tmp_path / "run")
    seen = bare_run(config)
    crash = len(seen) - 1
    assert 15 < crash < 40, "not a crash at the start, nor the end of the budget"
    assert (outcome["crash_step"], outcome["steps"], outcome["censored"]) == (crash, crash, False)
    assert outcome["mechanism"] == "self-excitation"
    trace = read_run(tmp_path / "run").trace
    assert tuple(trace) == TRACE_COLUMNS
    assert all(len(column) == crash + 1 for column in trace.values())
    sizes = torch.stack([values.abs().max() for values, _, _ in seen]).double()
    assert torch.equal(trace["max_abs_q"][:-1], sizes[:-1])
    assert not trace["max_abs_q"][-1].isfinite()
    for step in range(crash - 4):  # later norms overflow in their squares
        values, target, norm = seen[step]
        # 1e-6: float32 sums in another order.
        assert trace["parameter_norm"][step].item() == pytest.approx(norm, rel=1e-6)
        assert trace["mean_abs_q"][step].item() == pytest.approx(values.abs().double().mean().item(), rel=1e-6)
        assert trace["td_norm"][step].item() == pytest.approx((values[0] - target).double().norm().item(), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_overflowed_kernel_is_a_null_reading_and_the_run_ends_properly(dtype, tmp_path):
    train(replace(CRASHING, dtype=dtype), dataset(), tmp_path)
    record = read_run(tmp_path)
    assert all(reading is not None for reading in record.readings[0]["critics"])
    assert record.readings[-1]["critics"] == [None, None]
    assert "overflowed" in record.forecasts[-1]["reason"]
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_readings_and_forecasts_come_in_pairs_and_tighten(tmp_path):
    train(CRASHING, dataset(), tmp_path)
    record = read_run(tmp_path)
    steps = [line["step"] for line in record.readings]
    assert steps == [line["step"] for line in record.forecasts]
    gaps = [after - before for before, after in pairwise(steps)]
    assert steps[0] == 0
    assert 1 <= min(gaps) <= max(gaps) <= CRASHING.reading_interval
    for line in record.readings:
        for index, reading in enumerate(line["critics"]):
            assert reading is None or (reading["step"], reading["critic"]) == (line["step"], index)


def test_the_first_reading_is_of_the_state_that_the_trace_begins_with(tmp_path):
    train(CRASHING, dataset(), tmp_path)
    record = read_run(tmp_path)
    for line in record.readings[:4]:
        first, second = line["critics"]
        # 1e-12: the same float64 numbers, summed in another order.
        assert max(first["max_abs_q"], second["max_abs_q"]) == pytest.approx(
            record.trace["max_abs_q"][line["step"]].item(), rel=1e-12
        )
        assert first["td_norm"] == pytest.approx(record.trace["td_norm"][line["step"]].item(), rel=1e-12)
        assert first["step_size"] == 2 * 0.05 / 8


def test_a_forecast_is_on_the_disk_before_the_step_passes(tmp_path, monkeypatch):
    taken, appended, update, append = [0], [], TD3.update, training.append_line

    def spy_update(agent, batch):
        assert agent.steps == taken[0]
        assert len(read_lines(tmp_path / "forecasts.jsonl")) == len(appended)
        taken[0] += 1
        return update(agent, batch)

    def spy_append(path, value):
        append(path, value)
        if path.name == "forecasts.jsonl":
            assert value.step == taken[0], "made at the step that the agent stands at"
            assert read_lines(path)[-1]["step"] == taken[0]
            appended.append(value)

    monkeypatch.setattr(TD3, "update", spy_update)
    monkeypatch.setattr(training, "append_line", spy_append)
    train(CRASHING, dataset(), tmp_path)
    assert len(appended) > 5
    assert taken[0] >= appended[-1].step > 0


def test_a_run_that_does_not_crash_is_censored(tmp_path):
    outcome = train(CALM, dataset(), tmp_path)
    assert (outcome["crash_step"], outcome["censored"], outcome["steps"], outcome["mechanism"]) == (
        None,
        True,
        21,
        None,
    )
    record = read_run(tmp_path)
    assert all(len(column) == 21 for column in record.trace.values())
    assert [line["step"] for line in record.forecasts] == [0, 1, 2, 4, 8, 12, 16, 20]
    assert all(line["crash_step"] == float("inf") for line in record.forecasts)


def test_an_outcome_says_what_was_run_on_what(tmp_path):
    outcome = train(CALM, dataset(), tmp_path)
    assert outcome["key"] == run_key(CALM, dataset(), "cpu")
    assert outcome["data"] == {"name": "toy", "label": "surrogate", "sha256": "0" * 64, "transitions": 24}
    assert outcome["run"]["agent"]["critic_lr"] == 1e-3
    assert outcome["device"] == "cpu"
    assert outcome["versions"]["torch"] == torch.__version__
    assert outcome["parameters"] == 5 * 16 + 17  # four inputs and a bias a unit, and the head
    assert 0 < outcome["active_parameters"] <= outcome["parameters"]


def test_the_key_depends_on_everything_that_decides_a_run():
    keys = {
        run_key(CRASHING, dataset(), "cpu"),
        run_key(replace(CRASHING, seed=1), dataset(), "cpu"),
        run_key(replace(CRASHING, agent=replace(SGD, critic_lr=0.06)), dataset(), "cpu"),
        run_key(CRASHING, dataset(sha256="1" * 64), "cpu"),
        run_key(CRASHING, dataset(), "cuda"),
    }
    assert len(keys) == 5
    assert run_key(CRASHING, dataset(), "cpu") in keys


def test_steps_are_reported_up_to_the_end(tmp_path):
    steps = []
    train(CALM, dataset(), tmp_path, on_step=steps.append)
    assert steps == sorted(set(steps))
    assert steps[-1] == 21


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    outcome = train(CRASHING, dataset(), tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(TD3, "update", lambda *_: pytest.fail("a finished run is run again"))
    assert train(CRASHING, dataset(), tmp_path) == outcome
    assert contents(tmp_path) == before


def interrupted(config: RunConfig, folder: Path, step: int, **options) -> None:
    """A run that ends at the first report at or after ``step``, as by a kill between two writes."""

    def stop(taken: int) -> None:
        if taken >= step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset(), folder, on_step=stop, **options)


def test_another_finished_run_is_refused(tmp_path):
    train(CALM, dataset(), tmp_path)
    before = contents(tmp_path)
    for other, data in ((replace(CALM, seed=1), dataset()), (CALM, dataset(sha256="1" * 64))):
        with pytest.raises(InputError, match="holds another run"):
            train(other, data, tmp_path)
    assert contents(tmp_path) == before


def test_another_unfinished_run_is_refused(tmp_path):
    interrupted(CALM, tmp_path, 8, checkpoint_seconds=0.0)
    with pytest.raises(InputError, match="holds another run"):
        train(replace(CALM, seed=1), dataset(), tmp_path)
    assert train(CALM, dataset(), tmp_path)["steps"] == 21


@pytest.mark.parametrize("name", FILES)
def test_a_run_whose_files_changed_is_refused(name, tmp_path):
    train(CALM, dataset(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(InputError, match=f"{name} in .* changed after the run"):
        train(CALM, dataset(), tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    interrupted(CALM, tmp_path, 8, checkpoint_seconds=0.0)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="delete its run folder"):
        train(CALM, dataset(), tmp_path)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device, tmp_path):
    with pytest.raises(InputError, match="cannot be used here"):
        train(CALM, dataset(), tmp_path, device=device)


def test_more_rows_than_there_are_is_refused(tmp_path):
    with pytest.raises(InputError, match="ask for 1 to 24"):
        train(replace(CALM, rows=25), dataset(), tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="choose another output folder"):
        train(CALM, dataset(), tmp_path / "file" / "run")


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9], ids=["checkpoint", "no checkpoint"])
def test_lines_written_after_the_last_checkpoint_are_made_again(checkpoint_seconds, tmp_path):
    """Also a line that a kill tore in the middle."""
    train(CALM, dataset(), tmp_path / "whole")
    interrupted(CALM, tmp_path / "killed", 8, checkpoint_seconds=checkpoint_seconds)
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists() == (checkpoint_seconds == 0)
    for name in ("readings.jsonl", "forecasts.jsonl"):
        with (tmp_path / "killed" / name).open("ab") as file:
            file.write(b'{"step":12,"crash_step":7}\n{"step":16,"cr')
    taken = []
    train(CALM, dataset(), tmp_path / "killed", on_step=taken.append)
    assert taken[0] == (8 if checkpoint_seconds == 0 else 1), "a checkpoint, made at step 4, saves steps"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def chain_of_kills(name: str, folder: Path, fatal_write: int) -> int:
    """Run, SIGKILL the process inside its ``fatal_write``-th fsync, start again, until a run comes through.

    Every process is a fork of this one, which has one thread and has loaded all that a run needs.

    Returns:
        The number of kills.
    """
    for kills in range(200):
        process = os.fork()
        if process == 0:
            train_until_killed(name, folder, fatal_write)
        status = os.waitpid(process, 0)[1]
        if not os.WIFSIGNALED(status):
            if os.waitstatus_to_exitcode(status):
                raise SystemExit("the run failed")
            return kills
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"the run ended by signal {os.WTERMSIG(status)}")
    raise SystemExit("the run makes no progress")


def train_until_killed(name: str, folder: Path, fatal_write: int) -> None:
    writes, original = 0, os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == fatal_write:
            os.kill(os.getpid(), signal.SIGKILL)
        original(descriptor)

    os.fsync = fsync
    status = 1
    try:
        train(RUNS[name], dataset(), folder, checkpoint_seconds=0.0)
        status = 0
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    """All runs of `KILLS`, each killed to its end by one script: their folder, and the number of kills."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL")
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("name", KILLS)
def test_a_run_killed_again_and_again_gives_the_same_bytes(name, killed, tmp_path):
    """A resumed run writes its two lists, then a reading, a forecast and a checkpoint: kill it in each of these."""
    folder, kills = killed
    train(RUNS[name], dataset(), tmp_path)
    readings = len(read_lines(tmp_path / "readings.jsonl"))
    for write, count in zip(KILLS[name], kills[name], strict=True):
        assert count >= readings // 2, "a resumed run gets one reading further before it is killed again"
        again = folder / f"{name}{write}"
        assert contents(again) == contents(tmp_path)
        assert {path.name for path in again.iterdir()} == {*FILES, "outcome.json"}, "no torn file is left over"
        outcome, expected = read_run(again).outcome, read_run(tmp_path).outcome
        assert {**outcome, "seconds": 0} == {**expected, "seconds": 0}


def kill_all(folder: Path) -> dict[str, list[int]]:
    for name, config in RUNS.items():
        train(config, dataset(), folder / name)  # loads what torch loads late, once for all forks
    return {
        name: [chain_of_kills(name, folder / f"{name}{write}", write) for write in writes]
        for name, writes in KILLS.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # as in conftest.py: sums in one order, and nothing that a fork would lose
    print(json.dumps(kill_all(Path(sys.argv[1]))))


@pytest.mark.parametrize("normalisation", ["batch", "spectral", "weight"])
def test_looking_at_a_critic_that_moves_when_it_is_read_leaves_the_run_alone(normalisation, tmp_path):
    critic = replace(SHAPE, normalisation=normalisation)
    often = replace(RUNS["adam"], agent=replace(TD3_PLUS, critic=critic), reading_interval=3)
    rarely = replace(often, reading_interval=40)
    traces = []
    for name, config in (("often", often), ("rarely", rarely)):
        train(config, dataset(), tmp_path / name)
        traces.append(read_run(tmp_path / name).trace)
    for column, values in traces[0].items():
        assert torch.equal(values, traces[1][column]), column

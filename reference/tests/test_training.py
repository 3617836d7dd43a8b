"""The training loop: the exact crash step, forecasts first, censoring, and what it does not start."""

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from reference.tests.training_cases import CALM, CRASHING, RUNS, SGD, SHAPE, TD3_PLUS, dataset
from seem import training
from seem.agents.td3 import TD3
from seem.config import RunConfig, run_key
from seem.errors import InputError
from seem.records import read_lines, read_run
from seem.training import TRACE_COLUMNS, train


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


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device, tmp_path):
    with pytest.raises(InputError, match="cannot be used here"):
        train(CALM, dataset(), tmp_path, device=device)


def test_more_rows_than_there_are_is_refused(tmp_path):
    with pytest.raises(InputError, match="ask for 1 to 24"):
        train(replace(CALM, rows=25), dataset(), tmp_path)


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


def test_active_parameters_are_those_with_a_last_gradient():
    """Of a critic whose first layer has a dead unit, and of one that was never trained."""
    linear = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
    run = SimpleNamespace(agent=SimpleNamespace(critics=[linear, None]))
    count = training.Run._active_parameters
    assert count(run) == 0
    for parameter in linear.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert count(run) == 12
    linear[0].weight.grad[1] = 0
    linear[0].bias.grad[1] = math.nan
    assert count(run) == 10
    linear[1].weight.grad = None
    assert count(run) == 7

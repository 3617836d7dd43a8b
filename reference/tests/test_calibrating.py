"""A calibration from trainings of the package's agents."""

from dataclasses import replace

import pytest
import torch

from seem.agents.td3 import TD3Config
from seem.calibrating import calibrate_trainings, forecasts_of_run, shipped_trainings
from seem.calibration import SHIPPED, Calibration, calibrate, kind_of
from seem.config import RunConfig
from seem.datasets.dataset import EMBEDDED, load
from seem.errors import InputError
from seem.networks import MLPConfig

SMALL = MLPConfig(width=16)
AGENT = TD3Config(critic=SMALL, actor=SMALL, target_rate=1.0, critic_lr=5e-3, actor_lr=5e-3, target_interval=1)
CONFIG = RunConfig(agent=AGENT, rows=32, batch=None, reading_interval=20, normalise_states=True, dtype="float32",
                   budget=200, seed=0)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return load(EMBEDDED / "hopper-medium.hdf5")


def test_a_training_gives_forecasts_that_come_true_or_not(data):
    training, made, sizes, bound = forecasts_of_run(CONFIG, data)
    assert kind_of(training) == "Adam, copied targets"
    left = len(sizes) - 1 if sizes[-1] > bound else None
    assert [line.step for line in made] == list(range(20, len(sizes) - (left is not None), 20))
    assert all(line.bound == bound == pytest.approx(data.transitions.rewards.abs().max().item() * 100) for line in made)
    assert all(size <= bound for size in sizes[:-1])
    counted, left_at = calibrate(made, sizes, bound=bound)
    assert left_at == left
    record = calibrate_trainings([CONFIG], data, source="a test")
    way = next((line.way for line in made if line.way), None)
    expected = Calibration(source="a test")
    assert record == (expected if way is None else expected.with_run(f"{kind_of(training)}, {way}", counted, left_at))
    assert calibrate_trainings([], data, onto=record) is record


def test_it_is_the_training_without_forecasts(data):
    """Mean |Q| is that of the same agent trained alone, bit for bit."""
    short = replace(CONFIG, budget=25)
    _, _, sizes, _ = forecasts_of_run(short, data)
    transitions = data.transitions.normalised().to(dtype=torch.float32)
    rows = transitions.subset(32, torch.Generator().manual_seed(0))
    agent = AGENT.build(transitions.observation_dim, transitions.action_dim, seed=0)
    alone = []
    for _ in range(25):
        alone.append(agent.values(rows).abs().mean().item())
        agent.update(rows)
    assert sizes == alone


def test_the_shipped_record_is_of_its_trainings():
    record, trainings = Calibration.read(SHIPPED), shipped_trainings()
    (kind,) = record.kinds.values()
    assert kind.runs == len(trainings) == len({(t.agent.critic.depth, t.batch, t.seed) for t in trainings}) == 40
    assert {training.seed for training in trainings} == set(range(30, 40))
    assert "seeds 30 to 39" in record.source
    low, high = kind.multiples(0.9)
    assert 0 < low < 1 < high < float("inf")


def test_what_it_refuses(data):
    with pytest.raises(InputError, match="no multiple of the window"):
        forecasts_of_run(replace(CONFIG, reading_interval=15), data)
    with pytest.raises(InputError, match="window 1"):
        forecasts_of_run(CONFIG, data, window=1)

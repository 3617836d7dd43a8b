"""Rollouts, replay buffers and the training behind a collection."""

from dataclasses import replace

import numpy as np
import torch

from reference.tests.collect_cases import SMALL, TINY
from seem.agents.sac import SAC
from seem.datasets import collect as module
from seem.datasets.collect import ENVIRONMENTS, train
from seem.datasets.rollout import Rows, Step, rollout


def test_time_limit_is_a_timeout_and_no_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo logs a remark on the cheetah's model in the working folder
    rows = rollout("HalfCheetah-v4", SAC(SMALL, 17, 6, seed=0).actor, 0, fewest_rows=10)
    assert rows.size == 1000
    assert not rows.arrays["terminals"][:1000].any()
    assert np.flatnonzero(rows.arrays["timeouts"][:1000]).tolist() == [999]


def test_terminal_at_the_time_limit_is_no_timeout():
    class Ending:
        action_space = np.empty(3)

        def reset(self, seed=None):
            return np.zeros(11), {}

        def step(self, action):
            return np.ones(11), 1.0, True, True, {}

    steps = module.take_steps(Ending(), SAC(SMALL, 11, 3, seed=0).actor, torch.Generator(), 0)
    step = next(steps)
    assert (step.terminal, step.timeout) == (True, False)


def test_rollout_ends_with_the_first_episode_that_makes_enough():
    actor = SAC(SMALL, 11, 3, seed=0).actor
    by_rows, by_episodes = (
        rollout("Hopper-v4", actor, 5, fewest_rows=60),
        rollout("Hopper-v4", actor, 5, fewest_episodes=4),
    )
    assert by_rows.ends()[-1]
    assert np.flatnonzero(by_rows.ends())[:-1].max() < 59 <= by_rows.size - 1
    assert by_episodes.ends().sum() == 4
    assert by_episodes.ends()[-1]


def test_replay_batches_hold_the_steps_that_were_appended():
    rows = Rows(10, 2, 1)
    for i in range(5):
        rows.append(Step(np.full(2, float(i)), np.full(1, i / 8), 10.0 * i, np.full(2, i + 1.0), i == 3, i == 4))
    batch = rows.batch(200, np.random.default_rng(0))
    i = batch.rewards / 10
    assert sorted(set(i.tolist())) == [0, 1, 2, 3, 4]
    assert torch.equal(batch.observations, i[:, None].expand(200, 2))
    assert torch.equal(batch.next_observations, batch.observations + 1)
    assert torch.equal(batch.actions[:, 0], i / 8)
    assert torch.equal(batch.terminals, (i == 3).float())
    assert rows.ends().tolist() == [False, False, False, True, True]


def test_drawn_episodes_are_whole_and_different():
    rows = Rows(100, 1, 1)
    for i in range(60):  # episodes of 1, 2, …, 10 rows and five rows without an end
        ends = i in np.arange(1, 11).cumsum() - 1
        rows.append(Step(np.zeros(1), np.zeros(1), float(i), np.zeros(1), bool(ends), False))
    for seed in range(20):
        kept = rows.episodes(20, np.random.default_rng(seed))
        lengths = np.diff(np.flatnonzero(rows.ends()[kept]), prepend=-1)
        assert np.array_equal(kept, np.unique(kept))
        assert len(set(lengths)) == len(lengths), "every length comes once"
        assert set(lengths) <= set(range(1, 11))
        assert 20 <= lengths.sum() == len(kept) < 20 + 10
    assert np.array_equal(rows.episodes(1000, np.random.default_rng(0)), np.arange(55))


def test_training_stops_at_the_level_or_at_the_budget(monkeypatch, tmp_path):
    seeds = dict.fromkeys(("agent", "training_env", "training_noise", "batches", "evaluation"), 0)
    monkeypatch.setitem(ENVIRONMENTS, "hopper", ENVIRONMENTS["hopper"]._replace(expert_return=-1.0))
    reports = []
    medium = train(replace(TINY, budget=300), seeds, lambda step, text: reports.append((step, text)))
    assert 150 <= medium.replay.size < 300, "an evaluation follows the first interval after the start"
    assert reports[-1] == (medium.replay.size, f"return {medium.evaluation_return:.0f}")
    assert medium.agent.steps == medium.replay.size - 100
    expert = train(replace(TINY, level="expert-like"), seeds, lambda step, text: None)
    assert expert.replay.size >= 180
    assert expert.replay.ends()[-1]
    random = train(replace(TINY, level="random"), seeds, lambda step, text: None)
    assert (random.replay.size, random.agent.steps) == (0, 0)

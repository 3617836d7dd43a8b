"""The watch in stable-baselines3: bits of a training, alarms, VecNormalize, the logger, and what is refused."""

import random
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.tests.libraries.autograd import same_bits, state_of
from seem.datasets.dataset import EMBEDDED, load
from seem.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import stable_baselines3 as sb3
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import gymnasium

from seem import integrations
from seem.integrations.stable_baselines3 import WatchCallback


class Drift(gymnasium.Env):
    """Random observations; the reward is twice the first action."""

    def __init__(self, states=4, actions=2):
        self.observation_space = gymnasium.spaces.Box(-3, 3, (states,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (actions,), np.float32)
        self.left = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.left = 9
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), 2 * float(action[0]), self.left == 0, False, {}


def model(algorithm=sb3.TD3, environment=None, **options):
    given = {"seed": 0, "device": "cpu", "buffer_size": 500, "learning_starts": 10, "batch_size": 16}
    given |= {"policy_kwargs": {"net_arch": [48, 48]}, **options}
    return algorithm("MlpPolicy", environment or Drift(), **given)


def bits(made):
    keys = np.random.get_state()[1]  # noqa: NPY002 - the generator that the library draws from
    generators = [torch.tensor(random.getstate()[1]), torch.from_numpy(keys.astype(np.int64))]
    return state_of(made.policy, made.actor.optimizer, made.critic.optimizer) + generators


@pytest.mark.parametrize("algorithm", [sb3.TD3, sb3.SAC, sb3.DDPG])
def test_no_bit_of_the_training_changes(algorithm):
    def trained(callback):
        random.seed(0)
        made = model(algorithm)
        made.learn(45, callback=callback)
        return bits(made)

    watch = WatchCallback(every=10, rows=32)
    assert same_bits(trained(None), trained(watch))
    assert len(watch.history) >= 3
    assert all(entry["mean_abs_q"] > 0 for entry in watch.history)


def offline(steps=96):
    """A model whose buffer holds the first rows of the embedded hopper set, raw: copied targets, no delay."""
    rows = load(EMBEDDED / "hopper-medium.hdf5").transitions
    made = model(
        environment=Drift(11, 3),
        tau=1.0,
        policy_delay=1,
        target_policy_noise=0.0,
        learning_rate=1e-3,
        batch_size=steps,
        seed=1,
    )
    for index in range(steps):
        parts = [
            getattr(rows, name)[index].float().numpy() for name in ("observations", "next_observations", "actions")
        ]
        made.replay_buffer.add(*parts, rows.rewards[index].numpy(), rows.terminals[index].numpy(), [{}])
    made.set_logger(sb3.common.logger.Logger(None, []))
    return made


def train(made, watch, most):
    for _ in range(most):
        made.train(1, made.batch_size)
        watch.look(made)
        if watch.stop:
            break


def test_a_diverging_run_alarms_before_q_leaves_its_bound():
    """Offline: raw states, copied targets, no behaviour cloning."""
    watch = WatchCallback(every=20, on_alarm="stop")
    train(offline(), watch, 1500)
    assert watch.alarm is not None
    assert watch.alarm.kind == "about to leave"
    assert watch.history[-1]["share_of_bound"] < 1
    # The same run without the stop does leave it.
    heard: list = []
    silent = WatchCallback(every=20, on_alarm=heard.append)
    train(offline(), silent, int(watch.alarm.step) + 200)
    assert max(entry["share_of_bound"] for entry in silent.history) > 1
    assert heard[0].step == watch.alarm.step


def test_an_alarm_ends_learning_online():
    watch = WatchCallback(every=5, bound=1e-6, on_alarm="stop")
    made = model()
    made.learn(100, callback=watch)
    assert watch.stop
    assert made.num_timesteps < 100


def test_rows_and_bound_are_scaled_as_vec_normalize_scales_them():
    environment = VecNormalize(DummyVecEnv([Drift]))
    made, watch = model(environment=environment), WatchCallback(every=10)
    made.learn(60, callback=watch)
    entry = watch.history[-1]
    # Scaled rewards differ from raw ones, of which |r| is at most 2.
    rewards = made.replay_buffer.rewards[: made.replay_buffer.size()]
    now = np.abs(environment.normalize_reward(rewards)).max() / (1 - made.gamma)
    assert entry["bound"] == pytest.approx(now, rel=0.5)
    assert abs(entry["bound"] - np.abs(rewards).max() / (1 - made.gamma)) > 1


def test_entries_go_to_the_logger(tmp_path):
    made, watch = model(), WatchCallback(every=10)
    made.set_logger(sb3.common.logger.configure(str(tmp_path), ["csv"]))
    made.learn(60, callback=watch, log_interval=1)
    made.logger.close()  # the library leaves its file open
    header = (tmp_path / "progress.csv").read_text().splitlines()[0]
    assert "seem/mean_abs_q" in header
    assert "seem/alarm_about_to_leave" in header


def test_what_cannot_be_read_is_refused_in_a_sentence():
    discrete = Drift()
    discrete.action_space = gymnasium.spaces.Discrete(2)
    for made, message in (
        (sb3.DQN("MlpPolicy", discrete, device="cpu"), "a value for each action"),
        (sb3.PPO("MlpPolicy", Drift(), device="cpu", n_steps=8, batch_size=8), "this watch knows TD3, DDPG, SAC"),
    ):
        with pytest.raises(InputError, match=message):
            made.learn(16, callback=WatchCallback(every=1))


def test_options_are_refused_before_training():
    with pytest.raises(InputError, match="every 0"):
        WatchCallback(every=0)


def test_another_version_warns_once(monkeypatch):
    monkeypatch.setattr(integrations, "version", lambda name: "3.0.1")
    monkeypatch.setattr(integrations, "_said", set())
    with pytest.warns(UserWarning, match=r"stable-baselines3 3.0.1 was not tested"):
        WatchCallback(every=1)
    WatchCallback(every=1)  # a second warning would be an error here


def test_the_lines_of_the_guide():
    page = (Path(__file__).parents[1] / "docs" / "guides" / "watch.md").read_text(encoding="utf-8")
    online, loop = re.findall(
        r"```py\n((?:from seem.integrations.stable|watch = WatchCallback\(every).*?)```", page, re.DOTALL
    )
    names = {"model": model(), "total_timesteps": 20, "updates": 3}
    exec(online, names)  # noqa: S102
    names["model"] = offline()
    exec(loop, names)  # noqa: S102
    assert [entry["step"] for entry in names["watch"].history] == [1]

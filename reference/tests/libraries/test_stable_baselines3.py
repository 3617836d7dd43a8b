"""stable-baselines3's critics: the kernel that is read is autograd's, and training goes on as if nobody had looked."""

import copy
import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reference.tests.libraries.autograd import check_kernel, same_bits, state_of
from seem.dynamics import Training
from seem.reading import read

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sb3 = pytest.importorskip(
        "stable_baselines3", reason="stable-baselines3 is not installed: nox -s kernels-stable-baselines3"
    )

import gymnasium
from stable_baselines3.common.callbacks import BaseCallback

ROWS, ACTIONS = 12, 2
NUMBERS = gymnasium.spaces.Box(-3, 3, (5,), np.float32)
IMAGES = gymnasium.spaces.Box(0, 255, (3, 36, 36), np.uint8)
MIXED = gymnasium.spaces.Dict({"state": NUMBERS, "goal": gymnasium.spaces.Box(-1, 1, (2, 2), np.float32)})


class Drift(gymnasium.Env):
    """Random observations of any space; the reward is the first action."""

    def __init__(self, space):
        self.observation_space, self.left = space, 0
        self.action_space = gymnasium.spaces.Box(-1, 1, (ACTIONS,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.left = 7
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), float(action[0]), self.left == 0, False, {}


def model(algorithm=None, policy="MlpPolicy", space=NUMBERS, **options):
    options.setdefault("net_arch", [24, 16])
    make = algorithm or sb3.TD3
    given = {"seed": 0, "device": "cpu", "buffer_size": 100, "learning_starts": 8, "batch_size": 8}
    return make(policy, Drift(space), policy_kwargs=options, **given)


MODELS = {
    "TD3": model,
    "SAC": lambda: model(sb3.SAC),
    "DDPG": lambda: model(sb3.DDPG),
    "five critics": lambda: model(n_critics=5),
    "tanh": lambda: model(activation_fn=nn.Tanh),
    "dictionaries": lambda: model(policy="MultiInputPolicy", space=MIXED),
    "images": lambda: model(policy="CnnPolicy", space=IMAGES, features_extractor_kwargs={"features_dim": 16}),
    "shared extractor, trained by the policy alone": lambda: model(
        sb3.SAC, "CnnPolicy", IMAGES, features_extractor_kwargs={"features_dim": 16}, share_features_extractor=True
    ),
}


def rows(space):
    space = copy.deepcopy(space)  # the environment draws from its own
    space.seed(3)
    actions = torch.rand(2, ROWS, ACTIONS, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def states():
        drawn = [space.sample() for _ in range(ROWS)]
        if isinstance(space, gymnasium.spaces.Dict):
            return {name: torch.from_numpy(np.stack([row[name] for row in drawn])) for name in space.spaces}
        return torch.from_numpy(np.stack(drawn))

    return (states(), actions[0]), (states(), actions[1])


@pytest.mark.parametrize("name", MODELS)
def test_the_kernel_of_its_critics_is_autograds(name):
    made = MODELS[name]()
    found = check_kernel([made.critic], *rows(made.observation_space), lambda critics, x: critics[0](*x))
    assert len(found.values) == len(made.critic.q_networks) == {"five critics": 5, "DDPG": 1}.get(name, 2)
    assert found.blocks.way == "layerwise"


def test_a_sample_of_its_replay_buffer_is_read_with_its_own_targets():
    made = MODELS["TD3"]()
    made.learn(20)
    batch = made.replay_buffer.sample(ROWS)
    # Its target policy: the mean action, without the smoothing noise.
    reading = read(
        made.critic,
        batch,
        training=Training(discount=made.gamma, optimizer=made.critic.optimizer),
        policy=lambda states: made.actor_target(states).clamp(-1, 1),
        target_critics=made.critic_target,
    )
    with torch.no_grad():
        actions = made.actor_target(batch.next_observations).clamp(-1, 1)
        following = torch.cat(made.critic_target(batch.next_observations, actions), 1).amin(1, keepdim=True)
        target = batch.rewards + (1 - batch.dones) * made.gamma * following
        errors = [value - target for value in made.critic(batch.observations, batch.actions)]
    # 1e-5: the library computes in float32.
    assert reading.td_norm == pytest.approx(torch.cat(errors).norm().item(), rel=1e-5)
    assert reading.alignment is not None
    assert len(reading.alignment) == 2


class Look(BaseCallback):
    """Reads the critics at every step of the environment, on the same rows."""

    def __init__(self):
        super().__init__()
        self.readings = []

    def _on_step(self):
        (states, actions), (next_states, _) = rows(self.training_env.observation_space)
        batch = SimpleNamespace(
            observations=states, actions=actions, next_observations=next_states, rewards=torch.ones(ROWS, 1)
        )
        actor = getattr(self.model, "actor_target", self.model.actor)
        training = Training(discount=self.model.gamma, optimizer=self.model.critic.optimizer)
        reading = read(self.model.critic, batch, training=training, policy=actor, step=self.num_timesteps)
        self.readings.append(reading)
        return True


@pytest.mark.parametrize("name", MODELS)
def test_a_reading_in_the_middle_of_training_changes_no_bit(name):
    def trained(look):
        made = MODELS[name]()
        made.learn(16, callback=look)
        keys = np.random.get_state()[1]  # noqa: NPY002 - the generator that the library draws from
        generators = [torch.tensor(random.getstate()[1]), torch.from_numpy(keys.astype(np.int64))]
        return state_of(made.policy, made.actor.optimizer, made.critic.optimizer) + generators

    look = Look()
    assert same_bits(trained(None), trained(look))
    assert len(look.readings) == 16
    assert all(reading.leading is not None for reading in look.readings)

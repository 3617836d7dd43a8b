"""Tianshou's critics, which cast to float32: the kernel that is read is float64 autograd's, and training goes on."""

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
    pytest.importorskip("tianshou", reason="Tianshou is not installed: nox -s kernels-tianshou")
    from gymnasium.spaces import Box
    from tianshou.algorithm import DDPG, SAC, TD3
    from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
    from tianshou.algorithm.modelfree.sac import SACPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, ReplayBuffer
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import (
        ContinuousActorDeterministic,
        ContinuousActorProbabilistic,
        ContinuousCritic,
    )
    from tianshou.utils.torch_utils import policy_within_training_step

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of its own next versions
ROWS, STATES, ACTIONS = 12, 5, 2
SPACE = Box(-1, 1, (ACTIONS,), np.float32)


def critic(observations_first=False, **options):
    net = Net(
        state_shape=(STATES,),
        action_shape=0 if observations_first else (ACTIONS,),
        hidden_sizes=(24, 16),
        concat=not observations_first,
        **options,
    )
    if not observations_first:
        return ContinuousCritic(preprocess_net=net)
    head = {"preprocess_net": net, "hidden_sizes": (8,), "apply_preprocess_net_to_obs_only": True}
    made = ContinuousCritic(**head)
    made.last = nn.Sequential(nn.Linear(16 + ACTIONS, 8), nn.ReLU(), nn.Linear(8, 1))
    return made


def algorithm(kind=TD3, **options):
    torch.manual_seed(0)
    net = Net(state_shape=(STATES,), hidden_sizes=(16,))
    if kind is SAC:
        actor = ContinuousActorProbabilistic(
            preprocess_net=net, action_shape=(ACTIONS,), unbounded=True, conditioned_sigma=True
        )
        policy = SACPolicy(actor=actor, action_space=SPACE)
    else:
        actor = ContinuousActorDeterministic(preprocess_net=net, action_shape=(ACTIONS,))
        policy = ContinuousDeterministicPolicy(actor=actor, action_space=SPACE)
    optim = {"policy_optim": AdamOptimizerFactory(lr=1e-3), "critic_optim": AdamOptimizerFactory(lr=1e-3)}
    second = {} if kind is DDPG else {"critic2": critic(**options)}
    return kind(policy=policy, critic=critic(**options), **optim, **second)


ALGORITHMS = {
    "TD3": algorithm,
    "SAC": lambda: algorithm(SAC),
    "DDPG": lambda: algorithm(DDPG),
    "LayerNorm and tanh": lambda: algorithm(norm_layer=nn.LayerNorm, activation=nn.Tanh),
    "actions after the first layers": lambda: algorithm(observations_first=True),
}


def critics_of(made):
    return [getattr(made, name) for name in ("critic", "critic2") if hasattr(made, name)]


def rows(seed=1):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(2, ROWS, STATES, generator=generator)
    actions = torch.rand(2, ROWS, ACTIONS, generator=generator) * 2 - 1
    return (states[0], actions[0]), (states[1], actions[1])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_kernel_of_its_critics_is_autograds(name):
    critics = critics_of(ALGORITHMS[name]())
    found = check_kernel(critics, *rows(), lambda copies, x: [one(*x) for one in copies])
    assert len(found.values) == (1 if name == "DDPG" else 2)
    assert found.blocks.way == "layerwise"


def replay():
    drawn = np.random.default_rng(0)
    buffer = ReplayBuffer(size=64)
    for step in range(64):
        buffer.add(
            Batch(
                obs=drawn.standard_normal(STATES).astype(np.float32),
                act=drawn.uniform(-1, 1, ACTIONS).astype(np.float32),
                rew=drawn.standard_normal(),
                terminated=step % 8 == 7,
                truncated=False,
                obs_next=drawn.standard_normal(STATES).astype(np.float32),
                info={},
            )
        )
    return buffer


def test_a_sample_of_its_buffer_is_read_with_its_own_targets():
    made = algorithm(DDPG)
    buffer = replay()
    batch, indices = buffer.sample(ROWS)
    reading = read(
        critics_of(made),
        {
            "observations": batch.obs, "actions": batch.act, "rewards": batch.rew, "next_observations": batch.obs_next,
            "terminals": batch.terminated,
        },
        training=Training(discount=made.gamma),
        policy=lambda states: made.policy(Batch(obs=states, info={}), model=made.actor_old).act,
        target_critics=made.critic_old,
    )  # fmt: skip
    with torch.no_grad():
        following = made._target_q(buffer, indices).flatten()
    expected = torch.as_tensor(batch.rew) + made.gamma * torch.as_tensor(~batch.terminated) * following
    with torch.no_grad():
        error = made.critic(batch.obs, batch.act).flatten() - expected
    # 1e-5: the library computes in float32.
    assert reading.td_norm == pytest.approx(error.norm().item(), rel=1e-5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_reading_in_the_middle_of_training_changes_no_bit(name):
    looks = []

    def look(made):
        (states, actions), (following, next_actions) = rows(7)
        batch = SimpleNamespace(
            observations=states, actions=actions, next_observations=following, rewards=torch.ones(ROWS, 1)
        )
        training = Training(discount=made.gamma, lr=1e-3)
        looks.append(read(critics_of(made), batch, training=training, next_actions=next_actions))

    def trained(look):
        np.random.seed(0), random.seed(0)  # noqa: NPY002 - the generators that the library draws from
        made, buffer = ALGORITHMS[name](), replay()
        torch.manual_seed(1)
        with policy_within_training_step(made.policy):
            for _ in range(8):
                made.update(buffer=buffer, sample_size=16)
                look(made)
        keys = np.random.get_state()[1]  # noqa: NPY002
        generators = [torch.tensor(random.getstate()[1]), torch.from_numpy(keys.astype(np.int64))]
        return state_of(made, *(one._optim for one in made._optimizers)) + generators

    assert same_bits(trained(lambda made: None), trained(look))
    assert len(looks) == 8
    assert all(reading.leading is not None for reading in looks)

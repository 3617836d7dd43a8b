"""Agents and batches that the tests of TD3 share."""

import torch

from seem.agents.td3 import TD3, TD3Config
from seem.networks import MLPConfig

SMALL = MLPConfig(depth=3, width=6)
SMOOTH = MLPConfig(depth=3, width=6, activation="tanh")
NEVER = 10**9
COPIED = TD3Config(
    critic=SMOOTH,
    actor=SMALL,
    critic_optimiser="sgd",
    critic_lr=0.01,
    actor_interval=NEVER,
    target_rate=1.0,
    target_interval=1,
    target_noise=0.0,
)
"""The theory's setting: gradient descent, targets copied at every step, a fixed policy without noise."""
CROSSING = 20
"""A seed at which either twin is the smaller one on some successors of `draw_batch`."""


def build(config: TD3Config, seed: int = 0, dtype: torch.dtype = torch.float64) -> TD3:
    """An agent that fits `draw_batch`."""
    return TD3(config, 3, 2, seed=seed, dtype=dtype)


def small(**settings) -> TD3Config:
    """The configuration of an agent of small networks."""
    return TD3Config(critic=SMALL, actor=SMALL, **settings)


def numbers(*modules) -> torch.Tensor:
    """A copy of all parameters in one vector."""
    return torch.cat([parameter.detach().flatten() for module in modules for parameter in module.parameters()]).clone()


def networks(agent: TD3) -> torch.Tensor:
    """A copy of everything that is trained, in one vector."""
    return numbers(agent.critics, agent.target_critics, agent.actor, agent.target_actor)

"""Critics and numbers that the tests of the spectrum share."""

import torch
from torch import nn

from seem.networks import Critic, MLPConfig

SHAPES = [
    MLPConfig(depth=1),
    MLPConfig(depth=2, width=6, bias=False),
    MLPConfig(depth=3, width=6, activation="tanh"),
    MLPConfig(depth=3, width=6, normalisation="layer"),
]


def generator(seed: int = 0) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def linear(weights: list[float]) -> nn.Linear:
    """A linear critic without bias, whose kernel is z·x."""
    critic = nn.Linear(len(weights), 1, bias=False, dtype=torch.float64)
    critic.weight.data.copy_(torch.tensor([weights]))
    return critic


def critic_of(config: MLPConfig, dtype: torch.dtype = torch.float64) -> Critic:
    """A critic of three state and two action components."""
    return Critic(3, 2, config, generator=generator(), dtype=dtype)

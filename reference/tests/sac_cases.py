"""Agents and batches that the tests of SAC share."""

import torch

from seem.agents.sac import SAC, SACConfig
from seem.networks import MLPConfig

SMALL = SACConfig(critic=MLPConfig(width=8), actor=MLPConfig(width=8))


def build(config: SACConfig = SMALL, seed: int = 0, dtype: torch.dtype = torch.float64) -> SAC:
    """An agent that fits `draw_batch`."""
    return SAC(config, 3, 2, seed=seed, dtype=dtype)


def parameters(agent: SAC) -> list[torch.Tensor]:
    """Copies of everything that is trained, in a fixed order."""
    modules = (agent.critics, agent.target_critics, agent.actor, agent.temperature)
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def all_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Whether all tensors are bitwise the same."""
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))

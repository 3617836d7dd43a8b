"""Critics of stable-baselines3, which is no dependency of this project: install it beside it.

SEEM_CRITIC=properties.examples.stable_baselines3_critics:td3 python -m pytest properties/
"""

import torch
from torch import Tensor, nn

OBSERVATION_DIM, ACTION_DIM = 11, 3


class FirstCritic(nn.Module):
    """The first of a `ContinuousCritic`'s Q functions, which the class itself returns as a tuple."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values, shape (N, 1)."""
        return self.critic.q1_forward(observations, actions)


def td3() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """TD3's critic as its MlpPolicy builds it: two hidden layers of 400 and 300 ReLU units."""
    from gymnasium.spaces import Box
    from stable_baselines3.common.torch_layers import FlattenExtractor
    from stable_baselines3.td3.policies import TD3Policy

    spaces = Box(-10.0, 10.0, (OBSERVATION_DIM,)), Box(-1.0, 1.0, (ACTION_DIM,))
    policy = TD3Policy(*spaces, lr_schedule=lambda _: 1e-3, features_extractor_class=FlattenExtractor)
    return FirstCritic(policy.critic), (torch.zeros(2, OBSERVATION_DIM), torch.zeros(2, ACTION_DIM))


def sac() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """SAC's critic as its MlpPolicy builds it: two hidden layers of 256 ReLU units."""
    from gymnasium.spaces import Box
    from stable_baselines3.sac.policies import SACPolicy

    spaces = Box(-10.0, 10.0, (OBSERVATION_DIM,)), Box(-1.0, 1.0, (ACTION_DIM,))
    policy = SACPolicy(*spaces, lr_schedule=lambda _: 1e-3)
    return FirstCritic(policy.critic), (torch.zeros(2, OBSERVATION_DIM), torch.zeros(2, ACTION_DIM))

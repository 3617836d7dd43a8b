"""A critic as a stranger would write it: two arguments, the action joins at the second layer, functional calls.

    SEEM_CRITIC=properties.examples.injected_action:factory python -m pytest properties/

Nothing here knows of this project. `factory` is all that the suite asks for.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class InjectedAction(nn.Module):
    """Q(s, a) with the action joining after the first layer, as in DDPG (Lillicrap et al. 2015, 1509.02971).

    Args:
        observation_dim: Number of state components.
        action_dim: Number of action components.
        width: Units of both hidden layers.
    """

    def __init__(self, observation_dim: int, action_dim: int, width: int = 8) -> None:
        super().__init__()
        self.state = nn.Linear(observation_dim, width)
        self.joint = nn.Linear(width + action_dim, width)
        self.head = nn.Linear(width, 1)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values, shape (N, 1), of states (N, observation_dim) and actions (N, action_dim)."""
        hidden = functional.relu(self.state(observations))
        hidden = functional.relu(self.joint(torch.cat((hidden, actions), dim=1)))
        return self.head(hidden)


def factory() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """The critic, freshly initialised, and example rows of its two arguments."""
    return InjectedAction(observation_dim=11, action_dim=3, width=16), (torch.zeros(2, 11), torch.zeros(2, 3))

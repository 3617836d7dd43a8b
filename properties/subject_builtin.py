"""Subjects that are always tested: critics of the package, and two modules as a stranger would write them."""

import torch
from torch import Tensor, nn

from properties.examples.injected_action import InjectedAction
from properties.subject import Factory, Subject
from seem.networks import Critic, MLPConfig

ROWS = torch.zeros(2, 3)


def of_package(**options) -> Factory:
    """A factory of small critics of the package."""

    def factory() -> tuple[nn.Module, Tensor]:
        seed = int(torch.randint(2**31, ()))
        config = MLPConfig(**({"depth": 3, "width": 4} | options))
        return Critic(2, 1, config, generator=torch.Generator().manual_seed(seed)), ROWS

    return factory


def sequential() -> tuple[nn.Module, Tensor]:
    """A chain of torch's own layers."""
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), ROWS


def two_arguments() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A critic of the form (s, a) → Q."""
    return InjectedAction(2, 1), (torch.zeros(2, 2), torch.zeros(2, 1))


FACTORIES = {
    "Critic without biases": of_package(bias=False),
    "Critic with biases": of_package(),
    "Critic with LayerNorm": of_package(normalisation="layer"),
    "Critic with LayerNorm, epsilon 0": of_package(
        bias=False, normalisation="layer", epsilon=0.0, activation="leaky_relu"
    ),
    "Sequential with tanh": sequential,
    "(s, a) with a late action": two_arguments,
}
BUILT_IN = tuple(Subject(name, factory) for name, factory in FACTORIES.items())

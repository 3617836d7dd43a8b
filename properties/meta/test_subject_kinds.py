"""The suite tells critics with whole-number inputs, frozen, unused and lazy parts rightly."""

import warnings

import pytest
import torch
from torch import nn

from properties.subject import Draw, Subject
from properties.subject_properties import PROPERTIES
from properties.subject_traits import read_traits

DRAWS = [Draw(seed=seed, rows=rows, exponent=2, discount=0.9) for seed, rows in ((0, 1), (1, 3), (2, 4))]


class Discrete(nn.Module):
    """Q(s, a) of discrete actions, embedded."""

    def __init__(self):
        super().__init__()
        self.embed, self.linear = nn.Embedding(3, 2), nn.Linear(6, 1)

    def forward(self, states, actions):
        """One value per row."""
        return self.linear(torch.cat((states, self.embed(actions)), 1))


class Pixels(nn.Module):
    """Q of uint8 images."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))

    def forward(self, images):
        """One value per row."""
        return self.net(images.to(self.net[0].weight.dtype) / 256)


class Spare(nn.Module):
    """A head that nothing uses."""

    def __init__(self):
        super().__init__()
        self.linear, self.spare = nn.Linear(3, 1), nn.Linear(3, 2)

    def forward(self, x):
        """One value per row."""
        return self.linear(x)


def frozen():
    """A frozen encoder."""
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    net[0].requires_grad_(False)
    return net


def lazy():
    """A module without shapes yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 1))


FACTORIES = {
    "int64 actions": lambda: (Discrete(), (torch.zeros(4, 4), torch.tensor([0, 1, 2, 1]))),
    "uint8 images": lambda: (Pixels(), torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8)),
    "an unused head": lambda: (Spare(), torch.zeros(2, 3)),
    "a frozen encoder": lambda: (frozen(), torch.zeros(2, 3)),
    "LazyLinear": lambda: (lazy(), torch.zeros(2, 3)),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_every_property_that_applies_holds(name):
    subject = Subject(name, FACTORIES[name])
    traits = read_traits(subject)
    assert traits.no_kernel is None
    applied = [property_ for property_ in PROPERTIES if property_.unless(traits) is None]
    assert len(applied) >= 6
    for property_ in applied:
        for draw in DRAWS:
            property_.check(subject.trial(draw), traits)

"""Configurations and data that the tests of training share."""

from dataclasses import replace
from pathlib import Path

import torch

from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.networks import MLPConfig
from seem.transitions import Transitions

SHAPE = MLPConfig(depth=2, width=16)
SGD = TD3Config(
    critic=SHAPE,
    actor=SHAPE,
    critic_optimiser="sgd",
    critic_lr=0.05,
    actor_interval=10**6,
    target_rate=1.0,
    target_interval=1,
    target_noise=0.0,
)
CRASHING = RunConfig(SGD, rows=8, budget=60, reading_interval=5)
"""Crashes at step 22: successors twice as far out excite the critic."""
CALM = replace(CRASHING, agent=replace(SGD, critic_lr=1e-3, discount=0.0), budget=21, reading_interval=4)
"""Without a bootstrap and with small steps the critic is a regression, which does not crash."""
TD3_PLUS = TD3Config(critic=SHAPE, actor=SHAPE, behaviour_cloning=1.0)
RUNS = {
    "sgd": CRASHING,
    "adam": RunConfig(TD3_PLUS, rows=6, batch=5, normalise_states=True, dtype="float32", budget=40, reading_interval=7),
    "momentum": replace(CALM, agent=replace(SGD, momentum=0.9, critic_lr=1e-3), batch=4, seed=3),
    "sac": RunConfig(SACConfig(critic=SHAPE, actor=SHAPE), rows=6, batch=5, budget=30, reading_interval=7),
}


def dataset(rows: int = 24, sha256: str = "0" * 64) -> Dataset:
    """Rewards of 1 and successors s' = 2s, on which a critic excites itself."""
    generator = torch.Generator().manual_seed(0)
    s = torch.randn(rows, 3, generator=generator)
    a = torch.rand(rows, 1, generator=generator) * 2 - 1
    transitions = Transitions(s, a, torch.ones(rows), 2 * s, torch.zeros(rows))
    return Dataset("toy", "surrogate", Path("toy.hdf5"), sha256, transitions)

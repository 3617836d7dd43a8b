"""Small data sets in D4RL's layout, and small runs on them, for the tests of sweeps, clusters and studies."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from seem.agents.td3 import TD3Config
from seem.config import RunConfig
from seem.networks import MLPConfig

SHAPE = MLPConfig(depth=2, width=8)
AGENT = TD3Config(critic=SHAPE, actor=SHAPE, critic_optimiser="sgd", critic_lr=1e-3, discount=0.0)
CALM = RunConfig(AGENT, rows=8, budget=60, reading_interval=5)
"""A run on `write_small`'s data that does not crash."""
FILES = ("config.json", "readings.jsonl", "forecasts.jsonl", "trace.safetensors")
"""What a finished run writes beside its outcome."""


def write_pairs(path: Path, states: NDArray[np.floating], actions: NDArray[np.floating]) -> Path:
    """Write a data set whose rewards are 1 and whose episodes have two rows, the second one a time-out.

    Args:
        path: Where.
        states: Observations, shape (rows, components).
        actions: Likewise.

    Returns:
        The path.
    """
    rows = len(states)
    with h5py.File(path, "w") as file:
        file["observations"] = states.astype(np.float32)
        file["actions"] = actions.astype(np.float32)
        file["rewards"] = np.ones(rows, np.float32)
        file["terminals"] = np.zeros(rows, bool)
        file["timeouts"] = np.arange(rows) % 2 == 1
    return path


def write_small(path: Path) -> Path:
    """Write a data set of 24 rows with three state components and one action component."""
    generator = np.random.default_rng(0)
    return write_pairs(path, generator.normal(size=(24, 3)), generator.uniform(-1, 1, (24, 1)))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a finished run's `FILES`."""
    return {name: (folder / name).read_bytes() for name in FILES}

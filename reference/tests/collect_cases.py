"""Small collections, for tests that need gymnasium and MuJoCo and are skipped without them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from seem.agents.sac import SACConfig
from seem.datasets.collect import CollectConfig
from seem.networks import MLPConfig

gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium (pip install 'seem-verify[collect]')")
pytest.importorskip("mujoco", reason="needs mujoco (pip install 'seem-verify[collect]')")

SMALL = SACConfig(critic=MLPConfig(width=8), actor=MLPConfig(width=8))
TINY = CollectConfig(
    "hopper", "medium", 150, Path("tiny.hdf5"), budget=180, start_steps=100, batch_size=16, evaluation_interval=50,
    evaluation_episodes=2, agent=SMALL,
)  # fmt: skip


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and attributes of a file."""
    with h5py.File(path) as file:
        return {key: file[key][()] for key in file}, dict(file.attrs)

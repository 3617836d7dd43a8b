"""The reader on real D4RL rows: the v0 windows in ``SEEM_D4RL_DIR``, read as slowly and plainly as possible beside."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from seem.datasets import describe, resolve

FOLDER = os.environ.get("SEEM_D4RL_DIR")
FILES = sorted(Path(FOLDER).rglob("*-v0_399x20.hdf5")) if FOLDER else []

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="SEEM_D4RL_DIR is not set: no real D4RL rows to read"),
    pytest.mark.skipif(bool(FOLDER) and not FILES, reason=f"SEEM_D4RL_DIR ({FOLDER}) holds no *-v0_399x20.hdf5"),
]
LEVELS = ("medium", "expert", "medium-replay", "random")


@pytest.mark.parametrize("env", ["hopper", "walker2d", "halfcheetah"])
@pytest.mark.parametrize("level", LEVELS)
def test_windows_are_read_row_by_row_as_they_stand_in_the_file(env, level):
    found = resolve(env, f"{env}-{level}-v0", FOLDER)
    assert found.label == "D4RL v0 windows"
    assert found.name == f"{env}-{level}-v0"
    data = found.transitions
    with h5py.File(found.path, "r") as file:
        stored = {key: file[key][()] for key in ("observations", "actions", "rewards", "terminals", "timeouts")}
    kept = [i for i in range(len(stored["rewards"]) - 1) if not stored["timeouts"][i]]
    assert 7_400 < len(kept) == len(data) <= 7_980 - 399
    assert torch.equal(data.observations, torch.from_numpy(stored["observations"][kept]))
    assert torch.equal(data.actions, torch.from_numpy(stored["actions"][kept]))
    assert torch.equal(data.rewards, torch.from_numpy(stored["rewards"][kept]))
    assert torch.equal(data.terminals, torch.from_numpy(stored["terminals"][kept].astype(np.float32)))
    assert torch.equal(
        data.next_observations, torch.from_numpy(np.stack([stored["observations"][i + 1] for i in kept]))
    )


def test_hopper_states_integrate_their_velocities():
    # Component 0 is the height and 6 its velocity; one step lasts 0.008 s, so z' - z = 0.008 (v + v') / 2 up to the
    # integrator's error. Rows paired across windows miss by 3e-3 in the median, which is 500 times the median here.
    data = resolve("hopper", "hopper-medium-v0", FOLDER).transitions
    inside = data.terminals == 0
    change = (data.next_observations - data.observations)[inside, 0]
    velocity = (data.next_observations + data.observations)[inside, 6] / 2
    error = (change - 0.008 * velocity).abs()
    assert error.median() < 1e-4
    assert error.quantile(0.99) < 1e-3


def test_the_default_is_the_medium_windows_and_says_so():
    found = resolve("hopper", None, FOLDER)
    assert found.name == "hopper-medium-v0"
    line = describe("hopper", found)
    assert line.startswith("D4RL v0 windows: hopper-medium-v0, 7,581 transitions, SHA-256 f326a396b15e…")
    assert line.endswith("the full D4RL set: --dataset hopper-medium-v2 (downloads once, 153 MB)")

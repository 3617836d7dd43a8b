"""Collection: what is written is what the environment did, and twice the same."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.tests.collect_cases import TINY, gymnasium, read
from seem.datasets import read_d4rl
from seem.datasets.collect import ENVIRONMENTS, collect
from seem.datasets.dataset import EMBEDDED, load
from seem.datasets.hashes import sha256_of
from seem.datasets.rollout import make_env, statistics

KEYS = {"observations", "actions", "rewards", "terminals", "timeouts"}
EMBEDDED_FILE = EMBEDDED / "hopper-medium.hdf5"


@pytest.fixture(scope="module")
def medium(tmp_path_factory) -> Path:
    """A small file that took the whole way: training, evaluation, collection."""
    path = tmp_path_factory.mktemp("collect") / "medium.hdf5"
    collect(replace(TINY, out=path), "the command")
    return path


def test_layout_is_d4rls(medium):
    arrays, attributes = read(medium)
    rows = len(arrays["rewards"])
    assert set(arrays) == KEYS
    assert rows >= 150
    assert {key: (array.shape[1:], array.dtype) for key, array in arrays.items()} == {
        "observations": ((11,), np.float32),
        "actions": ((3,), np.float32),
        "rewards": ((), np.float32),
        "terminals": ((), np.bool_),
        "timeouts": ((), np.bool_),
    }
    assert arrays["terminals"][-1] ^ arrays["timeouts"][-1]
    assert len(read_d4rl(medium)) == rows - 1 - arrays["timeouts"][:-1].sum()
    assert attributes["label"] == "collected (made by this project)"
    assert load(medium).label == f"unverified file {medium.name}", "nobody need believe what a file says of itself"
    assert (attributes["command"], attributes["env_id"], attributes["level"]) == ("the command", "Hopper-v4", "medium")
    assert attributes["seed"] == 0
    assert attributes["version_torch"] == torch.__version__
    assert json.loads(attributes["config"])["agent"]["critic"]["width"] == 8


def test_replaying_the_actions_in_a_fresh_environment_gives_every_row_back(medium):
    arrays, attributes = read(medium)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # v4 is out of date for gymnasium
        env = gymnasium.make("Hopper-v4")
    observation, _ = env.reset(seed=int(attributes["reset_seed"]))
    for row, action in enumerate(arrays["actions"]):
        assert np.array_equal(observation.astype(np.float32), arrays["observations"][row]), f"row {row}"
        observation, reward, terminated, truncated, _ = env.step(action)
        assert np.float32(reward) == arrays["rewards"][row], f"row {row}"
        assert (terminated, truncated) == (arrays["terminals"][row], arrays["timeouts"][row]), f"row {row}"
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()


def test_the_same_seed_writes_the_same_file_and_another_seed_does_not(medium, tmp_path):
    again, other = tmp_path / "again.hdf5", tmp_path / "other.hdf5"
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is the point
    collect(replace(TINY, out=again), "the command")
    collect(replace(TINY, out=other, seed=1), "the command")
    assert again.read_bytes() == medium.read_bytes()
    assert not np.array_equal(read(other)[0]["observations"][:100], read(medium)[0]["observations"][:100])
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_statistics_of_the_file_are_those_of_its_rows(medium):
    check_statistics(*read(medium))


def check_statistics(arrays: dict[str, np.ndarray], attributes: dict) -> None:
    """Sum every episode's rewards on its own, and compare with the attributes."""
    returns, lengths = [0.0], [0]
    for reward, end in zip(arrays["rewards"], arrays["terminals"] | arrays["timeouts"], strict=True):
        returns[-1] += float(reward)
        lengths[-1] += 1
        if end:
            returns.append(0.0)
            lengths.append(0)
    assert lengths.pop() == 0, "the last row ends an episode"
    returns = np.array(returns[:-1])
    assert attributes["episodes"] == len(returns)
    found = [attributes[f"return_{name}"] for name in ("mean", "std", "min", "max")]
    # float64 sums of at most 1000 rewards in another order
    np.testing.assert_allclose(found, [returns.mean(), returns.std(), returns.min(), returns.max()], rtol=1e-12)
    assert attributes["episode_length_mean"] == np.mean(lengths)
    _, random_return, expert_return = ENVIRONMENTS["hopper"]
    score = 100 * (returns.mean() - random_return) / (expert_return - random_return)
    np.testing.assert_allclose(attributes["normalised_score"], score, rtol=1e-12)


def test_statistics_of_two_episodes():
    found = statistics(np.array([1, 2, 3, 5], np.float32), np.array([False, True, False, True]))
    assert found == {
        "episodes": 2,
        "episode_length_mean": 2.0,
        "return_mean": 5.5,
        "return_std": 2.5,
        "return_min": 3.0,
        "return_max": 8.0,
    }


def test_medium_replay_is_the_buffer_of_the_training(tmp_path):
    collect(replace(TINY, level="medium-replay", rows=10_000, out=tmp_path / "all.hdf5"), "")
    collect(replace(TINY, level="medium-replay", rows=100, out=tmp_path / "some.hdf5"), "")
    whole, attributes = read(tmp_path / "all.hdf5")
    some, _ = read(tmp_path / "some.hdf5")
    assert len(whole["rewards"]) == attributes["training_steps"] >= 180
    assert 100 <= len(some["rewards"]) < len(whole["rewards"])
    assert {row.tobytes() for row in some["observations"]} <= {row.tobytes() for row in whole["observations"]}
    assert (some["terminals"] | some["timeouts"])[-1]


def test_embedded_set_is_the_one_its_readme_describes():
    arrays, attributes = read(EMBEDDED_FILE)
    text = (EMBEDDED / "README.md").read_text()
    assert sha256_of(EMBEDDED_FILE) in text
    assert attributes["command"] in text
    for key in ("training_steps", "episodes"):
        assert f"{attributes[key]:,}" in text, key
    for key in ("return_mean", "return_std", "return_min", "return_max", "episode_length_mean"):
        assert f"{attributes[key]:.1f}" in text, key
    for key in (key for key in attributes if key.startswith("version_")):
        assert f"{key.removeprefix('version_')} {attributes[key]}" in text, key
    assert EMBEDDED_FILE.stat().st_size < 1_000_000
    assert attributes["label"] == "embedded (made by this project)"
    assert set(arrays) == KEYS
    assert len(arrays["rewards"]) >= 10_000
    assert len(read_d4rl(EMBEDDED_FILE)) >= 9_900


def test_embedded_statistics_are_those_of_its_rows():
    check_statistics(*read(EMBEDDED_FILE))


def test_embedded_rows_are_steps_of_the_hopper():
    arrays, _ = read(EMBEDDED_FILE)
    env = make_env("Hopper-v4").unwrapped
    env.reset(seed=0)
    ends = arrays["terminals"] | arrays["timeouts"]
    # Observations clip velocities at 10; where none is clipped they are the whole state but for the position x.
    whole = (np.abs(arrays["observations"][:, 5:]) < 10).all(1)
    rows = np.flatnonzero(whole & ~ends)[::20]
    errors = []
    for row in rows:
        observation = arrays["observations"][row].astype(np.float64)
        env.set_state(np.append(0.0, observation[:5]), observation[5:])
        following, reward, terminated, _, _ = env.step(arrays["actions"][row])
        errors.append((np.abs(following - arrays["observations"][row + 1]).max(), abs(reward - arrays["rewards"][row])))
        assert not terminated, f"row {row}"
    assert len(errors) > 200
    # float32 rounding of the state, 1e-7, magnified by a contact's stiffness; the median step has little of it
    assert np.median(errors, 0).max() < 1e-4

"""Collection: what is written is what the environment did, twice the same, or nothing at all."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from seem.agents.sac import SAC, SACConfig
from seem.datasets import collect as module
from seem.datasets import read_d4rl
from seem.datasets.collect import TASKS, CollectConfig, collect, main, train
from seem.datasets.dataset import EMBEDDED, load
from seem.datasets.hashes import sha256_of
from seem.datasets.rollout import Rows, Step, make_env, rollout, statistics
from seem.errors import InputError
from seem.networks import MLPConfig

gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium (pip install 'seem-verify[collect]')")
pytest.importorskip("mujoco", reason="needs mujoco (pip install 'seem-verify[collect]')")

KEYS = {"observations", "actions", "rewards", "terminals", "timeouts"}
SMALL = SACConfig(critic=MLPConfig(width=8), actor=MLPConfig(width=8))
TINY = CollectConfig(
    "hopper", "medium", 150, Path("tiny.hdf5"), budget=180, start_steps=100, batch_size=16, evaluation_interval=50,
    evaluation_episodes=2, agent=SMALL,
)  # fmt: skip


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and attributes of a file."""
    with h5py.File(path) as file:
        return {key: file[key][()] for key in file}, dict(file.attrs)


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
    assert attributes["label"] == load(medium).label == "collected (made by this project)"
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
    _, random_return, expert_return = TASKS["hopper"]
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


def test_time_limit_is_a_timeout_and_no_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo logs a remark on the cheetah's model in the working folder
    rows = rollout("HalfCheetah-v4", SAC(SMALL, 17, 6, seed=0).actor, 0, fewest_rows=10)
    assert rows.size == 1000
    assert not rows.arrays["terminals"][:1000].any()
    assert np.flatnonzero(rows.arrays["timeouts"][:1000]).tolist() == [999]


def test_terminal_at_the_time_limit_is_no_timeout():
    class Ending:
        action_space = np.empty(3)

        def reset(self, seed=None):
            return np.zeros(11), {}

        def step(self, action):
            return np.ones(11), 1.0, True, True, {}

    steps = module.take_steps(Ending(), SAC(SMALL, 11, 3, seed=0).actor, torch.Generator(), 0)
    step = next(steps)
    assert (step.terminal, step.timeout) == (True, False)


def test_rollout_ends_with_the_first_episode_that_makes_enough():
    actor = SAC(SMALL, 11, 3, seed=0).actor
    by_rows, by_episodes = (
        rollout("Hopper-v4", actor, 5, fewest_rows=60),
        rollout("Hopper-v4", actor, 5, fewest_episodes=4),
    )
    assert by_rows.ends()[-1]
    assert np.flatnonzero(by_rows.ends())[:-1].max() < 59 <= by_rows.size - 1
    assert by_episodes.ends().sum() == 4
    assert by_episodes.ends()[-1]


def test_replay_batches_hold_the_steps_that_were_appended():
    rows = Rows(10, 2, 1)
    for i in range(5):
        rows.append(Step(np.full(2, float(i)), np.full(1, i / 8), 10.0 * i, np.full(2, i + 1.0), i == 3, i == 4))
    batch = rows.batch(200, np.random.default_rng(0))
    i = batch.rewards / 10
    assert sorted(set(i.tolist())) == [0, 1, 2, 3, 4]
    assert torch.equal(batch.observations, i[:, None].expand(200, 2))
    assert torch.equal(batch.next_observations, batch.observations + 1)
    assert torch.equal(batch.actions[:, 0], i / 8)
    assert torch.equal(batch.terminals, (i == 3).float())
    assert rows.ends().tolist() == [False, False, False, True, True]


def test_drawn_episodes_are_whole_and_different():
    rows = Rows(100, 1, 1)
    for i in range(60):  # episodes of 1, 2, …, 10 rows and five rows without an end
        ends = i in np.arange(1, 11).cumsum() - 1
        rows.append(Step(np.zeros(1), np.zeros(1), float(i), np.zeros(1), bool(ends), False))
    for seed in range(20):
        kept = rows.episodes(20, np.random.default_rng(seed))
        lengths = np.diff(np.flatnonzero(rows.ends()[kept]), prepend=-1)
        assert np.array_equal(kept, np.unique(kept))
        assert len(set(lengths)) == len(lengths), "every length comes once"
        assert set(lengths) <= set(range(1, 11))
        assert 20 <= lengths.sum() == len(kept) < 20 + 10
    assert np.array_equal(rows.episodes(1000, np.random.default_rng(0)), np.arange(55))


def test_medium_replay_is_the_buffer_of_the_training(tmp_path):
    collect(replace(TINY, level="medium-replay", rows=10_000, out=tmp_path / "all.hdf5"), "")
    collect(replace(TINY, level="medium-replay", rows=100, out=tmp_path / "some.hdf5"), "")
    whole, attributes = read(tmp_path / "all.hdf5")
    some, _ = read(tmp_path / "some.hdf5")
    assert len(whole["rewards"]) == attributes["training_steps"] >= 180
    assert 100 <= len(some["rewards"]) < len(whole["rewards"])
    assert {row.tobytes() for row in some["observations"]} <= {row.tobytes() for row in whole["observations"]}
    assert (some["terminals"] | some["timeouts"])[-1]


def test_training_stops_at_the_level_or_at_the_budget(monkeypatch, tmp_path):
    seeds = dict.fromkeys(("agent", "training_env", "training_noise", "batches", "evaluation"), 0)
    monkeypatch.setitem(TASKS, "hopper", TASKS["hopper"]._replace(expert_return=-1.0))
    reports = []
    medium = train(replace(TINY, budget=300), seeds, lambda step, text: reports.append((step, text)))
    assert 150 <= medium.replay.size < 300, "an evaluation follows the first interval after the start"
    assert reports[-1] == (medium.replay.size, f"return {medium.evaluation_return:.0f}")
    assert medium.agent.steps == medium.replay.size - 100
    expert = train(replace(TINY, level="expert-like"), seeds, lambda step, text: None)
    assert expert.replay.size >= 180
    assert expert.replay.ends()[-1]
    random = train(replace(TINY, level="random"), seeds, lambda step, text: None)
    assert (random.replay.size, random.agent.steps) == (0, 0)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"env": "ant"}, "hopper, walker2d, halfcheetah"),
        ({"level": "expert"}, "expert-like"),
        ({"rows": 0}, "rows is 0: pass 1 or more"),
        ({"budget": 0}, "budget"),
        ({"batch_size": -1}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_settings_are_refused(change, remedy):
    with pytest.raises(InputError, match=remedy):
        replace(TINY, **change)


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train", lambda *arguments: pytest.fail("trained first"))
    (tmp_path / "file").touch()
    for out, remedy in (
        (tmp_path / "missing" / "out.hdf5", "pass a file in a writable folder"),
        (tmp_path / "file" / "out.hdf5", "pass a file in a writable folder"),
        (tmp_path / "file", "delete it first"),
        (tmp_path, "delete it first"),
    ):
        with pytest.raises(InputError, match=remedy):
            collect(replace(TINY, out=out), "")


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        collect(replace(TINY, level="random", out=tmp_path / "out.hdf5"), "")
    assert list(tmp_path.iterdir()) == []


def test_missing_gymnasium_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"pip install 'seem-verify\[collect\]'"):
        make_env("Hopper-v4")


def test_command_line_writes_the_file_and_says_so(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.hdf5"
    words = ["collect.py", "--env", "hopper", "--level", "random", "--rows", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    assert f"{out}: " in capsys.readouterr().out
    assert (
        read(out)[1]["command"] == f"python -m seem.datasets.collect --env hopper --level random --rows 20 --out {out}"
    )


def test_command_says_when_the_budget_ended_below_the_level(tmp_path, monkeypatch, capsys):
    def stop_early(config, seeds, report):
        trained = train(replace(config, level="random"), seeds, report)
        return trained._replace(evaluation_return=12.0)

    monkeypatch.setattr(module, "train", stop_early)
    words = ["collect.py", "--env", "hopper", "--level", "medium", "--rows", "20", "--out", str(tmp_path / "out.hdf5")]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    assert "ended at return 12, below the level's 1078: pass a larger --budget" in capsys.readouterr().err


def test_interrupted_command_writes_nothing_and_promises_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupt)
    words = ["collect.py", "--env", "hopper", "--level", "medium", "--rows", "20", "--out", str(tmp_path / "out.hdf5")]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 130
    assert "starts again" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


EMBEDDED_FILE = EMBEDDED / "hopper-medium.hdf5"


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

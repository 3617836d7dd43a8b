"""Rolling policies out in MuJoCo environments: steps, rows, whole episodes and their statistics."""

import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from seem.errors import InputError
from seem.networks import GaussianActor
from seem.transitions import Transitions

MAX_EPISODE_STEPS = 1000
"""Gym's time limit in all three environments."""


class Step(NamedTuple):
    """One step of an environment; ``timeout`` is the time limit's end, and False on a true terminal."""

    observation: Float64[np.ndarray, " observation"]
    action: np.ndarray
    reward: float
    next_observation: Float64[np.ndarray, " observation"]
    terminal: bool
    timeout: bool


class Rows:
    """Steps in preallocated arrays, in the order in which they were taken.

    Args:
        capacity: Most steps it can hold.
        observation_dim: Number of state components.
        action_dim: Number of action components.

    Attributes:
        arrays: D4RL's keys and ``next_observations``, each of ``capacity`` rows; float32 or bool.
        size: How many rows are filled.
    """

    def __init__(self, capacity: int, observation_dim: int, action_dim: int) -> None:
        self.size = 0
        self.arrays = {
            "observations": np.empty((capacity, observation_dim), np.float32),
            "actions": np.empty((capacity, action_dim), np.float32),
            "rewards": np.empty(capacity, np.float32),
            "next_observations": np.empty((capacity, observation_dim), np.float32),
            "terminals": np.empty(capacity, np.bool_),
            "timeouts": np.empty(capacity, np.bool_),
        }

    def append(self, step: Step) -> None:
        """Write a step into the next free row."""
        for array, value in zip(self.arrays.values(), step, strict=True):
            array[self.size] = value
        self.size += 1

    def batch(self, rows: int, random: np.random.Generator) -> Transitions:
        """Draw ``rows`` transitions, uniformly and with replacement."""
        drawn = random.integers(self.size, size=rows)
        keys = ("observations", "actions", "rewards", "next_observations", "terminals")
        return Transitions(*(torch.from_numpy(self.arrays[key][drawn]).float() for key in keys))

    def ends(self) -> Bool[np.ndarray, " size"]:
        """Which of the filled rows end an episode."""
        return (self.arrays["terminals"] | self.arrays["timeouts"])[: self.size]

    def episodes(self, fewest_rows: int, random: np.random.Generator) -> Int[np.ndarray, " rows"]:
        """Row numbers of whole episodes, drawn without replacement until there are ``fewest_rows``, in their order."""
        last = np.flatnonzero(self.ends())
        lengths = np.diff(last, prepend=-1)
        order = random.permutation(len(last))
        drawn = order[: np.searchsorted(lengths[order].cumsum(), fewest_rows) + 1]
        return np.flatnonzero(np.isin(np.repeat(np.arange(len(last)), lengths), drawn))


def take_steps(env: Any, actor: GaussianActor, noise: torch.Generator, reset_seed: int) -> Iterator[Step]:
    """Step an environment without end with actions drawn from a policy, which may be trained meanwhile.

    Args:
        env: The environment; the generator resets it with ``reset_seed`` first, and then without a seed.
        actor: The policy.
        noise: CPU generator of the actions' noise.
        reset_seed: Seed of the first reset.

    Yields:
        One step after the other.
    """
    observation, _ = env.reset(seed=reset_seed)
    while True:
        drawn = torch.randn((1, env.action_space.shape[0]), generator=noise)
        with torch.no_grad():
            action = actor.sample(torch.from_numpy(observation).float()[None], drawn)[0][0].numpy()
        following, reward, terminated, truncated, _ = env.step(action)
        yield Step(observation, action, float(reward), following, bool(terminated), bool(truncated and not terminated))
        observation = env.reset()[0] if terminated or truncated else following


def rollout(env_id: str, actor: GaussianActor, seed: int, *, fewest_rows: int = 1, fewest_episodes: int = 1) -> Rows:
    """Whole episodes of a sampled policy in a fresh environment, as few as make enough rows and enough episodes.

    Args:
        env_id: Gymnasium's name of the environment.
        actor: The policy.
        seed: Seeds the first reset and the actions' noise.
        fewest_rows: Fewest rows.
        fewest_episodes: Fewest episodes.

    Returns:
        The steps.
    """
    episodes = 0
    with closing(make_env(env_id)) as env:
        capacity = max(fewest_rows, fewest_episodes * MAX_EPISODE_STEPS) + MAX_EPISODE_STEPS
        rows = Rows(capacity, env.observation_space.shape[0], env.action_space.shape[0])
        for step in take_steps(env, actor, torch.Generator().manual_seed(seed), seed):
            rows.append(step)
            episodes += step.terminal or step.timeout
            if (step.terminal or step.timeout) and rows.size >= fewest_rows and episodes >= fewest_episodes:
                break
    return rows


def make_env(env_id: str) -> Any:
    """A MuJoCo environment of gymnasium.

    Args:
        env_id: Its name.

    Returns:
        The environment.

    Raises:
        InputError: When gymnasium, mujoco or what they need is not installed.
    """
    try:
        import gymnasium

        with warnings.catch_warnings():
            # The v4 environments have the rewards of the v2 ones that D4RL used; gymnasium asks for v5, which has not.
            warnings.simplefilter("ignore", DeprecationWarning)
            return gymnasium.make(env_id)
    except ImportError as error:
        raise InputError(
            f"collecting needs gymnasium and mujoco ({error}): pip install 'seem-verify[collect]'"
        ) from error


def statistics(rewards: np.ndarray, ends: Bool[np.ndarray, " rows"]) -> dict[str, Any]:
    """Statistics of whole episodes.

    Args:
        rewards: Rewards of the episodes, one after the other, shape (rows,).
        ends: Which rows end an episode, shape (rows,); the last one does.

    Returns:
        Number of episodes, mean length in steps, and mean, (population) deviation, least and largest return.
    """
    first = np.append(0, np.flatnonzero(ends)[:-1] + 1)
    returns = np.add.reduceat(rewards.astype(np.float64), first)
    return {
        "episodes": len(first),
        "episode_length_mean": len(rewards) / len(first),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
    }

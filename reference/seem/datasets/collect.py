"""D4RL's own recipe: train SAC online, then write what a policy of the asked level does, in D4RL's layout.

Levels (Fu et al. 2020, 2004.07219, section on Gym-MuJoCo; the third is recalled): ``random`` is a randomly
initialised policy, ``medium`` one whose training stopped at a third of the expert's return, ``medium-replay`` the
replay buffer of that training, and ``expert-like`` a policy trained to the end of its budget. Policies are sampled,
as in training. Everything follows from the seed; the same command writes the same rows on the same machine.
A training that is interrupted cannot be resumed and starts again.
"""

import io
import json
import platform
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float64, Int
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import seem
from seem.agents.sac import SAC, SACConfig
from seem.datasets.dataset import EMBEDDED
from seem.errors import InputError, run_command
from seem.networks import GaussianActor
from seem.records import write_atomically
from seem.transitions import Transitions

LEVELS = ("random", "medium", "medium-replay", "expert-like")
MAX_EPISODE_STEPS = 1000
"""Gym's time limit in all three environments."""


class Task(NamedTuple):
    """An environment and D4RL's reference returns in it (``d4rl/infos.py``, printed)."""

    env_id: str
    random_return: float
    expert_return: float


TASKS = {
    "hopper": Task("Hopper-v4", -20.272305, 3234.3),
    "walker2d": Task("Walker2d-v4", 1.629008, 4592.3),
    "halfcheetah": Task("HalfCheetah-v4", -280.178953, 12135.0),
}


@dataclass(frozen=True)
class CollectConfig:
    """What to collect, and how the policy is trained.

    Attributes:
        env: ``hopper``, ``walker2d`` or ``halfcheetah``.
        level: ``random``, ``medium``, ``medium-replay`` or ``expert-like``.
        rows: Fewest rows to write; the episode under way is finished. ``medium-replay`` has no more than were trained
            on, and draws whole episodes from them when there are more.
        out: The file to write; it must not exist.
        seed: Draws networks, actions, batches and initial states.
        budget: Most environment steps of training; the episode under way is finished.
        start_steps: Steps of the untrained policy before the first update; from then on one update a step.
        batch_size: Transitions an update.
        evaluation_interval: Steps between two evaluations (at the end of an episode).
        evaluation_episodes: Episodes an evaluation.
        agent: Hyper-parameters of SAC.

    Raises:
        InputError: When a value is impossible.
    """

    env: str
    level: str
    rows: int
    out: Path
    seed: int = 0
    budget: int = 1_000_000
    start_steps: int = 5_000
    batch_size: int = 256
    evaluation_interval: int = 2_500
    evaluation_episodes: int = 10
    agent: SACConfig = SACConfig()

    def __post_init__(self) -> None:
        if self.env not in TASKS:
            raise InputError(f"there is no environment {self.env!r}: pass one of {', '.join(TASKS)}")
        if self.level not in LEVELS:
            raise InputError(f"there is no level {self.level!r}: pass one of {', '.join(LEVELS)}")
        for name in ("rows", "budget", "start_steps", "batch_size", "evaluation_interval", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: pass 1 or more")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}: pass 0 or more")


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


class Trained(NamedTuple):
    """A training's end: agent, replay buffer, and the last evaluation's mean return (NaN without any)."""

    agent: SAC
    replay: Rows
    evaluation_return: float


def collect(
    config: CollectConfig, command: str, report: Callable[[int, str], None] = lambda step, text: None
) -> dict[str, Any]:
    """Train, collect and write a data set.

    Args:
        config: What to collect.
        command: The command line that asked for it, kept in the file.
        report: Called with the number of training steps and a word on the policy's return.

    Returns:
        The attributes of the written file.

    Raises:
        InputError: When gymnasium or mujoco is missing, or the file exists or cannot be written.
    """
    _check_writable(config.out)
    task = TASKS[config.env]
    keys = ("agent", "training_env", "training_noise", "batches", "evaluation", "collection")
    drawn: list[int] = np.random.SeedSequence(config.seed).generate_state(len(keys)).tolist()
    seeds = {str(key): seed for key, seed in zip(keys, drawn, strict=True)}
    trained = train(config, seeds, report)
    kind = "embedded" if config.out.resolve().parent == EMBEDDED.resolve() else "collected"
    attributes = {
        "label": f"{kind} (made by this project)",
        "command": command,
        "config": json.dumps({key: value for key, value in asdict(config).items() if key != "out"}, sort_keys=True),
        "env_id": task.env_id,
        "level": config.level,
        "seed": config.seed,
        "training_steps": trained.replay.size,
        "training_evaluation_return": trained.evaluation_return,
    }
    if config.level == "medium-replay":
        rows = trained.replay
        kept = rows.episodes(config.rows, np.random.default_rng(seeds["collection"]))
    else:
        rows = rollout(task.env_id, trained.agent.actor, seeds["collection"], fewest_rows=config.rows)
        kept = np.arange(rows.size)
        attributes["reset_seed"] = seeds["collection"]
    arrays = {key: array[kept] for key, array in rows.arrays.items() if key != "next_observations"}
    attributes |= statistics(arrays["rewards"], arrays["terminals"] | arrays["timeouts"]) | _versions()
    gained = attributes["return_mean"] - task.random_return
    attributes["normalised_score"] = 100 * gained / (task.expert_return - task.random_return)
    _write(config.out, arrays, attributes)
    return attributes


def train(config: CollectConfig, seeds: dict[str, int], report: Callable[[int, str], None]) -> Trained:
    """Train SAC online, up to the asked level or to the end of the budget, and always to the end of an episode.

    Args:
        config: What to train for; the level ``random`` takes no step at all.
        seeds: Seeds of ``agent``, ``training_env``, ``training_noise``, ``batches`` and ``evaluation``.
        report: Called with the number of steps and a word on the policy's return.

    Returns:
        The agent, its replay buffer and its last evaluation.
    """
    env_id = TASKS[config.env].env_id
    goal = _third_of_expert(config) if config.level.startswith("medium") else float("inf")
    noise = torch.Generator().manual_seed(seeds["training_noise"])
    batches = np.random.default_rng(seeds["batches"])
    evaluated_at, mean_return = config.start_steps, float("nan")
    with closing(make_env(env_id)) as env:
        dims = (env.observation_space.shape[0], env.action_space.shape[0])
        agent = SAC(config.agent, *dims, seed=seeds["agent"])
        replay = Rows(config.budget + MAX_EPISODE_STEPS, *dims)
        if config.level == "random":
            return Trained(agent, replay, mean_return)
        for step in take_steps(env, agent.actor, noise, seeds["training_env"]):
            replay.append(step)
            if replay.size > config.start_steps:
                agent.update(replay.batch(config.batch_size, batches))
            if not (step.terminal or step.timeout):
                continue
            if replay.size >= evaluated_at + config.evaluation_interval:
                evaluated_at = replay.size
                seen = rollout(env_id, agent.actor, seeds["evaluation"], fewest_episodes=config.evaluation_episodes)
                mean_return = statistics(seen.arrays["rewards"][: seen.size], seen.ends())["return_mean"]
            report(replay.size, f"return {mean_return:.0f}")
            if mean_return >= goal or replay.size >= config.budget:
                break
    return Trained(agent, replay, mean_return)


def _third_of_expert(config: CollectConfig) -> float:
    return TASKS[config.env].expert_return / 3


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


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")}
    return {f"version_{name}": found for name, found in packages.items()} | {
        "version_python": platform.python_version(),
        "version_seem": seem.__version__,
    }


def _check_writable(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path} exists: delete it first, or pass another file with --out")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): pass a file in a writable folder with --out"
        ) from error


def _write(path: Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip", compression_opts=9, shuffle=True)
        file.attrs.update(attributes)
    write_atomically(path, content.getvalue())


def main() -> int:
    """Collect a data set as the command line says."""
    config = tyro.cli(CollectConfig, prog="python -m seem.datasets.collect", description=__doc__)
    torch.set_num_threads(1)  # the networks are too small to gain from more
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(TextColumn("{task.description}"), *columns) as progress:
            bar = progress.add_task("collecting", total=config.budget)
            attributes = collect(
                config,
                shlex.join(["python", "-m", "seem.datasets.collect", *sys.argv[1:]]),
                lambda step, text: progress.update(bar, completed=step, description=text),
            )
    except KeyboardInterrupt:
        print("interrupted: nothing was written, and the same command starts again", file=sys.stderr)
        return 130
    if config.level.startswith("medium") and attributes["training_evaluation_return"] < _third_of_expert(config):
        print(
            f"the budget ended at return {attributes['training_evaluation_return']:.0f}, below the level's "
            f"{_third_of_expert(config):.0f}: pass a larger --budget for a policy of that level",
            file=sys.stderr,
        )
    print(
        f"{config.out}: {attributes['episodes']} episodes of {config.env}-{config.level}, return "
        f"{attributes['return_mean']:.0f} ± {attributes['return_std']:.0f} after {attributes['training_steps']:,} steps"
    )
    return 0


if __name__ == "__main__":
    run_command(main)

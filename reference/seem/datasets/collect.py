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
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import seem
from seem.agents.sac import SAC, SACConfig
from seem.checks import check_seed, check_steps
from seem.datasets.dataset import EMBEDDED
from seem.datasets.rollout import MAX_EPISODE_STEPS, Rows, make_env, rollout, statistics, take_steps
from seem.errors import InputError, run_command
from seem.locks import write_alone

LEVELS = ("random", "medium", "medium-replay", "expert-like")


class Environment(NamedTuple):
    """An environment and D4RL's reference returns in it (``d4rl/infos.py``, printed)."""

    env_id: str
    random_return: float
    expert_return: float


ENVIRONMENTS = {
    "hopper": Environment("Hopper-v4", -20.272305, 3234.3),
    "walker2d": Environment("Walker2d-v4", 1.629008, 4592.3),
    "halfcheetah": Environment("HalfCheetah-v4", -280.178953, 12135.0),
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
        start_steps: Steps of the untrained policy before the first update; from then on one update per step.
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
        if self.env not in ENVIRONMENTS:
            raise InputError(f"there is no environment {self.env!r}: pass one of {', '.join(ENVIRONMENTS)}")
        if self.level not in LEVELS:
            raise InputError(f"there is no level {self.level!r}: pass one of {', '.join(LEVELS)}")
        for name in ("rows", "budget", "start_steps", "batch_size", "evaluation_interval", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: pass 1 or more")
        for name in ("rows", "budget", "start_steps", "batch_size", "evaluation_interval", "evaluation_episodes"):
            check_steps(f"--{name.replace('_', '-')}", getattr(self, name))
        check_seed("--seed", self.seed)


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
    environment = ENVIRONMENTS[config.env]
    keys = ("agent", "training_env", "training_noise", "batches", "evaluation", "collection")
    drawn: list[int] = np.random.SeedSequence(config.seed).generate_state(len(keys)).tolist()
    seeds = {str(key): seed for key, seed in zip(keys, drawn, strict=True)}
    trained = train(config, seeds, report)
    kind = "embedded" if config.out.resolve().parent == EMBEDDED.resolve() else "collected"
    attributes = {
        "label": f"{kind} (made by this project)",
        "command": command,
        "config": json.dumps({key: value for key, value in asdict(config).items() if key != "out"}, sort_keys=True),
        "env_id": environment.env_id,
        "level": config.level,
        "seed": config.seed,
        "training_steps": trained.replay.size,
        "training_evaluation_return": trained.evaluation_return,
    }
    if config.level == "medium-replay":
        rows = trained.replay
        kept = rows.episodes(config.rows, np.random.default_rng(seeds["collection"]))
    else:
        rows = rollout(environment.env_id, trained.agent.actor, seeds["collection"], fewest_rows=config.rows)
        kept = np.arange(rows.size)
        attributes["reset_seed"] = seeds["collection"]
    arrays = {key: array[kept] for key, array in rows.arrays.items() if key != "next_observations"}
    attributes |= statistics(arrays["rewards"], arrays["terminals"] | arrays["timeouts"]) | _versions()
    gained = attributes["return_mean"] - environment.random_return
    attributes["normalised_score"] = 100 * gained / (environment.expert_return - environment.random_return)
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
    env_id = ENVIRONMENTS[config.env].env_id
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
    return ENVIRONMENTS[config.env].expert_return / 3


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
    write_alone(path, content.getvalue())


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

"""SAC without target networks: does it diverge offline, and online, and does LayerNorm prevent it?

    python experiments/verify_sac.py --data hopper

Online runs collect their own transitions in gymnasium's Hopper-v4, Walker2d-v4 or HalfCheetah-v4, one update per step
after the first ones; the policy's return is that of its training episodes.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from studies.shared.arms import divergence_table, plot_arms, prevents, rate
from studies.shared.runs import LINE_COLUMNS, Arm, Budget, KeptRun, diverged, groups, largest, return_bound
from studies.shared.study import Plan
from studies.shared.training import (
    DeclaredRun,
    TrainingOptions,
    measure_once,
    plan_training,
    train_run,
    training_study,
)
from studies.shared.verdicts import Verdict, majority

from seem.agents.sac import SAC, SACConfig
from seem.datasets import Dataset, environment_of
from seem.datasets.collect import ENVIRONMENTS
from seem.datasets.rollout import MAX_EPISODE_STEPS, Rows, make_env, take_steps
from seem.networks import MLPConfig
from seem.training import SATURATED, read_agent

WITHOUT_TARGETS = SACConfig(target_rate=1.0)
"""The target is copied at every step, so that there is none."""
CRITICS = {"none": MLPConfig(), "LayerNorm": MLPConfig(normalisation="layer")}
ARMS = tuple(
    Arm(f"{place} {name}", replace(WITHOUT_TARGETS, critic=critic))
    for place in ("offline", "online")
    for name, critic in CRITICS.items()
)
WARM_UP = 0.2
"""Share of an online run's steps that the untrained policy takes before the first update."""


def measure(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """One run, offline on the data, or online in the data's environment.

    Args:
        out: The folder of all runs.
        device: A torch device; online runs are on the CPU.
        run: Which run.
    """
    if run.arm.startswith("offline"):
        return train_run(out, device, run)
    return measure_once(out, device, run, partial(_online, run))


def plan(options: TrainingOptions) -> Plan:
    """Every arm and seed on every data set; online arms only where the data have an environment."""
    made = plan_training(ARMS, Budget, measure, options)
    without = {dataset.path: dataset.name for dataset in made.datasets if environment_of(dataset) is None}
    told = [f"{name}: offline arms only, since it has no environment here" for name in without.values()]
    tasks = [run for run in made.tasks if run.arm.startswith("offline") or run.data not in without]
    return replace(made, tasks=tasks, told=[*made.told, *told])


def _online(run: DeclaredRun, dataset: Dataset) -> KeptRun:
    config, env = run.config, environment_of(dataset)
    assert env is not None
    noise, batches = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
    values, looks, returns, gained = [], [], [], 0.0
    with closing(make_env(ENVIRONMENTS[env].env_id)) as world:
        sizes = (world.observation_space.shape[0], world.action_space.shape[0])
        assert isinstance(config.agent, SACConfig)
        agent = SAC(config.agent, *sizes, seed=config.seed)
        replay = Rows(int(config.budget * (1 + WARM_UP)) + MAX_EPISODE_STEPS, *sizes)
        for step in take_steps(world, agent.actor, noise, config.seed):
            replay.append(step)
            gained += float(step.reward)
            if step.terminal or step.timeout:
                returns, gained = [*returns, gained], 0.0
            if replay.size <= WARM_UP * config.budget:
                continue
            if agent.steps % config.reading_interval == 0:
                looks.append(_look(agent, replay, config.rows, batches))
            seen, _ = agent.update(replay.batch(config.batch or 256, batches))
            values.append(seen.abs().mean().item())
            if agent.steps == config.budget or not np.isfinite(values[-1]):
                break
    return _kept(run, env, np.array(values), looks, returns, replay)


def _look(agent: SAC, replay: Rows, rows: int, batches: np.random.Generator) -> dict[str, Any]:
    taken, actions = read_agent(agent, replay.batch(rows, batches), agent.steps)
    saturation = (actions.abs() > SATURATED).double().mean().item()
    return {"step": agent.steps, "critics": taken, "action_motion": 0.0, "action_saturation": saturation}


def _kept(run: DeclaredRun, env: str, values: np.ndarray, looks: list, returns: list[float], replay: Rows) -> KeptRun:
    rewards = replay.arrays["rewards"][: replay.size]
    bound = return_bound(float(np.abs(rewards).max()), run.config.agent.discount)
    beyond, live = np.flatnonzero(~(values <= bound)), [look for look in looks if all(look["critics"])]
    series = largest([asdict(reading) for reading in look["critics"]] for look in live)
    crashed = not np.isfinite(values[-1])
    return {
        "arm": run.arm,
        "data": f"{env} online",
        "label": f"collected online in {ENVIRONMENTS[env].env_id} (made by this project)",
        "seed": run.config.seed,
        "depth": run.config.agent.critic.depth,
        "steps": len(values),
        "crash_step": len(values) - 1 if crashed else None,
        "divergence_step": int(beyond[0]) if len(beyond) else None,
        "bound": bound,
        "last_q": float(values[np.isfinite(values)][-1]) if np.isfinite(values).any() else None,
        "mechanism": None,
        "returns": [round(value, 1) for value in returns],
        "read_at": [look["step"] for look in live],
        "series": series | {name: [look[name] for look in live] for name in LINE_COLUMNS},
    }


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    verdicts = []
    for (data,), cell in groups(runs, "data").items():
        arms = {name: [] for name in CRITICS}
        arms |= {arm.split()[1]: found for (arm,), found in groups(cell, "arm").items()}
        name = f"{data}: LayerNorm prevents the divergence of SAC without target networks"
        verdicts += [_diverges(data, arms["none"]), prevents(name, arms["none"], arms["LayerNorm"])]
    return verdicts


def _diverges(data: str, plain: Sequence[KeptRun]) -> Verdict:
    name = f"{data}: SAC without target networks diverges"
    # Few divergences refute nothing: longer runs, or other data, may have more.
    verdict = majority(diverged(plain), len(plain))
    return Verdict(name, "verified" if verdict == "verified" else "open", f"{rate(plain)} diverge")


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """SEEM and |Q| over time."""
    return {"sac.png": plot_arms(runs)}


STUDY = training_study(
    plan=plan,
    name="sac",
    arms=ARMS,
    judge=judge,
    table=lambda runs: divergence_table("SAC without target networks", runs),
    figures=figures,
    measure=measure,
)

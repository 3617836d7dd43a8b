"""Do twins that learn from their minimum crash when their joint matrix says so, or when each one's own does?

    python experiments/verify_joint.py --data hopper

Both forecasts are made from the same readings of the same run: one from the larger of the two critics' own leading
eigenvalues, one from that of the joint matrix of both.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table
from studies.shared.declaration import read_declaration
from studies.shared.runs import PAPERS_TD3, Arm, Budget, KeptRun, groups, with_critic
from studies.shared.training import DeclaredRun, TrainingOptions, measure_once, training_study
from studies.shared.verdicts import Verdict, difference, in_words

from seem.agents import Agent
from seem.checks import open_device
from seem.datasets import Dataset
from seem.dynamics import Training
from seem.forecasting import forecast
from seem.plots import new_figure
from seem.reading import Reading, read
from seem.training import read_agent, start
from seem.transitions import Transitions

_THRESHOLDS = read_declaration("joint").thresholds
SHARES: list[float] = _THRESHOLDS["shares"]
MISSING: float = _THRESHOLDS["missing"]
DESCENT = replace(
    PAPERS_TD3,
    critic_optimiser="sgd",
    critic_lr=1e-3,
    actor_interval=1,
    target_interval=1,
    target_noise=0.0,
)
"""Full-batch gradient descent with targets copied at every step: what the law is of."""
ARMS = tuple(Arm(f"L={depth}", with_critic(DESCENT, depth=depth)) for depth in (2, 3, 4))


def measure(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """Train one run and forecast its crash both ways at every reading, or read what was kept of it.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.

    Returns:
        What is kept: the crash step or None, and a list of [step, own forecast, joint forecast], None where no crash
        is forecast.
    """
    return measure_once(out, device, run, partial(_follow, device, run))


def _follow(device: str, run: DeclaredRun, dataset: Dataset) -> KeptRun:
    config = run.config
    _, rows, _, agent = start(config, dataset, open_device(device))
    own: list[list[Any]] = [[] for _ in agent.critics]
    joint: list[Any] = []
    made: list[list[float | None]] = []
    crash = None
    for step in range(config.budget):
        if step % config.reading_interval == 0:
            for history, reading in zip(own, read_agent(agent, rows, step)[0], strict=True):
                history.append(reading)
            joint.append(read_jointly(agent, rows, step))
            shared = {"depth": config.agent.critic.depth, "dtype": config.dtype, "step": step}
            steps = (forecast(histories, **shared).crash_step for histories in (own, joint))
            made.append([step, *(found if math.isfinite(found) else None for found in steps)])
        values, _ = agent.update(rows)
        if not torch.isfinite(values).all():
            crash = step
            break
    kept = {"arm": run.arm, "data": dataset.name, "label": dataset.label, "seed": config.seed}
    return kept | {"steps": config.budget, "crash_step": crash, "forecasts": made}


def read_jointly(agent: Agent, rows: Transitions, step: int) -> Reading | None:
    """A reading of all critics at once; None once a value or a target has overflowed."""
    values, target = agent.values(rows).detach(), agent.td_target(rows, noisy=False)
    if not (torch.isfinite(values).all() and torch.isfinite(target).all()):
        return None
    batch = {
        "observations": rows.observations,
        "actions": rows.actions,
        "next_observations": rows.next_observations,
        "next_actions": agent.next_actions(rows),
        "terminals": rows.terminals,
        "targets": target,
    }
    training = Training(discount=agent.config.discount, lr=agent.config.critic_lr)
    return read(list(agent.critics), batch, training=training, step=step)


def errors(run: KeptRun, share: float) -> tuple[float, float]:
    """Errors of the own and of the joint forecast, as shares of the run, of the last ones made by a share of it."""
    crash = run["crash_step"]
    _, *last = [line for line in run["forecasts"] if line[0] <= share * crash][-1]
    own, joint = (MISSING if step is None else abs(step - crash) / max(crash, 1) for step in last)
    return own, joint


def false_alarms(run: KeptRun) -> tuple[float, float]:
    """How many of a censored run's own and joint forecasts name a crash within its budget."""
    named = [[step is not None and step <= run["steps"] for step in line[1:]] for line in run["forecasts"]]
    own, joint = np.array(named, dtype=np.float64).reshape(-1, 2).sum(axis=0)
    return float(own), float(joint)


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    return [
        *(_better(arm, cell, share) for (arm, cell), share in product(groups(runs, "arm").items(), SHARES)),
        _quieter(runs),
    ]


def _better(arm: tuple[Any, ...], runs: Sequence[KeptRun], share: float) -> Verdict:
    sentence = f"{arm[0]}: at {share:.0%} of the run the joint matrix forecasts the crash better"
    pairs = [errors(run, share) for run in runs if run["crash_step"] is not None]
    if not pairs:
        return Verdict(sentence, "open", f"none of {len(runs)} runs crashes: train for more --steps")
    outcome, found = difference(pairs)
    own, joint = np.median(np.array(pairs), axis=0)
    evidence = f"median error {joint:.2%} of the run, {own:.2%} from the critics' own; paired difference"
    evidence += f" {in_words(found, '.2%')} over {len(pairs)} runs that crash, {len(runs) - len(pairs)} censored"
    return Verdict(sentence, outcome, evidence)


def _quieter(runs: Sequence[KeptRun]) -> Verdict:
    sentence = "the joint matrix raises fewer false alarms"
    pairs = [false_alarms(run) for run in runs if run["crash_step"] is None]
    if not pairs:
        return Verdict(sentence, "open", f"all {len(runs)} runs crash: none is censored")
    outcome, found = difference(pairs)
    own, joint = np.sum(pairs, axis=0)
    evidence = f"{joint:.0f} forecasts of a crash that does not come, {own:.0f} from the critics' own, in {len(pairs)}"
    return Verdict(sentence, outcome, f"{evidence} censored runs; paired difference {in_words(found, '.1f')} a run")


def table(runs: Sequence[KeptRun]) -> Table:
    """One line per data set and arm."""
    shown = Table(
        title="Median error of the forecasts, as a share of the run: the critics' own matrices → the joint one"
    )
    for heading in ("data", "arm", "crash", *(f"at {share:.0%}" for share in SHARES), "false alarms"):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, arm), cell in groups(runs, "data", "arm").items():
        crashed = [run for run in cell if run["crash_step"] is not None]
        words = []
        for share in SHARES:
            own, joint = np.median([errors(run, share) for run in crashed], axis=0) if crashed else (None, None)
            words.append("-" if own is None else f"{own:.1%} → {joint:.1%}")
        alarms = [false_alarms(run) for run in cell if run["crash_step"] is None]
        own, joint = np.sum(alarms, axis=0) if alarms else (0, 0)
        shown.add_row(data, arm, f"{len(crashed)}/{len(cell)}", *words, f"{own:.0f} → {joint:.0f}")
    return shown


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """Error of the joint forecast against that of the critics' own, one panel per share, one point per run."""
    figure = new_figure(3.4 * len(SHARES), 3.4)
    least = 1e-4
    for axis, share in zip(figure.subplots(1, len(SHARES), squeeze=False)[0], SHARES, strict=True):
        for (arm,), cell in groups(runs, "arm").items():
            points = np.array([errors(run, share) for run in cell if run["crash_step"] is not None]).reshape(-1, 2)
            axis.loglog(*np.maximum(points, least).T, "o", ms=4, alpha=0.7, label=arm)
        axis.axline((least, least), (1, 1), color="0.5", lw=0.8)
        axis.set(title=f"at {share:.0%} of the run", xlabel="error from the critics' own matrices")
        axis.set_ylabel("error from the joint matrix")
        axis.legend()
    return {"joint.png": figure}


STUDY = training_study(
    name="joint",
    arms=ARMS,
    budget=lambda steps, rows: Budget(steps, rows, batch=None, reading_interval=10, dtype="float64"),
    options=TrainingOptions(steps=500, rows=128),
    judge=judge,
    table=table,
    figures=figures,
    measure=measure,
)

"""The arms of verify_optimiser, and what is kept of each run: what was said at every reading, and what came of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from studies.shared.declaration import read_declaration
from studies.shared.runs import PAPERS_TD3, Arm, Budget, KeptRun, short, value_bound, with_critic
from studies.shared.training import DeclaredRun, measure_once

from seem.agents import Agent
from seem.agents.common import evaluating
from seem.agents.td3 import TD3, TD3Config
from seem.calibrating import training_of
from seem.calibration import SHIPPED, Calibration
from seem.checks import open_device
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.drift import WINDOW, Trail
from seem.forecasting import forecast
from seem.lookahead import look_ahead
from seem.reading import read
from seem.training import start
from seem.transitions import Transitions

THRESHOLDS: dict[str, Any] = read_declaration("optimiser").thresholds
NEXT, FAR = HORIZONS = tuple(THRESHOLDS["horizons"])
"""Steps over which growth is predicted, the shorter ones also those between two readings."""
SAID = (
    "mean_abs_q",
    "leading",
    "normalised",
    "numerical_abscissa",
    "kernel_norm",
    "preconditioned",
    "gate",
    *(f"growth_{steps}" for steps in HORIZONS),
    "crossing",
    "accelerated",
    "leaves_at",
    "earliest",
    "latest",
)
"""What is kept of a reading: mean |Q|; SEEM of both twins jointly, over its norm, its abscissa, and the norm of their
joint kernel; the leading eigenvalue under the optimiser times h, and whether it counts as excited; ln of the predicted
growth of ‖u‖; the plain crossing, and the accelerated time; and the stated step of leaving with its interval. What is
not said is nan."""


@dataclass(frozen=True)
class DecayedTD3Config(TD3Config):
    """TD3 whose critics are trained by AdamW.

    Attributes:
        weight_decay: Of AdamW; torch's default.
    """

    weight_decay: float = 0.01

    def build(self, *sizes: int, **settings: Any) -> TD3:
        """A fresh agent; arguments as of `seem.agents.td3.TD3`."""
        agent = super().build(*sizes, **settings)
        parameters = agent.critics.parameters()
        agent.critic_optimiser = torch.optim.AdamW(parameters, lr=self.critic_lr, weight_decay=self.weight_decay)
        return agent


@dataclass(frozen=True)
class OptimiserArm(Arm):
    """An arm with a batch of its own.

    Attributes:
        full_batch: Whether it trains on the rows that are read, all at each step.
    """

    full_batch: bool = False


@dataclass(frozen=True)
class ByArm(Budget):
    """A budget whose runs take their batch from their arm."""

    def run(self, arm: Arm, seed: int) -> RunConfig:
        """The configuration of one run."""
        config = super().run(arm, seed)
        return replace(config, batch=None) if isinstance(arm, OptimiserArm) and arm.full_batch else config


def _td3(depth: int = 3, width: int = 64, normalisation: str = "none", **changes: Any) -> TD3Config:
    shaped = with_critic(PAPERS_TD3, depth=depth, width=width, normalisation=normalisation)
    return replace(shaped, actor=replace(shaped.actor, width=width), **changes)


def _sgd(**changes: Any) -> TD3Config:
    return _td3(critic_optimiser="sgd", critic_lr=1e-3, **changes)


CENTRE = _td3()
"""Adam 3e-4, targets copied at every second step, minibatches of 256, three weight matrices, no normalisation."""
DECAYED = DecayedTD3Config(critic=CENTRE.critic, actor=CENTRE.actor, target_rate=CENTRE.target_rate)
ARMS: tuple[OptimiserArm, ...] = (
    OptimiserArm("centre", CENTRE),
    OptimiserArm("SGD", _sgd()),
    OptimiserArm("momentum", _sgd(momentum=0.9)),
    OptimiserArm("AdamW", DECAYED),
    OptimiserArm("interval 1", replace(CENTRE, target_interval=1)),
    OptimiserArm("interval 1, L=4", _td3(4, target_interval=1)),
    OptimiserArm("LayerNorm", _td3(normalisation="layer")),
    OptimiserArm("width 256", _td3(width=256)),
    OptimiserArm("full batch", CENTRE, full_batch=True),
    OptimiserArm("full batch, interval 1", replace(CENTRE, target_interval=1), full_batch=True),
    *(OptimiserArm(f"full batch, L={depth}", _td3(depth), full_batch=True) for depth in (2, 4)),
    *(OptimiserArm(f"L={depth}", _td3(depth)) for depth in (2, 4)),
    *(
        OptimiserArm(f"τ={rate:g}, L={depth}", _td3(depth, target_rate=rate))
        for rate, depth in product((0.05, 0.005), (2, 3, 4))
    ),
)


def measure(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """Train one run with readings under its optimiser, or read what was kept of it.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.

    Returns:
        What is kept: the step at which mean |Q| left its bound or None, ‖u‖ at every multiple of the reading interval
        from step 0 to the end (`td_norm`), and at every reading, taken from the second multiple on until mean |Q| has
        left its bound, the series of `SAID`.
    """
    return measure_once(out, device, run, partial(_follow, device, run))


def _follow(device: str, run: DeclaredRun, dataset: Dataset) -> KeptRun:
    config = run.config
    transitions, rows, batches, agent = start(config, dataset, open_device(device))
    watched = Watched(agent, rows, value_bound(dataset, config.agent.discount), Calibration.read(SHIPPED))
    errors: list[float] = []
    lines: list[tuple[int, list[float]]] = []
    left = None
    for step in range(config.budget + 1):
        if step % WINDOW == 0:
            watched.trail.note(step)
        size = watched.size()
        if left is None and not size <= watched.bound:
            left = step
        if step % config.reading_interval == 0:
            errors.append(watched.error())
            if left is None and len(watched.trail.notes) == 3:
                lines.append((step, watched.look(step)))
        if not math.isfinite(size) or (left is not None and step >= left + FAR):
            break
        agent.update(rows if config.batch is None else transitions.draw(config.batch, batches))
    return described_run(run, dataset, watched) | {
        "divergence_step": left,
        "td_norm": [short(error) for error in errors],
        "read_at": [step for step, _ in lines],
        "series": {name: [short(line[place]) for _, line in lines] for place, name in enumerate(SAID)},
    }


class Watched:
    """An agent in training with all that a look at it needs.

    Args:
        agent: The agent.
        rows: The M transitions that are read.
        bound: What mean |Q| must not pass.
        calibration: The record that intervals come from.
    """

    def __init__(self, agent: Agent, rows: Transitions, bound: float, calibration: Calibration) -> None:
        self.agent, self.rows, self.bound, self.calibration = agent, rows, bound, calibration
        self.critics: list[Any] = list(agent.critics)
        self.targets: list[Any] = list(getattr(agent, "target_critics"))  # noqa: B009 - no part of the protocol
        self.trail = Trail(self.critics)
        self.training = training_of(agent)

    @torch.no_grad()
    def size(self) -> float:
        """Mean |Q| over twins and rows."""
        return self.agent.values(self.rows).abs().mean().item()

    @torch.no_grad()
    def error(self) -> float:
        """‖u‖ over twins and rows, the target without noise."""
        apart = self.agent.values(self.rows) - self.agent.td_target(self.rows, noisy=False)
        return apart.double().norm().item()

    def look(self, step: int) -> list[float]:
        """What `SAID` names, in its order.

        Args:
            step: Critic steps taken.
        """
        with evaluating(self.agent):
            reading = read(
                self.critics,
                self.rows,
                next_actions=self.agent.next_actions(self.rows),
                target_critics=self.targets,
                training=self.training,
                step=step,
                with_optimiser=True,
            )
            ahead = look_ahead(self.critics, self.rows, drift=self.trail.drift(), bound=self.bound, step=step)
        under, parts = reading.under_optimiser, reading.parts
        if under is None or parts is None or reading.leading is None or reading.normalised is None:
            return [ahead.mean_abs_q, *[math.nan] * (len(SAID) - 1)]
        depth = self.agent.config.critic.depth
        settings = {"ahead": ahead, "training": self.training, "calibration": self.calibration}
        said = forecast([reading], step=step, depth=depth, **settings).leaving
        stated = [math.nan] * 3 if said is None else [said.leaves_at, said.earliest, said.latest]
        return [
            ahead.mean_abs_q,
            reading.leading,
            reading.normalised,
            torch.linalg.eigvalsh((parts.matrix + parts.matrix.T) / 2)[-1].item(),
            parts.joint_gram.norm().item(),
            under.rate_per_step,
            float(under.excited is not False),
            *growths(under.path(FAR), HORIZONS),
            ahead.crossing,
            *(math.nan if value is None else value for value in (ahead.accelerated, *stated)),
        ]


def growths(path: NDArray[np.float64] | None, horizons: Sequence[int]) -> list[float]:
    """Ln of the growth of ‖u‖ along a path over some horizons; nan without one.

    Args:
        path: U now and after each step, shape (steps + 1, n).
        horizons: Steps.
    """
    if path is None:
        return [math.nan] * len(horizons)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        logs = np.log(np.linalg.norm(path, axis=1))
        return [float(logs[steps] - logs[0]) for steps in horizons]


def described_run(run: DeclaredRun, dataset: Dataset, watched: Watched) -> KeptRun:
    """What a kept run says of its configuration."""
    config, agent = run.config, run.config.agent
    name = "SGD" if agent.momentum == 0 else "momentum"
    if agent.critic_optimiser == "adam":
        name = "AdamW" if isinstance(agent, DecayedTD3Config) else "Adam"
    return {
        "arm": run.arm,
        "data": dataset.name,
        "label": dataset.label,
        "seed": config.seed,
        "depth": agent.critic.depth,
        "normalisation": agent.critic.normalisation,
        "optimiser": name,
        "full_batch": config.batch is None,
        "target_rate": agent.target_rate,
        "steps": config.budget,
        "bound": short(watched.bound),
        "step_size": 2 * agent.critic_lr / len(watched.rows),
        "reading_interval": config.reading_interval,
    }

"""Trainings of the package's agents that a calibration is made of: forecasts on the way, and when they came true."""

from collections.abc import Iterable
from itertools import product

import torch

from seem.agents import Agent
from seem.agents.common import evaluating
from seem.agents.td3 import TD3Config
from seem.calibration import Calibration, calibrate, kind_of
from seem.checks import check_integer
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.drift import FEWEST_STEPS, WINDOW, Trail
from seem.dynamics import Training
from seem.errors import InputError
from seem.leaving import Leaving, leaving
from seem.lookahead import look_ahead, value_bound
from seem.networks import MLPConfig
from seem.reading import read
from seem.training import start

SEEDS = range(30, 40)
"""Seeds that only calibrations use."""


def shipped_trainings() -> list[RunConfig]:
    """The trainings behind `seem.calibration.SHIPPED`, on the embedded hopper-medium set.

    TD3 with targets copied and the actor moved every second step, Adam 3e-4, width 64; three and four layers,
    minibatches of 256 and full batches of 128 rows, ten seeds each.
    """
    made: list[RunConfig] = []
    for depth, batch, seed in product((3, 4), (256, None), SEEDS):
        agent = TD3Config(MLPConfig(depth=depth, width=64), MLPConfig(width=64), target_rate=1.0)
        config = RunConfig(agent, rows=128, batch=batch, normalise_states=True, dtype="float32", budget=1000, seed=seed)
        made.append(config)
    return made


def training_of(agent: Agent) -> Training:
    """How an agent trains its critics, with their live optimiser.

    Args:
        agent: One of the package's, or anyone's with a ``critic_optimiser``.

    Raises:
        InputError: When it has none.
    """
    optimizer = getattr(agent, "critic_optimiser", None)
    if optimizer is None:
        raise InputError("the agent has no critic_optimiser, its critics' live optimiser: give it that attribute")
    return Training(
        discount=agent.config.discount,
        optimizer=optimizer,
        targets=agent.config.target_rate,
        target_interval=agent.config.target_interval,
    )


def forecasts_of_run(
    config: RunConfig, dataset: Dataset, *, window: int = WINDOW
) -> tuple[Training, list[Leaving], list[float], float]:
    """Train until mean |Q| leaves its bound or the budget ends, with a look-ahead at every reading.

    Args:
        config: What to train; readings are taken every ``reading_interval`` steps, a multiple of the window.
        dataset: The data.
        window: Steps behind a drift.

    Returns:
        How the critics are trained, the forecasts, mean |Q| before every step, and the bound.

    Raises:
        InputError: When the readings do not fall on ends of windows, or the agent shows no optimiser.
    """
    check_integer("window", window, FEWEST_STEPS)
    if config.reading_interval % window:
        raise InputError(
            f"reading_interval {config.reading_interval} is no multiple of the window: pass one of {window}"
        )
    transitions, rows, batches, agent = start(config, dataset)
    critics, trail = list(agent.critics), Trail(list(agent.critics))
    training = training_of(agent)
    bound = value_bound(transitions.rewards, config.agent.discount)
    made: list[Leaving] = []
    seen: list[float] = []
    for step in range(config.budget):
        if step % window == 0:
            trail.note(step)
        with torch.no_grad(), evaluating(agent):
            seen.append(agent.values(rows).abs().mean().item())
        if not seen[-1] <= bound:
            break
        if step % config.reading_interval == 0 and len(trail.notes) == 3:
            with evaluating(agent):
                actions = agent.next_actions(rows)
                reading = read(critics, rows, next_actions=actions, training=training, step=step)
                ahead = look_ahead(critics, rows, drift=trail.drift(), bound=bound, step=step)
            made.append(leaving([reading], step=step, ahead=ahead, training=training))
        agent.update(rows if config.batch is None else transitions.draw(config.batch, batches))
    return training, made, seen, bound


def calibrate_trainings(
    configs: Iterable[RunConfig], dataset: Dataset, *, onto: Calibration | None = None, source: str = ""
) -> Calibration:
    """A record of calibration from trainings, each a seed of its own that no test uses.

    Args:
        configs: The trainings.
        dataset: The data.
        onto: A record that is extended; an empty one without it.
        source: The runs in words, where there is no such record.
    """
    record = onto or Calibration(source=source)
    for config in configs:
        training, made, sizes, bound = forecasts_of_run(config, dataset)
        counted, left_at = calibrate(made, sizes, bound=bound)
        way = next((line.way for line in made if line.way is not None), None)
        if way is not None:
            record = record.with_run(f"{kind_of(training)}, {way}", counted, left_at)
    return record

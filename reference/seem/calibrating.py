"""Trainings of the package's agents that a calibration is made of: forecasts on the way, and when they came true."""

from collections.abc import Iterable
from itertools import product

import torch

from seem.agents.common import evaluating
from seem.agents.td3 import TD3Config
from seem.calibration import Calibration, calibrate, kind_of
from seem.checks import check_integer
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.drift import FEWEST_STEPS, Trail
from seem.dynamics import Training
from seem.errors import InputError
from seem.leaving import Leaving, leaving
from seem.lookahead import look_ahead, value_bound
from seem.networks import MLPConfig
from seem.reading import read
from seem.training import start

SEEDS = range(30, 40)
"""Seeds that only calibrations use."""
WINDOW = 10
"""Steps between two copies of the parameters: longer windows lag behind, shorter ones are one minibatch's noise."""


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
    optimizer = getattr(agent, "critic_optimiser", None)
    if optimizer is None:
        raise InputError("the agent has no critic_optimiser, its critics' live optimiser: give it that attribute")
    training = Training(
        discount=config.agent.discount,
        optimizer=optimizer,
        targets=config.agent.target_rate,
        target_interval=config.agent.target_interval,
    )
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
        drawn = torch.randint(len(transitions), (config.batch or 1,), generator=batches)
        agent.update(rows if config.batch is None else transitions.select(drawn))
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

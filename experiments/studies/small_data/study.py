"""Does LayerNorm help where transitions are few, and what does a policy constraint cost?

    python experiments/verify_small_data.py

TD3+BC of this project, and CQL and IQL of d3rlpy (`nox -s peers-d3rlpy` once before; without it these two are reported
as not run), with and without LayerNorm in the critics, on 100, 10 and 1 % of a data set's transitions; and TD3+BC with
other weights of its constraint. Every seed draws its own transitions, the same for all arms. A run diverges when mean
|Q|, looked at fifty times, exceeds what any policy can have. Q is compared with the data's own discounted returns,
where the data hold episodes, and with what the learned policy gets in gymnasium from the states in which it starts.
Runs are short, so targets move ten times as fast as published (a share of .05 a step) and Adam's learning rate is 1e-3.

What is not as in the paper's table (printed: gains of the score at 100/50/10/1 %, summed over tasks): one data set;
some thousand steps and 64 units instead of a million and 256; 1 % of the embedded set is about a hundred transitions,
of D4RL's ten thousand. The table itself confounds LayerNorm with resampling, reward scaling, gradient clipping and
another evaluation protocol, none of which is done here. d3rlpy's LayerNorm comes after the non-linearity, the paper's
before it; its CQL samples 4 actions a state for the penalty instead of 10, with a fixed weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
from rich.table import Table
from studies.shared.arms import interval, rate
from studies.shared.runs import Arm, KeptRun, groups
from studies.shared.study import Plan, Study
from studies.shared.training import TrainingOptions, find, plan_training
from studies.small_data.figures import figures
from studies.small_data.learners import FewBudget, Recipe
from studies.small_data.runs import measure
from studies.small_data.verdicts import (
    ALGORITHMS,
    CONSTRAINTS,
    FRACTIONS,
    PUBLISHED,
    SWEPT,
    judge,
    over_return,
    start_bias,
)

from seem.checks import check_integer, check_width
from seem.datasets import environment_of
from seem.datasets.collect import ENVIRONMENTS
from seem.datasets.rollout import make_env
from seem.errors import InputError

PACE = {"TD3+BC": 1.0, "CQL": 0.4, "IQL": 0.5}
"""Share of the steps that an algorithm takes: d3rlpy's cost more, and move the targets each time, not every other."""
LOOKS = 50
MOST_EPISODES = 1000
"""They run side by side, an environment each."""


@dataclass(frozen=True)
class SmallDataOptions(TrainingOptions):
    """Command line of the study on few transitions; each seed draws its own transitions.

    Attributes:
        steps: Critic steps of TD3+BC; IQL takes 50 % of them, CQL 40 %.
        rows: Transitions that Q is looked at on.
        width: Units of each of the two hidden layers.
        episodes: Episodes that every policy is rolled out for.
    """

    steps: int = 5000
    width: int = 64
    episodes: int = 5

    def shortened(self) -> Self:
        """A first look, which scores a policy by one episode."""
        return replace(super().shortened(), episodes=min(self.episodes, 1))


def arms(**shared: int) -> tuple[Arm, ...]:
    """All arms.

    Args:
        shared: What every recipe has: ``width`` and ``episodes``.
    """
    recipes = [
        Recipe(algorithm, fraction, layer_norm, pace=PACE[algorithm], **shared)
        for algorithm, layer_norm, fraction in product(ALGORITHMS, (False, True), FRACTIONS)
    ]
    recipes += [
        Recipe("TD3+BC", SWEPT, layer_norm, weight, **shared)
        for layer_norm, weight in product((False, True), CONSTRAINTS)
        if weight != PUBLISHED
    ]
    return tuple(Arm(name_of(recipe), recipe) for recipe in recipes)


def name_of(recipe: Recipe) -> str:
    """What tables and folders call an arm."""
    weight = "" if recipe.constraint == PUBLISHED else f" weight {recipe.constraint:g}"
    return f"{recipe.algorithm}{weight}{' LayerNorm' if recipe.layer_norm else ''} {recipe.fraction:.0%}"


def table(runs: Sequence[KeptRun]) -> Table:
    """One line per arm."""
    shown = Table(title="Few transitions: divergence, Q against returns, and D4RL's normalised score")
    for heading in ("data", "arm", "rows", "diverge (95 %)", "Q / data's return", "Q - own return", "score (95 %)"):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, name), arm in groups(runs, "data", "arm").items():
        if arm[0]["not_run"]:
            shown.add_row(data, name, str(arm[0]["transitions"]), f"not run: {arm[0]['not_run']}")
            continue
        ratios = [over_return(run) for run in arm]
        shown.add_row(
            data,
            name,
            str(arm[0]["transitions"]),
            rate(arm),
            "not available" if None in ratios else f"{np.median(ratios):.3g}",
            f"{np.median([start_bias(run) for run in arm]):.3g}",
            interval([run["score"] for run in arm]),
        )
    return shown


def budget(steps: int, rows: int) -> FewBudget:
    """What all runs share."""
    return FewBudget(steps, rows, reading_interval=max(1, steps // LOOKS))


def plan(options: SmallDataOptions) -> Plan:
    """Every arm and seed on every data set.

    Raises:
        InputError: When an option is impossible, or a data set has no environment to be scored in.
    """
    check_width("--width", options.width)
    check_integer("--episodes", options.episodes, 1, MOST_EPISODES)
    for name in options.data:
        dataset = find(name, options.data_dir)
        env = environment_of(dataset)
        if env is None:
            raise InputError(
                f"{dataset.name} has no environment here, and this study scores every policy in one: "
                f"pass --data {' '.join(ENVIRONMENTS)}, or a data set of theirs"
            )
        make_env(ENVIRONMENTS[env].env_id).close()
    return plan_training(arms(width=options.width, episodes=options.episodes), budget, measure, options)


STUDY = Study(
    name="small-data",
    options=SmallDataOptions(),
    arms=arms(width=SmallDataOptions.width, episodes=SmallDataOptions.episodes),
    plan=plan,
    judge=judge,
    figures=lambda runs, _: figures(runs),
    tables=lambda runs: [table(runs)],
)

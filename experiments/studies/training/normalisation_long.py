"""Do normalisations prevent divergence for 5,000 steps, where 1,000 left it open?

    python experiments/verify_normalisation_long.py

The critics without normalisation, which have diverged long before, are trained for fewer steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from studies.shared.arms import divergence_table, plot_arms, prevents
from studies.shared.declaration import read_declaration
from studies.shared.runs import Budget, KeptRun, column, groups
from studies.shared.study import Plan
from studies.shared.training import DeclaredRun, TrainingOptions, plan_training, train_run, training_study
from studies.shared.verdicts import Verdict, majority, share
from studies.training.normalisation import HELD, KINDS

from seem.errors import InputError

DECLARATION = read_declaration("normalisation-long")
PLAIN_STEPS: int = DECLARATION.thresholds["plain_steps"]
"""Steps of the critics without normalisation, at most."""
SETTLED: float = DECLARATION.thresholds["settled"]
"""Change of mean |Q| between the last two fifths of a run up to which it counts as settled."""
PLAIN = "none"
ARMS = tuple(arm for arm in (*KINDS, HELD) if arm.name in DECLARATION.arms)


@dataclass(frozen=True)
class LongOptions(TrainingOptions):
    """Command line of the study.

    Attributes:
        steps: Critic steps after which a run that goes on is censored; those without normalisation have fewer.
        rows: Transitions that are read.
        arms: Arms that are run; "none" is what the others are compared with.
    """

    steps: int = 5000
    rows: int = 128
    arms: tuple[str, ...] = DECLARATION.arms


def plan(options: LongOptions) -> Plan:
    """All runs: every chosen arm and seed on every data set.

    Args:
        options: The command line.

    Raises:
        InputError: Naming the option that is impossible.
    """
    known = {arm.name: arm for arm in ARMS}
    unknown = [name for name in options.arms if name not in known]
    if unknown or len(set(options.arms)) < len(options.arms) or not options.arms:
        raise InputError(f"--arms {' '.join(options.arms)}: name some of {', '.join(known)}, each once")
    chosen = [arm for arm in ARMS if arm.name in options.arms]
    planned = plan_training(chosen, _budget, train_run, options)
    return replace(planned, tasks=[_shortened(task) for task in planned.tasks])


def _budget(steps: int, rows: int) -> Budget:
    return Budget(steps, rows, reading_interval=max(1, steps // 20))


def _shortened(task: Any) -> DeclaredRun:
    budget = min(PLAIN_STEPS, task.config.budget) if task.arm == PLAIN else task.config.budget
    return replace(task, config=replace(task.config, budget=budget))


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs: two sentences per data set and arm that was run, in the order of the arms."""
    verdicts = []
    for (data,), own in groups(runs, "data").items():
        cells = {arm: cell for (arm,), cell in groups(own, "arm").items()}
        for arm in (arm.name for arm in ARMS if arm.name in cells and arm.name != PLAIN):
            name = f"{data}: {arm} prevents the divergence within the steps of the study"
            verdicts += [prevents(name, cells.get(PLAIN, []), cells[arm]), _settles(data, arm, cells[arm])]
    return verdicts


def _settles(data: str, arm: str, runs: Sequence[KeptRun]) -> Verdict:
    changes = [change_at_end(run) for run in runs]
    settled = sum(abs(change) <= SETTLED for change in changes)  # what is not a number has not settled
    evidence = f"mean |Q| of the last fifth of the steps is within {SETTLED:.0%} of the fifth before in "
    evidence += f"{share(settled, len(runs))} runs; it changes by {np.median(changes):+.1%} in the median, by "
    evidence += f"{np.min(changes):+.1%} to {np.max(changes):+.1%} in all"
    name = f"{data}: under {arm} |Q| has settled by the end of the steps in most runs"
    return Verdict(name, majority(settled, len(runs)), evidence)


def change_at_end(run: KeptRun) -> float:
    """By how much mean |Q| of the last fifth of a run differs from that of the fifth before, as a share of that.

    Args:
        run: A kept run.

    Returns:
        The share; nan where a fifth has no reading, or no finite |Q| above zero.
    """
    at, values = np.array(run["read_at"]) / run["steps"], column(run, "mean_abs_q")
    before, last = values[(at >= 0.6) & (at < 0.8)], values[at >= 0.8]
    if not len(before) or not len(last) or not np.isfinite(values).all() or not before.mean() > 0:
        return float("nan")
    return float(last.mean() / before.mean() - 1)


STUDY = training_study(
    name="normalisation-long",
    arms=ARMS,
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM by normalisation, long runs", runs),
    figures=lambda runs: {"long.png": plot_arms(runs)},
    options=LongOptions(),
    plan=plan,
)

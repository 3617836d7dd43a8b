"""Under the optimiser that really trains: how fast does the TD error grow, which critics leave their bound, and when?

    python experiments/verify_optimiser.py --data hopper

A centre, the paper's TD3 with Adam at width 64, and every change of one factor of it: the optimiser, the targets' rate
and interval, the batch, the number of layers, LayerNorm and the width; and Adam with every rate and depth.
"""

from collections.abc import Sequence

from studies.optimiser.figures import figures, table
from studies.optimiser.growth import judge_growth
from studies.optimiser.leaving import judge_leaving
from studies.optimiser.runs import ARMS, NEXT, ByArm, measure
from studies.optimiser.signals import judge_signals
from studies.shared.runs import KeptRun
from studies.shared.training import TrainingOptions, training_study
from studies.shared.verdicts import Verdict


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    return [*judge_growth(runs), *judge_leaving(runs), *judge_signals(runs)]


STUDY = training_study(
    name="optimiser",
    arms=ARMS,
    budget=lambda steps, rows: ByArm(steps, rows, reading_interval=NEXT),
    options=TrainingOptions(steps=800, rows=128),
    judge=judge,
    table=table,
    figures=figures,
    measure=measure,
)

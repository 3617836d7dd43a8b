"""What slower targets do: the extended laws say that they delay a divergence and do not move its criterion.

    python experiments/verify_targets.py --data hopper

Targets copied at once, at intervals, and by exponential moving averages of several rates. Exit status: 0 when every
claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tyro
from arms import SIGNIFICANT, divergence_table, excited_before, plot_arms, rate
from matplotlib.figure import Figure
from scipy import stats
from training_runs import PAPERS_TD3, Run, Variant, groups
from training_study import Study, StudyOptions, run_study
from verdicts import Claim

from seem.errors import run_command

INTERVALS = (1, 2, 10, 50)
RATES = (0.5, 0.1, 0.02, 0.005)
VARIANTS = (
    *(Variant(f"copied every {every}", replace(PAPERS_TD3, target_interval=every)) for every in INTERVALS),
    *(Variant(f"average {tau}", replace(PAPERS_TD3, target_interval=1, target_rate=tau)) for tau in RATES),
)
LAGS = {f"copied every {every}": (every - 1) / 2 for every in INTERVALS} | {
    f"average {tau}": (1 - tau) / tau for tau in RATES
}
"""Mean age of the target in critic steps: half an interval, or the mean of a geometric weight."""


def judge(runs: Sequence[Run]) -> list[Claim]:
    """The verdicts, from kept runs, one set a data set."""
    claims = []
    for (data,), cell in groups(runs, "data").items():
        excited = f"{data}: under slow targets too no critic diverges whose SEEM is not above zero before"
        claims += [_delays(cell), excited_before(excited, cell)]
    return claims


def _delays(runs: Sequence[Run]) -> Claim:
    name = f"{runs[0]['data']}: the older the target, the later the divergence"
    lags = np.array([LAGS[run["variant"]] for run in runs])
    # A censored run diverges after its last step: ranked last, ties among themselves.
    steps = np.array([np.inf if run["divergence_step"] is None else run["divergence_step"] for run in runs])
    if not np.isfinite(steps).any():
        return Claim(name, "open", "no critic diverged: train for more --steps")
    found = stats.kendalltau(lags, stats.rankdata(steps))
    arms = [f"{variant} {rate(cell)}" for (variant,), cell in groups(runs, "variant").items()]
    evidence = f"Kendall's rank correlation of lag and step {found.statistic:.2f}, p = {found.pvalue:.1e}"
    evidence += f"; diverge: {', '.join(arms)}"
    if found.pvalue >= SIGNIFICANT:
        return Claim(name, "open", evidence)
    return Claim(name, "verified" if found.statistic > 0 else "refuted", evidence)


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """SEEM and |Q| over time by kind of target."""
    return {"targets.png": plot_arms(runs)}


STUDY = Study(
    name="targets",
    variants=VARIANTS,
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM by target", runs),
    figures=figures,
)


if __name__ == "__main__":
    run_command(lambda: run_study(STUDY, tyro.cli(StudyOptions)))

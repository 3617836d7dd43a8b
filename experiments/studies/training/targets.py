"""Do slower targets delay a divergence, and leave its criterion where it is?

    python experiments/verify_targets.py --data hopper

Targets copied at once, at intervals, and by exponential moving averages of several rates.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from studies.shared.arms import SIGNIFICANT, divergence_table, excited_before, plot_arms, rate
from studies.shared.runs import PAPERS_TD3, Arm, KeptRun, groups
from studies.shared.training import training_study
from studies.shared.verdicts import Verdict

INTERVALS = (1, 2, 10, 50)
RATES = (0.5, 0.1, 0.02, 0.005)
ARMS = (
    *(Arm(f"copied every {every}", replace(PAPERS_TD3, target_interval=every)) for every in INTERVALS),
    *(Arm(f"average {tau}", replace(PAPERS_TD3, target_interval=1, target_rate=tau)) for tau in RATES),
)
LAGS = {f"copied every {every}": (every - 1) / 2 for every in INTERVALS} | {
    f"average {tau}": (1 - tau) / tau for tau in RATES
}
"""Mean age of the target in critic steps: half an interval, or the mean of a geometric weight."""


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs, one set per data set."""
    verdicts = []
    for (data,), cell in groups(runs, "data").items():
        excited = f"{data}: under slow targets too no critic diverges whose SEEM is not above zero before"
        verdicts += [_delays(cell), excited_before(excited, cell)]
    return verdicts


def _delays(runs: Sequence[KeptRun]) -> Verdict:
    name = f"{runs[0]['data']}: the older the target, the later the divergence"
    lags = np.array([LAGS[run["arm"]] for run in runs])
    # A censored run diverges after its last step: ranked last, ties among themselves.
    steps = np.array([np.inf if run["divergence_step"] is None else run["divergence_step"] for run in runs])
    if not np.isfinite(steps).any():
        return Verdict(name, "open", "no critic diverged: train for more --steps")
    found = stats.kendalltau(lags, stats.rankdata(steps))
    arms = [f"{arm} {rate(cell)}" for (arm,), cell in groups(runs, "arm").items()]
    evidence = f"Kendall's rank correlation of lag and step {found.statistic:.2f}, p = {found.pvalue:.1e}"
    evidence += f"; diverge: {', '.join(arms)}"
    if found.pvalue >= SIGNIFICANT:
        return Verdict(name, "open", evidence)
    return Verdict(name, "verified" if found.statistic > 0 else "refuted", evidence)


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """SEEM and |Q| over time by kind of target."""
    return {"targets.png": plot_arms(runs)}


STUDY = training_study(
    name="targets",
    arms=ARMS,
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM by target", runs),
    figures=figures,
)

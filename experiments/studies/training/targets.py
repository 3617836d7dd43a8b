"""Do slower targets delay a divergence, and leave its criterion where it is?

    python experiments/verify_targets.py --data hopper

Targets copied at once, at intervals, and by exponential moving averages of several rates.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure
from scipy import stats
from studies.shared.arms import divergence_table, excited_before, plot_arms, rate
from studies.shared.runs import PAPERS_TD3, Arm, KeptRun, diverged, groups
from studies.shared.training import training_study
from studies.shared.verdicts import LEAST_PAIRS, Verdict, difference, in_words

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
    name = f"{runs[0]['data']}: the older the target, the later the divergence, none within the steps being the latest"
    found = {seed: _rank(cell) for (seed,), cell in groups(runs, "seed").items()}
    ranked = [value for value in found.values() if value is not None]
    if not ranked:
        return Verdict(name, "open", "no critic diverged, or all at one step: train for more --steps")
    verdict, middle = difference([(value, 0.0) for value in ranked])
    arms = [f"{arm} {rate(cell)}" for (arm,), cell in groups(runs, "arm").items()]
    evidence = f"Kendall's rank correlation of lag and step, by seed: median {in_words(middle)} over {len(ranked)} of "
    evidence += f"{len(found)} seeds, {LEAST_PAIRS} at least; {len(runs) - diverged(runs)} of {len(runs)} runs are "
    evidence += f"censored, and tie; {_among_diverging(runs)}; diverge: {', '.join(arms)}"
    return Verdict(name, verdict, evidence)


def _rank(runs: Sequence[KeptRun]) -> float | None:
    """Kendall's τ_b of lag and divergence step; a censored run comes after all that diverge and ties with its like."""
    steps = [math.inf if run["divergence_step"] is None else run["divergence_step"] for run in runs]
    lags = [LAGS[run["arm"]] for run in runs]
    if len(set(steps)) < 2 or len(set(lags)) < 2:
        return None
    return float(stats.kendalltau(lags, stats.rankdata(steps)).statistic)


def _among_diverging(runs: Sequence[KeptRun]) -> str:
    gone = [run for run in runs if run["divergence_step"] is not None]
    found = _rank(gone)
    return f"among the {len(gone)} runs that diverge it is {'not defined' if found is None else f'{found:.2f}'}"


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

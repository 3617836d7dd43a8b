"""Does SEEM rise before Q does, and does it tell better than simpler signals which critic is about to diverge?

    python experiments/verify_surge.py --data hopper walker2d halfcheetah

Critics without normalisation, of two to four layers under the paper's Adam and of two and three under gradient descent,
beside two controls that should not diverge: LayerNorm, and a discount of one half.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from studies.shared.arms import excited_before
from studies.shared.runs import PAPERS_TD3, RISEN, Arm, KeptRun, column, diverged, groups, with_critic
from studies.shared.training import TrainingOptions, training_study
from studies.shared.verdicts import Verdict
from studies.training.surge_events import HORIZON, THEORY, auc_table, rise
from studies.training.surge_verdicts import judge_signals, rises_first

from seem.plots import new_figure
from seem.statistics import wilson_interval

SGD = replace(PAPERS_TD3, critic_optimiser="sgd", critic_lr=1e-3)
"""Gradient descent; at three and ten times this step no critic of seeds 0 and 1 diverged, SEEM above zero or not."""
ARMS = (
    *(Arm(f"L={depth}", with_critic(PAPERS_TD3, depth=depth)) for depth in (2, 3, 4)),
    *(Arm(f"L={depth} SGD", with_critic(SGD, depth=depth)) for depth in (2, 3)),
    Arm("LayerNorm", with_critic(PAPERS_TD3, normalisation="layer")),
    Arm("discount .5", replace(PAPERS_TD3, discount=0.5)),
)


EXCITED = "no critic diverges whose SEEM is not above zero at its last reading before"


def is_control(run: KeptRun) -> bool:
    """Whether a run belongs to an arm that should not diverge."""
    return not run["arm"].startswith("L=")


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    plain = [run for run in runs if not is_control(run)]
    return [rises_first(plain), excited_before(EXCITED, runs), *judge_signals(runs)]


def table(runs: Sequence[KeptRun]) -> Table:
    """One line per cell: how many diverge, when, and how long before that SEEM and Q had risen."""
    shown = Table(title="SEEM before the surge")
    for heading in ("data", "arm", "diverge", "at step", "SEEM at a tenth", "|Q| at a tenth", "lead"):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, arm), cell in groups(runs, "data", "arm").items():
        rises = [found for run in cell if (found := rise(run)) is not None]
        share = wilson_interval(diverged(cell), len(cell))
        counts = f"{diverged(cell)}/{len(cell)} [{share.low:.0%}, {share.high:.0%}]"
        seem = [found.seem for found in rises if found.seem is not None]
        leads = [found.q - found.seem for found in rises if found.seem is not None]
        columns = ([found.divergence for found in rises], seem, [found.q for found in rises], leads)
        shown.add_row(data, arm, counts, *(f"{np.median(c):.0f}" if c else "-" for c in columns))
    return shown


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """The event study, aligned at the divergence, and the AUC of every signal."""
    return {"event_study.png": plot_events(runs), "auc.png": plot_auc(runs)}


def plot_events(runs: Sequence[KeptRun]) -> Figure:
    """Normalised SEEM and |Q| over its bound against the steps to the divergence, one line per run."""
    plain = [run for run in runs if not is_control(run) and rise(run) is not None]
    found = {run["arm"] for run in plain}
    arms = [arm.name for arm in ARMS if arm.name in found] or ["no critic diverged"]
    figure = new_figure(3.4 * len(arms), 5.2)
    axes = figure.subplots(2, len(arms), squeeze=False, sharex=True, sharey="row")
    for upper, lower, arm in zip(*axes, arms, strict=True):
        for run in (run for run in plain if run["arm"] == arm):
            steps = np.array(run["read_at"]) - run["divergence_step"]
            upper.plot(steps, column(run, "normalised"), color="tab:blue", lw=0.8, alpha=0.6)
            lower.semilogy(steps, column(run, "mean_abs_q") / run["bound"], color="tab:red", lw=0.8, alpha=0.6)
        upper.axhline(RISEN, color="0.5", lw=0.8)
        lower.axhline(RISEN, color="0.5", lw=0.8)
        upper.set(title=arm)
        for axis in (upper, lower):
            axis.axvline(0, color="0.5", lw=0.8, ls=":")
        lower.set(xlabel="steps to the divergence")
    axes[0][0].set(ylabel="normalised SEEM")
    axes[1][0].set(ylabel="mean |Q| / largest possible")
    figure.suptitle(f"{len(plain)} critics that diverge, aligned at the step where Q leaves its possible range")
    return figure


def plot_auc(runs: Sequence[KeptRun]) -> Figure:
    """ROC-AUC of every signal with its interval over runs."""
    found = {signal: interval for signal, interval in auc_table(runs).items() if interval is not None}
    figure = new_figure(6.4, 4.2)
    axis = figure.subplots()
    for place, (signal, interval) in enumerate(reversed(found.items())):
        colour = "tab:blue" if signal in THEORY else "tab:orange"
        axis.plot([interval.low, interval.high], [place, place], color=colour, lw=2)
        axis.plot(interval.estimate, place, "o", color=colour)
    axis.set_yticks(range(len(found)), list(reversed(found)))
    axis.axvline(0.5, color="0.5", lw=0.8, ls=":")
    axis.set(xlim=(0, 1), xlabel=f"ROC-AUC for a divergence within {HORIZON} steps, 95 % over runs")
    axis.set_title("Signals of the theory (blue) and simpler ones (orange)", fontsize=10)
    return figure


STUDY = training_study(
    name="surge",
    arms=ARMS,
    judge=judge,
    table=table,
    figures=figures,
    options=TrainingOptions(steps=1500),
)

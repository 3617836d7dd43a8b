"""Tables, figures and comparisons of a study's arms."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy import stats
from studies.shared.runs import ZERO, KeptRun, before_divergence, column, diverged, groups, last_read, who
from studies.shared.verdicts import SIGNIFICANT, Verdict, more_often, paired, share

from seem.plots import new_figure
from seem.statistics import bootstrap_interval, survival, wilson_interval

LATE = 0.2
"""Share of a run, at its end, over which its trend is taken."""


def rate(runs: Sequence[KeptRun]) -> str:
    """How many of an arm's runs diverge, with Wilson's 95 % interval."""
    return share(diverged(runs), len(runs))


def _diverges(run: KeptRun) -> float:
    return float(run["divergence_step"] is not None)


def compare_rates(name: str, more: Sequence[KeptRun], less: Sequence[KeptRun]) -> Verdict:
    """The sentence that one arm diverges more often than another, by McNemar's exact test over pairs of runs.

    Args:
        name: The sentence.
        more: The arm that should diverge more often.
        less: The other one, on the same data and seeds.
    """
    pairs = paired(more, less, _diverges)
    p, against = more_often(pairs), more_often([(other, one) for one, other in pairs])
    evidence = f"{rate(more)} against {rate(less)} diverge, {_pairs(len(pairs))}, p = {p:.2g} (McNemar)"
    return Verdict(name, "verified" if p < SIGNIFICANT else "refuted" if against < SIGNIFICANT else "open", evidence)


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'} of one seed"


def prevents(name: str, plain: Sequence[KeptRun], mended: Sequence[KeptRun], evidence: str = "") -> Verdict:
    """The sentence that no critic of one arm diverges within its steps, where critics of another do.

    "Verified" says that none does, that the arm without does more often (McNemar's exact test over pairs of one seed),
    and how many could all the same; it says nothing of longer runs, for which the trend at the end is printed.

    Args:
        name: The sentence.
        plain: The arm that should diverge.
        mended: The arm that should not; one run that does is the counterexample.
        evidence: What was measured, in words; how many of both arms diverge without it.
    """
    if not plain or not mended:
        return Verdict(name, "open", "there are no runs of one of the arms")
    evidence = evidence or f"{rate(mended)} diverge, {rate(plain)} without normalisation"
    escaped = [run for run in mended if run["divergence_step"] is not None]
    for run in escaped[:2]:
        evidence += f"; {who(run)} at step {run['divergence_step']}"
    if escaped:
        return Verdict(name, "refuted", evidence)
    p = more_often(paired(plain, mended, _diverges))
    least = wilson_interval(0, len(mended), confidence=1 - SIGNIFICANT).high
    steps = max((run["steps"] for run in mended if "steps" in run), default=None)
    evidence += f", p = {p:.2g} (McNemar); none within {'their' if steps is None else f'{steps:,}'} steps, but up to "
    evidence += f"{least:.0%} could (95 %); {trend(mended)}"
    if not diverged(plain):
        return Verdict(name, "open", f"{evidence}; nothing diverges that could be prevented: train for more --steps")
    return Verdict(name, "verified" if p < SIGNIFICANT else "open", evidence)


def trend(runs: Sequence[KeptRun]) -> str:
    """By how much mean |Q| still changes at the end of runs, in words: the median over runs of its last fifth."""
    changes = [change for run in runs if (change := _late_change(run)) is not None]
    if not changes:
        return "no trend recorded"
    return f"|Q| changes by {float(np.median(changes)):+.0%} in the last {LATE:.0%} of the steps (median)"


def _late_change(run: KeptRun) -> float | None:
    if not run.get("read_at"):
        return None
    values = column(run, "mean_abs_q")
    before = np.flatnonzero(np.array(run["read_at"]) <= (1 - LATE) * run["steps"])
    if not len(before) or before[-1] == len(values) - 1 or not values[before[-1]] > 0:
        return None
    change = float(values[-1] / values[before[-1]] - 1)
    return change if math.isfinite(change) else None


def excited_before(name: str, runs: Sequence[KeptRun]) -> Verdict:
    """The sentence that no critic diverges whose SEEM is not above zero at its last reading before.

    It can fail only where a critic has SEEM at or below zero, so that it is verified only if these, too, are there and
    diverge less often than the others, by Fisher's exact test. A critic that diverges before its first reading says
    nothing of it and is counted apart; a reading that is not a number counts against it.

    Args:
        name: The sentence.
        runs: Kept runs, of all arms.
    """
    unread = [run for run in runs if run["divergence_step"] is not None and not before_divergence(run)]
    judged = [run for run in runs if run not in unread]
    if not diverged(judged):
        return Verdict(name, "open", f"no critic diverged: train for more --steps{_apart(unread)}")
    calm = [run for run in judged if not last_read(run, "normalised") > ZERO]
    excited = [run for run in judged if last_read(run, "normalised") > ZERO]
    wrong = [run for run in calm if run["divergence_step"] is not None]
    evidence = f"{rate(calm)} of the critics whose SEEM ends at or below zero diverge, {rate(excited)} of the others"
    arms = {arm: len(own) for (arm,), own in groups(calm, "arm").items()}
    total = {arm: len(own) for (arm,), own in groups(judged, "arm").items()}
    could = ", ".join(f"{arm} ({count} of {total[arm]})" for arm, count in arms.items()) or "none"
    evidence += f"; arms that could have failed, with such critics: {could}"
    for run in wrong[:3]:
        evidence += f"; {who(run)}, SEEM {last_read(run, 'normalised'):.2g}, at step {run['divergence_step']}"
    counts = [[diverged(own), len(own) - diverged(own)] for own in (excited, calm)]
    p = float(stats.fisher_exact(counts, alternative="greater").pvalue)
    evidence += f"; p = {p:.2g} (Fisher){_apart(unread)}"
    return Verdict(name, "refuted" if wrong else "verified" if p < SIGNIFICANT else "open", evidence)


def _apart(unread: Sequence[KeptRun]) -> str:
    return f"; {len(unread)} diverge before their first reading and are not judged" if unread else ""


def divergence_table(title: str, runs: Sequence[KeptRun]) -> Table:
    """One line per arm: divergences, the median step of a Kaplan-Meier curve, and SEEM at the last reading."""
    shown = Table(title=title)
    for heading in (
        "data",
        "arm",
        "diverge (95 %)",
        "median step",
        "normalised SEEM at the end (95 %)",
        "|Q| at the end",
    ):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, arm), cell in groups(runs, "data", "arm").items():
        seem = interval([last_read(run, "normalised") for run in cell])
        ends = [run["last_q"] for run in cell if run["last_q"] is not None]
        last = f"{np.median(ends):.3g}" if ends else "none"
        shown.add_row(data, arm, rate(cell), median_step(cell), seem, last)
    return shown


def median_step(runs: Sequence[KeptRun]) -> str:
    """The step by which half of an arm's runs have diverged, runs that go on counted as censored."""
    steps = np.array([run["steps"] if run["divergence_step"] is None else run["divergence_step"] for run in runs])
    found = survival(steps, np.array([run["divergence_step"] is None for run in runs])).median
    return "-" if found is None else f"{found:.0f}"


def interval(values: list[float]) -> str:
    """Mean and 95 % interval in words, of the values that are numbers; one value has no interval."""
    finite = [value for value in values if math.isfinite(value)]
    said = f" ({len(values) - len(finite)} not finite)" if len(finite) < len(values) else ""
    if len(finite) < 2:
        return f"{finite[0]:.2g}{said}" if finite else "none"
    found = bootstrap_interval(np.array(finite), np.random.default_rng(0))
    return f"{found.estimate:.2g} [{found.low:.2g}, {found.high:.2g}]{said}"


def plot_arms(runs: Sequence[KeptRun]) -> Figure:
    """Normalised SEEM above |Q| over its largest possible value, one column per arm, one line per run."""
    arms = list(groups(runs, "arm").values())
    figure = new_figure(2.1 * len(arms) + 0.6, 4.4)
    axes = figure.subplots(2, len(arms), squeeze=False, sharex=True, sharey="row")
    for upper, lower, arm in zip(*axes, arms, strict=True):
        for run in arm:
            upper.plot(run["read_at"], column(run, "normalised"), color="tab:blue", lw=0.8, alpha=0.6)
            lower.semilogy(run["read_at"], column(run, "mean_abs_q") / run["bound"], color="tab:red", lw=0.8, alpha=0.6)
        upper.axhline(0, color="0.5", lw=0.8)
        lower.axhline(1, color="0.5", lw=0.8)
        upper.set_title(f"{arm[0]['arm'].replace(', ', chr(10))}\n{diverged(arm)} of {len(arm)} diverge", fontsize=8)
        lower.set_xlabel("critic step", fontsize=8)
    axes[0][0].set_ylabel("normalised SEEM")
    axes[1][0].set_ylabel("mean |Q| / largest possible")
    return figure

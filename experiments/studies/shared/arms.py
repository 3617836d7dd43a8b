"""Tables, figures and comparisons of a study's arms."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy import stats
from studies.shared.declaration import SHARED_THRESHOLDS
from studies.shared.runs import ZERO, KeptRun, column, diverged, groups, last_read, who
from studies.shared.verdicts import Verdict

from seem.plots import new_figure
from seem.statistics import bootstrap_interval, survival, wilson_interval

SIGNIFICANT: float = SHARED_THRESHOLDS["significant"]
"""Level of a study's tests."""


def rate(runs: Sequence[KeptRun]) -> str:
    """How many of an arm's runs diverge, with Wilson's 95 % interval."""
    share = wilson_interval(diverged(runs), len(runs))
    return f"{diverged(runs)} of {len(runs)} [{share.low:.0%}, {share.high:.0%}]"


def compare_rates(name: str, more: Sequence[KeptRun], less: Sequence[KeptRun]) -> Verdict:
    """The sentence that one arm diverges more often than another, by Fisher's exact test.

    Args:
        name: The sentence.
        more: The arm that should diverge more often.
        less: The other one.
    """
    counts = [[diverged(arm), len(arm) - diverged(arm)] for arm in (more, less)]
    evidence = f"{rate(more)} against {rate(less)} diverge"
    tests = {side: float(stats.fisher_exact(counts, alternative=side).pvalue) for side in ("greater", "less")}
    evidence += f", p = {tests['greater']:.2g} (Fisher)"
    verdict = "verified" if tests["greater"] < SIGNIFICANT else "refuted" if tests["less"] < SIGNIFICANT else "open"
    return Verdict(name, verdict, evidence)


def prevents(name: str, plain: Sequence[KeptRun], mended: Sequence[KeptRun], evidence: str = "") -> Verdict:
    """The sentence that no critic of one arm diverges, where critics of another do.

    Args:
        name: The sentence.
        plain: The arm that should diverge.
        mended: The arm that should not; one run that does is the counterexample.
        evidence: What was measured, in words; how many of both arms diverge without it.
    """
    evidence = evidence or f"{rate(mended)} diverge, {rate(plain)} without normalisation"
    escaped = [run for run in mended if run["divergence_step"] is not None]
    for run in escaped[:2]:
        evidence += f"; {who(run)} at step {run['divergence_step']}"
    if escaped:
        return Verdict(name, "refuted", evidence)
    if not diverged(plain):
        return Verdict(name, "open", f"{evidence}, so there is nothing to prevent: train for more --steps")
    return Verdict(name, "verified", evidence)


def excited_before(name: str, runs: Sequence[KeptRun]) -> Verdict:
    """The sentence that no critic diverges whose SEEM is not above zero at its last reading before.

    Args:
        name: The sentence.
        runs: Kept runs, of all arms.
    """
    if not diverged(runs):
        return Verdict(name, "open", "no critic diverged: train for more --steps")
    wrong = [run for run in runs if run["divergence_step"] is not None and not last_read(run, "normalised") > ZERO]
    evidence = f"{diverged(runs)} of {len(runs)} diverge, {len(wrong)} of these against it"
    for run in wrong[:3]:
        evidence += f"; {who(run)}, mechanism {run['mechanism']}"
    return Verdict(name, "refuted" if wrong else "verified", evidence)


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
        shown.add_row(data, arm, rate(cell), median_step(cell), seem, f"{np.median([r['last_q'] for r in cell]):.3g}")
    return shown


def median_step(runs: Sequence[KeptRun]) -> str:
    """The step by which half of an arm's runs have diverged, runs that go on counted as censored."""
    steps = np.array([run["steps"] if run["divergence_step"] is None else run["divergence_step"] for run in runs])
    found = survival(steps, np.array([run["divergence_step"] is None for run in runs])).median
    return "-" if found is None else f"{found:.0f}"


def interval(values: list[float]) -> str:
    """Mean and 95 % interval in words; one value has no interval."""
    if len(values) < 2:
        return f"{values[0]:.2g}"
    found = bootstrap_interval(np.array(values), np.random.default_rng(0))
    return f"{found.estimate:.2g} [{found.low:.2g}, {found.high:.2g}]"


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

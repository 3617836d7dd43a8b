"""The event study behind verify_surge: when each signal rises, and how well it tells what is about to diverge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from studies.shared.declaration import read_declaration
from studies.shared.ranking import Ranking, Series, counts_of, over_runs, scored
from studies.shared.ranking import labelled as labelled_within
from studies.shared.ranking import ranking as rank
from studies.shared.runs import RISEN, KeptRun, before_divergence, column
from studies.shared.verdicts import SIGNIFICANT

from seem.statistics import Interval

_THRESHOLDS = read_declaration("surge").thresholds
HORIZON: int = _THRESHOLDS["horizon"]
"""Steps ahead that a signal is asked about."""
TREND: int = _THRESHOLDS["trend"]
"""Readings over which a trend is taken."""
RESAMPLES: int = _THRESHOLDS["resamples"]


def _trend(run: KeptRun) -> Series:
    """Growth of ln ‖u‖ over the last readings; fewer at the start."""
    logs = np.log(np.maximum(column(run, "td_norm"), 1e-300))
    before = np.maximum(np.arange(len(logs)) - TREND, 0)
    return logs - logs[before]


SIGNALS: dict[str, Callable[[KeptRun], Series]] = {
    "SEEM": lambda run: column(run, "leading"),
    "normalised SEEM": lambda run: column(run, "normalised"),
    "Rayleigh quotient": lambda run: column(run, "rayleigh"),
    "numerical abscissa": lambda run: column(run, "numerical_abscissa"),
    "spectral gap": lambda run: column(run, "leading") - column(run, "second"),
    "condition number": lambda run: -column(run, "reciprocal_condition"),
    "kernel norm": lambda run: column(run, "kernel_norm"),
    "|Q|": lambda run: column(run, "mean_abs_q"),
    "TD loss": lambda run: column(run, "td_norm"),
    "TD loss trend": _trend,
    "gradient norm": lambda run: column(run, "gradient_norm"),
    "weight norm": lambda run: column(run, "parameter_norm"),
    "action saturation": lambda run: column(run, "action_saturation"),
}
THEORY = ("SEEM", "normalised SEEM", "Rayleigh quotient", "numerical abscissa", "spectral gap", "condition number")
BASELINES = tuple(name for name in SIGNALS if name not in THEORY)


@dataclass(frozen=True)
class Rise:
    """When a diverging run's signals rose.

    Attributes:
        seem: First reading from which normalised SEEM stays above a tenth until the divergence; None when it never
            does.
        q: First reading at which mean |Q| exceeds a tenth of what any policy can have; the divergence without one.
        divergence: First step at which it exceeds all of that.
    """

    seem: int | None
    q: int
    divergence: int


def rise(run: KeptRun) -> Rise | None:
    """The rise of a diverging run's signals; None for another run, or without a reading before its divergence.

    What is not a number counts against the sentence that SEEM is first: a SEEM has not risen by it, a |Q| has.
    """
    divergence, steps = run["divergence_step"], np.array(run["read_at"][: before_divergence(run)])
    if divergence is None or not len(steps):
        return None
    low = np.flatnonzero(~(column(run, "normalised")[: len(steps)] > RISEN))
    since = int(low[-1]) + 1 if len(low) else 0
    risen = steps[~(column(run, "mean_abs_q")[: len(steps)] <= RISEN * run["bound"])]
    return Rise(
        int(steps[since]) if since < len(steps) else None, int(risen[0]) if len(risen) else divergence, divergence
    )


def labelled(run: KeptRun) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`studies.shared.ranking.labelled` with this study's horizon."""
    return labelled_within(run, HORIZON)


def auc_table(runs: Sequence[KeptRun], seed: int = 0) -> dict[str, Interval | None]:
    """ROC-AUC of every signal for "diverges within the horizon".

    Args:
        runs: Kept runs, two or more, of one cell or of several.
        seed: Of the bootstrap, which draws whole runs: readings of one run are not independent.

    Returns:
        By signal, with a 95 % interval; None where all readings have the same answer.
    """
    rankings = {signal: ranking(runs, signal) for signal in SIGNALS}
    return {signal: _interval(len(runs), own.areas, seed) if own else None for signal, own in rankings.items()}


def auc_differences(
    runs: Sequence[KeptRun], signal: str, others: Sequence[str], confidence: float, seed: int = 0
) -> dict[str, Interval]:
    """By how much the AUC of a signal is above that of each of some others, on the same resamples of whole runs.

    Args:
        runs: Kept runs.
        signal: The one.
        others: The others.
        confidence: Level of the intervals.
        seed: Of the bootstrap.

    Returns:
        By other signal; empty where all readings have the same answer.
    """
    one, found = ranking(runs, signal), {}
    for other in others:
        rival = ranking(runs, other)
        if one is None or rival is None:
            return {}
        apart = partial(lambda one, rival, drawn: one.areas(drawn) - rival.areas(drawn), one, rival)
        found[other] = _interval(len(runs), apart, seed, confidence)
    return found


def ranking(runs: Sequence[KeptRun], signal: str) -> Ranking | None:
    """How a signal ranks the readings of some runs that can be judged; None where all have the same answer."""
    return rank(scored(runs, SIGNALS[signal], HORIZON))


def _interval(
    runs: int, statistic: Callable[[Series], Series], seed: int, confidence: float = 1 - SIGNIFICANT
) -> Interval:
    """`over_runs` with this study's resamples."""
    return over_runs(runs, statistic, resamples=RESAMPLES, seed=seed, confidence=confidence)


@dataclass(frozen=True)
class Alarm:
    """What becomes of the readings at which a signal is above a threshold.

    Attributes:
        precision: Share of them that a divergence follows within the horizon.
        always: The same share of all readings: what an alarm that is always on has.
        gain: The difference of the two, with its interval over whole runs.
        recall: Share of the readings that a divergence follows which the alarm catches.
        later: Share of the alarms that a divergence follows at all within the steps of the run.
        ever: The same share of all readings.
    """

    precision: float
    always: float
    gain: Interval
    recall: float
    later: float
    ever: float


def alarm(runs: Sequence[KeptRun], threshold: float) -> Alarm | None:
    """Of normalised SEEM above a threshold as an alarm; None without an alarm, or without a divergence.

    Args:
        runs: Kept runs, two or more.
        threshold: What normalised SEEM has to exceed; what is not a number raises none.
    """
    told = []
    for run in runs:
        known, will = labelled(run)
        raised = column(run, "normalised")[known] > threshold
        later = run["divergence_step"] is not None
        told.append(
            [len(will), will.sum(), raised.sum(), (raised & will).sum(), later * raised.sum(), later * len(will)]
        )
    counts = np.array(told, dtype=np.float64)
    readings, positives, alarms, right, followed, before = counts.sum(axis=0)
    if not alarms or not positives:
        return None

    def gain(drawn: Series) -> Series:
        sums = counts_of(drawn, len(counts)) @ counts
        quiet = sums[..., 2] == 0  # a resample without an alarm gains nothing
        return np.where(quiet, 0.0, sums[..., 3] / np.where(quiet, 1, sums[..., 2]) - sums[..., 1] / sums[..., 0])

    return Alarm(
        precision=right / alarms,
        always=positives / readings,
        gain=_interval(len(runs), gain, seed=0),
        recall=right / positives,
        later=followed / alarms,
        ever=before / readings,
    )

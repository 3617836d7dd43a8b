"""The event study behind verify_surge: when each signal rises, and how well it tells what is about to diverge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from studies.shared.declaration import read_declaration
from studies.shared.runs import RISEN, KeptRun, before_divergence, column
from studies.shared.verdicts import SIGNIFICANT

from seem.statistics import Interval, bootstrap_interval

Series = NDArray[np.float64]
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
    """Which readings can be judged, and which of these precede a divergence within the horizon.

    A reading after the divergence is none; one closer than the horizon to a censored end has no answer.
    """
    steps = np.array(run["read_at"])
    if run["divergence_step"] is None:
        known = steps + HORIZON <= run["steps"]
        return known, np.zeros(int(known.sum()), dtype=bool)
    known = steps < run["divergence_step"]
    return known, run["divergence_step"] - steps[known] <= HORIZON


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


@dataclass(frozen=True)
class Ranking:
    """How a signal ranks the readings of several runs, so that resamples of whole runs are sums.

    Attributes:
        wins: Of the positives of run i over the negatives of run j, ties as half, shape (runs, runs).
        positives: Readings that a divergence follows, by run, shape (runs,).
        negatives: The others, shape (runs,).
    """

    wins: Series
    positives: Series
    negatives: Series

    def areas(self, drawn: Series) -> Series:
        """ROC-AUC of resamples, shape (...,), given the runs in each, shape (..., runs).

        A resample of one kind of readings ranks nothing: one half.
        """
        counts = _counts(drawn, len(self.positives))
        wins = np.einsum("...i,...i->...", counts @ self.wins, counts)
        pairs = (counts @ self.positives) * (counts @ self.negatives)
        return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), 0.5)


def _counts(drawn: Series, runs: int) -> Series:
    return np.apply_along_axis(partial(np.bincount, minlength=runs), -1, drawn.astype(np.int64)).astype(np.float64)


def ranking(runs: Sequence[KeptRun], signal: str) -> Ranking | None:
    """How a signal ranks the readings of some runs that can be judged; None where all have the same answer.

    A signal that is not a number is ranked as what speaks most against it: lowest before a divergence, else highest.
    """
    scores = [(SIGNALS[signal](run)[known], will) for run in runs for known, will in [labelled(run)]]
    scores = [(np.where(np.isnan(own), np.where(will, -np.inf, np.inf), own), will) for own, will in scores]
    positives, negatives = ([own[will == answer] for own, will in scores] for answer in (True, False))
    if not sum(map(len, positives)) or not sum(map(len, negatives)):
        return None
    every, ends = np.concatenate(positives), np.cumsum([0, *map(len, positives)])
    wins = np.zeros((len(runs), len(runs)))
    for number, own in enumerate(map(np.sort, negatives)):
        below = (np.searchsorted(own, every, "left") + np.searchsorted(own, every, "right")) / 2
        wins[:, number] = np.diff(np.concatenate(([0.0], np.cumsum(below)))[ends])
    return Ranking(wins, *(np.array(list(map(len, part)), dtype=np.float64) for part in (positives, negatives)))


def _interval(
    runs: int, statistic: Callable[[Series], Series], seed: int, confidence: float = 1 - SIGNIFICANT
) -> Interval:
    """The bootstrap interval of what depends on whole runs, given by their numbers."""
    return bootstrap_interval(
        np.arange(runs, dtype=np.float64),
        np.random.default_rng(seed),
        statistic=lambda drawn, axis: statistic(np.moveaxis(drawn, axis, -1)),
        confidence=confidence,
        resamples=RESAMPLES,
    )


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
        sums = _counts(drawn, len(counts)) @ counts
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

"""How well signals tell in advance which runs diverge, so that two signals can be compared on resamples of whole runs.

Readings of one run are not independent: every interval here draws whole runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from studies.shared.runs import KeptRun
from studies.shared.verdicts import SIGNIFICANT

from seem.statistics import Interval, bootstrap_interval

Series = NDArray[np.float64]
Scored = list[tuple[Series, NDArray[np.bool_]]]
"""By run, the scores of the readings that can be judged, and whether a divergence follows within the horizon."""


def labelled(run: KeptRun, horizon: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which readings can be judged, and which of these precede a divergence within the horizon.

    A reading after the divergence is none; one closer than the horizon to a censored end has no answer.

    Args:
        run: A kept run.
        horizon: Steps ahead that a signal is asked about.
    """
    steps = np.array(run["read_at"])
    if run["divergence_step"] is None:
        known = steps + horizon <= run["steps"]
        return known, np.zeros(int(known.sum()), dtype=bool)
    known = steps < run["divergence_step"]
    return known, run["divergence_step"] - steps[known] <= horizon


def scored(runs: Sequence[KeptRun], signal: Callable[[KeptRun], Series], horizon: int) -> Scored:
    """The scores and answers of runs.

    Args:
        runs: Kept runs.
        signal: From a run to one number a reading; what is not a number is taken for what speaks most against the
            signal: lowest before a divergence, else highest.
        horizon: Steps ahead that it is asked about.
    """
    found = [(signal(run)[known], will) for run in runs for known, will in [labelled(run, horizon)]]
    return [(np.where(np.isnan(own), np.where(will, -np.inf, np.inf), own), will) for own, will in found]


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
        counts = counts_of(drawn, len(self.positives))
        wins = np.einsum("...i,...i->...", counts @ self.wins, counts)
        pairs = (counts @ self.positives) * (counts @ self.negatives)
        return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), 0.5)


def ranking(scores: Scored) -> Ranking | None:
    """How scores rank the readings of some runs; None where all have the same answer."""
    positives, negatives = ([own[will == answer] for own, will in scores] for answer in (True, False))
    if not sum(map(len, positives)) or not sum(map(len, negatives)):
        return None
    every, ends = np.concatenate(positives), np.cumsum([0, *map(len, positives)])
    wins = np.zeros((len(scores), len(scores)))
    for number, own in enumerate(map(np.sort, negatives)):
        below = (np.searchsorted(own, every, "left") + np.searchsorted(own, every, "right")) / 2
        wins[:, number] = np.diff(np.concatenate(([0.0], np.cumsum(below)))[ends])
    return Ranking(wins, *(np.array(list(map(len, part)), dtype=np.float64) for part in (positives, negatives)))


@dataclass(frozen=True)
class Alarms:
    """What alarms at falling thresholds raise, so that resamples of whole runs are sums.

    A threshold that no reading before a divergence has as its score adds false alarms alone: only their scores count.

    Attributes:
        right: Readings before a divergence that each threshold adds to the one before it, shape (runs, thresholds).
        raised: All readings that it adds, likewise.
        recall: The share of the readings before a divergence that the alarm has to catch.
    """

    right: Series
    raised: Series
    recall: float

    def precisions(self, drawn: Series) -> Series:
        """Precision at the highest threshold with that recall, of resamples given as in `Ranking.areas`.

        A resample without a divergence has no such threshold, and a precision of 0.
        """
        counts = counts_of(drawn, len(self.right))
        right, raised = (np.cumsum(counts @ added, axis=-1) for added in (self.right, self.raised))
        # 1e-12: .9 of ten is 9.000000000000002 in floating point.
        first = np.argmax(right >= self.recall * right[..., -1:] - 1e-12, axis=-1)[..., None]
        caught, alarmed = (np.take_along_axis(part, first, -1)[..., 0] for part in (right, raised))
        return np.where(caught > 0, caught / np.where(caught > 0, alarmed, 1), 0.0)


def alarms(scores: Scored, recall: float) -> Alarms | None:
    """Alarms down to a recall; None where all readings have the same answer.

    Args:
        scores: Of some runs.
        recall: In (0, 1].
    """
    every, will = (np.concatenate([pair[place] for pair in scores] or [np.zeros(0)]) for place in (0, 1))
    if not will.any() or will.all():
        return None
    run = np.repeat(np.arange(len(scores)), [len(own) for own, _ in scores])
    thresholds = np.unique(every[will])
    place = len(thresholds) - np.searchsorted(thresholds, every, "right")  # the highest that it reaches, from above
    added = []
    for counted in (will, place < len(thresholds)):
        table = np.zeros((len(scores), len(thresholds)))
        np.add.at(table, (run[counted], place[counted]), 1)
        added.append(table)
    return Alarms(*added, recall)


def counts_of(drawn: Series, runs: int) -> Series:
    """How often each run is in each resample, shape (..., runs).

    Args:
        drawn: The numbers of the runs in each, shape (..., any).
        runs: How many there are.
    """
    flat = drawn.reshape(-1, drawn.shape[-1]).astype(np.int64)
    apart = flat + runs * np.arange(len(flat))[:, None]
    return np.bincount(apart.ravel(), minlength=runs * len(flat)).reshape(*drawn.shape[:-1], runs).astype(np.float64)


def over_runs(
    runs: int,
    statistic: Callable[[Series], Series],
    *,
    resamples: int,
    seed: int = 0,
    confidence: float = 1 - SIGNIFICANT,
) -> Interval:
    """The bootstrap interval of what depends on whole runs.

    Args:
        runs: How many, two or more.
        statistic: From the numbers of the runs in each resample, shape (..., runs), to one number each.
        resamples: How many.
        seed: Of the bootstrap.
        confidence: Level.
    """
    return bootstrap_interval(
        np.arange(runs, dtype=np.float64),
        np.random.default_rng(seed),
        statistic=lambda drawn, axis: statistic(np.moveaxis(drawn, axis, -1)),
        confidence=confidence,
        resamples=resamples,
    )

"""Statistics of repeated runs, thin over scipy: intervals, survival up to a crash, and how well a score ranks."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from seem.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        estimate: The sample's own value.
        low: Lower end.
        high: Upper end.
        method: How the ends were found.
    """

    estimate: float
    low: float
    high: float
    method: Literal["BCa", "percentile", "Wilson"]


def bootstrap_interval(
    values: Float[np.ndarray, " n"],
    generator: np.random.Generator,
    *,
    statistic: Callable[..., np.floating] = np.mean,
    confidence: float = 0.95,
    resamples: int = 9999,
) -> Interval:
    """Bias-corrected and accelerated (BCa) bootstrap interval of a statistic over seeds.

    Args:
        values: One finite number per seed, shape (n,), at least two.
        generator: Draws the resamples.
        statistic: Takes an array and ``axis``, such as `numpy.mean` or `numpy.median`.
        confidence: Level, above 0 and below 1.
        resamples: Number of resamples.

    Returns:
        The BCa interval, or the percentile interval where the correction is undefined: when leaving out one value
        never changes the statistic, as in a sample of equal values. The method says which.

    Raises:
        InputError: When there are fewer than two values, one is not finite, or the level is impossible.

    Source: Efron, Better bootstrap confidence intervals, JASA 82 (1987), section 3 (recalled);
        `scipy.stats.bootstrap`.

    Example:
        >>> interval = bootstrap_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.random.default_rng(0))
        >>> interval.estimate, 1 < interval.low < 2.5 < interval.high < 4, interval.method
        (2.5, True, 'BCa')
        >>> bootstrap_interval(np.array([2.0, 2.0]), np.random.default_rng(0))
        Interval(estimate=2.0, low=2.0, high=2.0, method='percentile')
    """
    _check_confidence(confidence)
    if len(values) < 2 or not np.isfinite(values).all():
        raise InputError("a bootstrap needs two or more finite values: run more seeds, or count crashes instead")

    interval = _bootstrap(values, generator, statistic, confidence, resamples, "BCa")
    if np.isfinite((interval.low, interval.high)).all():
        return interval
    return _bootstrap(values, generator, statistic, confidence, resamples, "percentile")


def _bootstrap(
    values: Float[np.ndarray, " n"],
    generator: np.random.Generator,
    statistic: Callable[..., np.floating],
    confidence: float,
    resamples: int,
    method: Literal["BCa", "percentile"],
) -> Interval:
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # An undefined correction, 0/0, is not a surprise: the caller falls back and says so.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        ends = stats.bootstrap(
            (values,), statistic, n_resamples=resamples, confidence_level=confidence, method=method, rng=generator
        ).confidence_interval
    return Interval(float(statistic(values, axis=0)), float(ends.low), float(ends.high), method)


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; it stays inside [0, 1] and has a width at 0 and at 1.

    Args:
        successes: How often it happened.
        trials: Out of how many, at least one.
        confidence: Level, above 0 and below 1.

    Returns:
        The interval around successes / trials.

    Raises:
        InputError: When the counts or the level are impossible.

    Source: Wilson, Probable inference, JASA 22 (1927) (recalled); `scipy.stats.binomtest`, without continuity
        correction.

    Example:
        With z² = 1.96² the upper end at 0 of n is z² / (n + z²).

        >>> interval = wilson_interval(0, 10)
        >>> interval.low, round(interval.high, 4) == round(1.959964**2 / (10 + 1.959964**2), 4)
        (0.0, True)
    """
    _check_confidence(confidence)
    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"{successes} of {trials} is no proportion: pass 0 to n successes of n trials, n at least 1")
    found = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high), "Wilson")


@dataclass(frozen=True)
class Survival:
    """A Kaplan-Meier curve: the probability S(t) that a run gets beyond step t without a crash.

    Attributes:
        steps: Steps at which a run crashed or was censored, ascending and distinct, shape (k,).
        probabilities: S just after each of these steps, shape (k,); before the first it is 1.
    """

    steps: Float[np.ndarray, " k"]
    probabilities: Float[np.ndarray, " k"]

    @property
    def median(self) -> float | None:
        """The first step at which half of the runs have crashed, or None when fewer ever do."""
        reached = self.probabilities <= 0.5
        return float(self.steps[reached][0]) if reached.any() else None


def survival(steps: Int[np.ndarray, " n"], censored: Bool[np.ndarray, " n"]) -> Survival:
    r"""Kaplan-Meier estimate of survival up to a crash.

    .. math:: \hat S(t) = \prod_{t_i \le t} \left(1 - \frac{d_i}{n_i}\right)

    with d_i crashes at step t_i, of n_i runs that are still trained there.

    Args:
        steps: Crash step of each run, or its budget when it was censored, shape (n,).
        censored: Whether the run ended without a crash, shape (n,).

    Returns:
        The curve.

    Raises:
        InputError: When there are no runs, or a step is negative.

    Source: Kaplan and Meier, JASA 53 (1958) (recalled); `scipy.stats.ecdf`.

    Example:
        >>> curve = survival(np.array([10, 20, 20, 40]), np.array([False, False, True, True]))
        >>> curve.steps.tolist(), curve.probabilities.tolist(), curve.median
        ([10.0, 20.0, 40.0], [0.75, 0.5, 0.5], 20.0)
    """
    if len(steps) == 0 or (steps < 0).any():
        raise InputError("a survival curve needs runs and their steps of 0 or more: pass at least one run")
    curve = stats.ecdf(stats.CensoredData.right_censored(steps.astype(float), censored)).sf
    return Survival(np.asarray(curve.quantiles), np.asarray(curve.probabilities))


def roc_auc(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float | None:
    r"""Area under the ROC curve: how often a positive's score is above a negative's, ties counted as half.

    .. math:: \mathrm{AUC} = U / (n_+ n_-), \qquad U = \textstyle\sum_{i \in +} r_i - n_+ (n_+ + 1) / 2

    with mid-ranks r and Mann and Whitney's U.

    Args:
        scores: Larger means more likely positive; infinities are largest and smallest; shape (n,).
        positive: What turned out to be positive, shape (n,).

    Returns:
        Between 0 and 1; None when there is one class only.

    Raises:
        InputError: When a score is not a number.

    Source: Hanley and McNeil, Radiology 143 (1982) (recalled); ranks of `scipy.stats.rankdata`.

    Example:
        >>> roc_auc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
        0.875
    """
    _check_scores(scores)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    u = stats.rankdata(scores)[positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def precision_at(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], threshold: float) -> float | None:
    """Share of positives among those whose score is at or above a threshold.

    Args:
        scores: Larger means more likely positive, shape (n,).
        positive: What turned out to be positive, shape (n,).
        threshold: The least score that raises an alarm.

    Returns:
        Between 0 and 1; None when no score is that large.

    Raises:
        InputError: When a score is not a number.

    Example:
        >>> precision_at(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]), 2.0)
        0.6666666666666666
    """
    _check_scores(scores)
    alarmed = positive[scores >= threshold]
    return float(alarmed.mean()) if len(alarmed) else None


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence {confidence} is impossible: pass a level above 0 and below 1")


def _check_scores(scores: Float[np.ndarray, " n"]) -> None:
    if np.isnan(scores).any():
        raise InputError("a score is not a number: leave that run out, or score it as infinite")

"""Statistics of repeated runs against closed forms, counting by hand, and their own definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seem.errors import InputError
from seem.statistics import bootstrap_interval, precision_at, roc_auc, survival, wilson_interval


def test_bootstrap_of_a_normal_sample_is_close_to_students_interval():
    values = np.random.default_rng(1).normal(3.0, 2.0, 200)
    interval = bootstrap_interval(values, np.random.default_rng(0))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval.method == "BCa"
    assert interval.estimate == values.mean()
    # 0.05 of the sample's spread: both are normal to order n^-1 (n = 200), and 9999 resamples add 1 % of the width.
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.1), pytest.approx(high, abs=0.1))


def test_bootstrap_draws_from_its_generator_alone():
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    first, again = (bootstrap_interval(values, np.random.default_rng(7), resamples=99) for _ in range(2))
    assert first == again
    assert first != bootstrap_interval(values, np.random.default_rng(8), resamples=99)


def test_bootstrap_commutes_with_powers_of_two():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    once, doubled = (bootstrap_interval(f * values, np.random.default_rng(0), resamples=199) for f in (1.0, 2.0))
    assert (doubled.low, doubled.high) == (2 * once.low, 2 * once.high)


def test_bootstrap_covers_a_skewed_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_interval(generator.exponential(size=30), generator, confidence=0.9, resamples=399)
        hits += interval.low <= 1 <= interval.high
    # 0.9 less five percentage points for 30 skewed values, and four standard deviations of 200 trials.
    assert 0.76 <= hits / 200 <= 0.98


@pytest.mark.parametrize(
    ("values", "statistic"),
    [([5.0, 5.0, 5.0], np.mean), ([0.0, 0.0, 0.0, 9.0], np.median)],
    ids=["equal", "median"],
)
def test_an_undefined_correction_falls_back_to_percentiles(values, statistic):
    interval = bootstrap_interval(np.array(values), np.random.default_rng(0), statistic=statistic)
    assert interval.method == "percentile"
    assert min(values) <= interval.low <= interval.estimate <= interval.high <= max(values)


SKEWED = np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.6, 0.9, 5.0])


def test_the_correction_is_scipys_and_moves_the_ends_of_a_skewed_sample():
    found = bootstrap_interval(SKEWED, np.random.default_rng(3), confidence=0.9, resamples=499)
    for method, same in (("BCa", True), ("percentile", False)):
        options = {"n_resamples": 499, "confidence_level": 0.9, "method": method, "rng": np.random.default_rng(3)}
        ends = stats.bootstrap((SKEWED,), np.mean, **options).confidence_interval
        assert ((found.low, found.high) == (ends.low, ends.high)) is same


def test_the_estimate_is_the_statistic_of_the_sample():
    for statistic, value in ((np.median, 0.35), (np.mean, 0.9625), (np.max, 5.0)):
        found = bootstrap_interval(SKEWED, np.random.default_rng(0), statistic=statistic, resamples=99)
        # 1e-15: one rounding of a mean.
        assert found.estimate == pytest.approx(value, rel=1e-15)


def test_a_higher_level_has_a_wider_interval():
    for made in (
        lambda level: bootstrap_interval(SKEWED, np.random.default_rng(0), confidence=level, resamples=999),
        lambda level: wilson_interval(3, 10, confidence=level),
    ):
        narrow, wide = made(0.5), made(0.99)
        assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_every_resample_is_taken_and_no_more():
    drawn = []

    def mean(values, axis):
        drawn.append(values.size // values.shape[axis] if values.ndim > 1 else 1)
        return np.mean(values, axis=axis)

    bootstrap_interval(SKEWED, np.random.default_rng(0), statistic=mean, resamples=120)
    assert max(drawn) == 120


def test_seeds_that_are_there_twice_narrow_an_interval():
    """Why a run is never counted twice: the same eight numbers, said twice, look like sixteen."""
    once, twice = (bootstrap_interval(np.tile(SKEWED, n), np.random.default_rng(0), resamples=999) for n in (1, 2))
    assert once.estimate == pytest.approx(twice.estimate, rel=1e-15)
    assert once.low < twice.low < twice.high < once.high


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 10), (10, 10), (3, 3), (0, 3)])
def test_no_or_every_success_leaves_an_interval(successes, trials):
    found = wilson_interval(successes, trials)
    assert found.low == 0.0 or successes == trials
    assert found.high == 1.0 or successes == 0
    z = stats.norm.ppf(0.975)
    # 1e-12: a few roundings of numbers up to 1.
    assert found.high - found.low == pytest.approx(z**2 / (trials + z**2), abs=1e-12)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [1.0, math.nan]])
def test_a_bootstrap_needs_finite_values(values):
    with pytest.raises(InputError, match="two or more finite values"):
        bootstrap_interval(np.array(values, float), np.random.default_rng(0))


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_an_impossible_level_is_refused(confidence):
    with pytest.raises(InputError, match="above 0 and below 1"):
        bootstrap_interval(np.array([1.0, 2.0]), np.random.default_rng(0), confidence=confidence)
    with pytest.raises(InputError, match="above 0 and below 1"):
        wilson_interval(1, 2, confidence=confidence)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_quadratic(counts):
    """Both ends are where the score test is just not rejected: (p̂ - p)² = z² p (1 - p) / n."""
    successes, trials = counts
    interval = wilson_interval(successes, trials)
    z = stats.norm.ppf(0.975)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    for p in (interval.low, interval.high):
        # 1e-12: a few roundings of numbers up to 1.
        assert (interval.estimate - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / trials, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0)])
def test_an_impossible_proportion_is_refused(successes, trials):
    with pytest.raises(InputError, match="no proportion"):
        wilson_interval(successes, trials)


def test_survival_of_a_textbook_sample():
    """Six runs: crashes at 3, 5, 5 and 8, censored at 5 and 10; S = 5/6, then times 3/5, then times 1/2."""
    curve = survival(np.array([3, 5, 5, 5, 8, 10]), np.array([False, False, True, False, False, True]))
    assert curve.steps.tolist() == [3, 5, 8, 10]
    # 1e-15: products of exact fractions, rounded.
    assert curve.probabilities == pytest.approx([5 / 6, 1 / 2, 1 / 4, 1 / 4], rel=1e-15)
    assert curve.median == 5


def test_survival_without_crashes_stays_at_one():
    curve = survival(np.array([10, 10]), np.array([True, True]))
    assert curve.probabilities.tolist() == [1.0]
    assert curve.median is None


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_survival_without_censoring_is_counting(steps):
    curve = survival(np.array(steps), np.zeros(len(steps), bool))
    beyond = [sum(step > t for step in steps) / len(steps) for t in curve.steps]
    # 1e-12: a product of up to 30 fractions against one quotient.
    assert curve.probabilities == pytest.approx(beyond, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "censored", "median"),
    [
        ([7], [False], 7.0),
        ([7], [True], None),
        ([0, 0], [False, False], 0.0),
        ([5, 9], [False, True], 5.0),
        ([5, 9, 9], [False, True, True], None),
        ([9, 5, 5], [False, True, True], 9.0),
        ([3, 3, 3, 8], [True, False, False, True], 3.0),
    ],
)
def test_the_median_step_waits_for_half_of_the_runs(steps, censored, median):
    """Runs that are censored before a crash leave the count at risk, and those censored at it do not."""
    assert survival(np.array(steps), np.array(censored)).median == median


@pytest.mark.parametrize("steps", [[], [-1]])
def test_survival_needs_runs(steps):
    with pytest.raises(InputError, match="at least one run"):
        survival(np.array(steps, int), np.zeros(len(steps), bool))


SCORED = st.lists(st.tuples(st.sampled_from([-math.inf, 0.0, 1.0, 2.0, math.inf]), st.booleans()), max_size=30)


@given(SCORED)
@settings(max_examples=200)
def test_auc_is_the_share_of_ordered_pairs(scored):
    scores, positive = (np.array([pair[i] for pair in scored], dtype) for i, dtype in ((0, float), (1, bool)))
    pairs = [(s, t) for s in scores[positive] for t in scores[~positive]]
    auc = roc_auc(scores, positive)
    if not pairs:
        assert auc is None
        return
    # 1e-12: one quotient of half-integers either way.
    assert auc == pytest.approx(sum((s > t) + 0.5 * (s == t) for s, t in pairs) / len(pairs), abs=1e-12)
    assert roc_auc(scores, ~positive) == pytest.approx(1 - auc, abs=1e-12)


def test_precision():
    scores, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, True, True])
    assert precision_at(scores, positive, 0.6) == 1.0
    assert precision_at(scores, positive, 0.5) == 2 / 3
    assert precision_at(scores, positive, 1.0) is None
    assert precision_at(scores, ~positive, 0.6) == 0.0
    assert precision_at(np.array([math.inf, 0.0]), np.array([True, False]), math.inf) == 1.0


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_one_class_has_no_area(positive):
    assert roc_auc(np.arange(float(len(positive))), np.array(positive, dtype=bool)) is None


@pytest.mark.parametrize("score", [roc_auc, lambda scores, positive: precision_at(scores, positive, 0.0)])
def test_a_score_that_is_not_a_number_is_refused(score):
    with pytest.raises(InputError, match="not a number"):
        score(np.array([math.nan, 1.0]), np.array([True, False]))

"""Numbers become verdicts by intervals and pairs: no single value, no lucky run and no missing number decides."""

import math

import numpy as np
import pytest
from scipy import stats
from studies.shared.verdicts import (
    LEAST_PAIRS,
    SIGNIFICANT,
    difference,
    in_words,
    inside,
    majority,
    more_often,
    paired,
    share,
    side,
)

from seem.statistics import Interval


@pytest.mark.parametrize(
    ("count", "of", "verdict"),
    [
        (0, 0, "open"),
        (1, 1, "open"),
        (4, 4, "verified"),
        (0, 4, "refuted"),
        (3, 4, "open"),
        (9, 10, "verified"),
        (8, 10, "open"),
        (1, 10, "refuted"),
        (2, 10, "open"),
        (5, 10, "open"),
        (60, 100, "verified"),
        (59, 100, "open"),
    ],
)
def test_a_majority_is_an_interval_on_one_side_of_a_half(count, of, verdict):
    assert majority(count, of) == verdict


def test_a_share_has_its_upper_bound_also_at_zero():
    assert share(0, 3) == "0 of 3 [0%, 56%]"
    assert share(10, 10) == "10 of 10 [72%, 100%]"
    assert share(0, 0) == "0 of 0"


SPREAD = np.linspace(-0.01, 0.01, 12)


@pytest.mark.parametrize(
    ("values", "seeds", "verdict"),
    [
        (1 + SPREAD, 12, "verified"),
        (1 + SPREAD, 9, "open"),
        (1 + SPREAD, 10, "verified"),
        (1.3 + SPREAD, 12, "refuted"),
        (0.7 + SPREAD, 12, "refuted"),
        (1.3 + SPREAD, 9, "open"),
        # A median inside, and an interval that is not: no verdict, whichever end is out.
        (1 + 20 * SPREAD, 12, "open"),
        (1.095 + 2 * SPREAD, 12, "open"),
        (0.905 + 2 * SPREAD, 12, "open"),
        # One run on the law among many that are not, and one off among many that are.
        ([1.0, *(1.4 + SPREAD)], 13, "refuted"),
        ([5.0, *(1 + SPREAD)], 13, "verified"),
        ([math.nan, *(1 + SPREAD)], 13, "open"),
        ([math.inf, *(1 + SPREAD)], 13, "open"),
        ([1.0], 12, "open"),
        ([], 0, "open"),
    ],
)
def test_a_median_is_inside_by_its_interval_and_enough_seeds(values, seeds, verdict):
    assert inside(list(values), 0.9, 1.1, seeds, 10)[0] == verdict


def test_the_interval_that_decides_is_that_of_the_median_at_the_level():
    _, found = inside(list(1 + SPREAD), 0.9, 1.1, 12, 10)
    assert found.estimate == np.median(1 + SPREAD)
    assert found.low < found.estimate < found.high
    # An order statistic's exact interval has at least that level; the bootstrap's is no wider by much.
    ranks = stats.binom.interval(1 - SIGNIFICANT, 12, 0.5)
    assert sorted(1 + SPREAD)[int(ranks[0]) - 1] <= found.low
    assert found.high <= sorted(1 + SPREAD)[int(ranks[1])]


def run(seed, value, data="toy"):
    return {"data": data, "seed": seed, "value": value}


def test_pairs_are_of_one_seed_on_one_data_set():
    first = [run(0, 1), run(1, 2), run(0, 3, "other"), run(7, 4)]
    second = [run(1, 20), run(0, 30, "other"), run(0, 10), run(8, 40)]
    assert paired(first, second, lambda found: found["value"]) == [(1, 10), (2, 20), (3, 30)]
    assert paired(first, [], lambda found: found["value"]) == []


def test_a_difference_is_judged_by_pairs_where_the_spread_between_seeds_hides_it():
    rng = np.random.default_rng(0)
    seeds = 100 * rng.normal(size=10)
    pairs = [(seed + 1 + 0.1 * rng.normal(), seed) for seed in seeds]
    assert difference(pairs)[0] == "verified"
    assert difference([(other, one) for one, other in pairs])[0] == "refuted"
    assert difference([(one, pairs[place - 1][1]) for place, (one, _) in enumerate(pairs)])[0] == "open"


@pytest.mark.parametrize("count", range(LEAST_PAIRS + 2))
def test_few_pairs_decide_nothing(count):
    verdict, found = difference([(2.0 + place / 10, 1.0) for place in range(count)])
    assert verdict == ("verified" if count >= LEAST_PAIRS else "open")
    assert (found is None) == (count < 2)


def test_the_fewest_pairs_are_those_that_chance_seldom_makes_agree():
    assert 0.5**LEAST_PAIRS < SIGNIFICANT <= 0.5 ** (LEAST_PAIRS - 1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_difference_that_is_no_number_leaves_it_open(wrong):
    assert difference([(2.0, 1.0)] * 9 + [(wrong, 1.0)]) == ("open", None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "verified"), (-0.2, -0.1, "refuted"), (-0.1, 0.2, "open"), (0.0, 0.2, "open"), (-0.2, 0.0, "open")],
)
def test_an_interval_that_holds_zero_is_open(low, high, verdict):
    assert side(Interval(0.15, low, high, "BCa")) == verdict


def test_the_test_of_pairs_is_mcnemars():
    pairs = [(1, 0)] * 6 + [(0, 1)] + [(1, 1)] * 5 + [(0, 0)] * 9
    assert more_often(pairs) == pytest.approx(8 / 128)
    assert more_often([(0, 1)] * 5) == 1
    assert more_often([(1, 1)] * 5) == more_often([]) == 1
    assert more_often([(1, 0)] * 5) == pytest.approx(1 / 32)


def test_an_interval_in_words():
    assert in_words(Interval(0.5, 0.25, 0.75, "BCa")) == "0.50 [0.25, 0.75]"
    assert in_words(None) == "none"

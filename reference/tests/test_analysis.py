"""Analysis of records, on rays and lines whose exponents are known."""

import math

import numpy as np
import pytest

from seem.analysis import (
    explain_error,
    forecast_error,
    growth_exponent,
    growth_rates,
    linearity,
    loglog_slope,
    median_and_range,
    power_of_growth,
    slope,
    surge,
)
from seem.records import RunRecord


def ray(depth: int, rate: float = 1e-3, largest: float = 1e30) -> tuple[np.ndarray, np.ndarray]:
    """Q and x on the self-similar ray: θ ← θ(1 + x/L), so Q ∝ θ^L and x = ηλ ∝ θ^(2L-2)."""
    scale, sizes, rates = 1.0, [], []
    while scale**depth < largest:
        x = rate * scale ** (2 * depth - 2)
        sizes.append(scale**depth)
        rates.append(x)
        scale *= 1 + x / depth
    return np.array(sizes), np.array(rates)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_growth_rates_are_those_of_the_ray(depth):
    sizes, rates = ray(depth, rate=0.01)
    measured = growth_rates(sizes, depth)
    # 1e-10: Q_(t+1)/Q_t - 1 near 0.01 keeps fourteen digits, and every Q is a sum of a thousand roundings.
    np.testing.assert_allclose(measured, rates[:-1], rtol=1e-10)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_growth_exponent_is_that_of_the_ray(depth):
    """On the ray x ∝ Q^p with p = (2L-2)/L, exactly, in discrete time too."""
    sizes, _ = ray(depth)
    # 1e-8: rates of 1e-3 and more keep twelve digits.
    assert growth_exponent(sizes, depth) == pytest.approx((2 * depth - 2) / depth, abs=1e-8)


@pytest.mark.parametrize("depth", [2, 3])
def test_growth_exponent_ignores_the_overflow_at_the_end_and_a_slow_start(depth):
    sizes, _ = ray(depth)
    start = np.linspace(0.9, 1, 50, endpoint=False)
    longer = np.concatenate((start * sizes[0], sizes, [math.inf, math.nan]))
    assert growth_exponent(longer, depth) == pytest.approx((2 * depth - 2) / depth, abs=1e-8)


def test_exponential_growth_has_exponent_zero():
    # 1e-12: the rates are equal up to rounding.
    assert growth_exponent(1.1 ** np.arange(100), 1) == pytest.approx(0, abs=1e-12)


def test_too_short_or_falling_surges_have_no_exponent():
    assert growth_exponent(np.array([1.0, 1.5, 2.0, 10.0]), 2) is None
    assert growth_exponent(np.array([1.0, 1e9, 1e30]), 2) is None
    falling = 1.2 ** np.arange(40)
    falling[35] = falling[34] * 0.99
    assert growth_exponent(falling, 2) is None


@pytest.mark.parametrize("depth", [2, 3])
def test_the_surge_is_the_last_tenfold_up_to_the_rate_one(depth):
    sizes, rates = ray(depth)
    window = surge(sizes, depth)
    end = window[-1]
    assert (np.diff(window) == 1).all()
    assert rates[end] <= 1 < rates[end + 1]
    assert sizes[window[0] - 1] < sizes[end] / 10 <= sizes[window[0]]
    assert np.array_equal(surge(np.append(sizes, [math.inf, math.nan]), depth), window)


def test_a_surge_of_less_than_tenfold_starts_at_the_start():
    assert surge(1.1 ** np.arange(10), 1).tolist() == list(range(9))


def test_a_surge_that_ends_in_a_fall_is_empty():
    rising = 1.1 ** np.arange(40.0)
    assert len(surge(np.append(rising, [1e6, 1e3, 1e9, 1e25]), 1)) == 0


def test_a_rise_below_an_earlier_maximum_is_no_surge():
    rising = 1.1 ** np.arange(40.0)
    assert len(surge(rising, 1)) > 0
    # From its last slow maximum, 1e6, it fell.
    assert len(surge(np.append(rising, [1e6, 9e5, 9.5e5, 1e30]), 1)) == 0


def test_a_surge_that_begins_too_fast_is_empty():
    assert len(surge(np.array([1.0, 1e10, 1e100]), 2)) == 0


def test_the_right_exponent_is_the_most_linear():
    steps = np.arange(100)
    exponents = [0.0, 0.5, 1.0, 4 / 3, 2.0]
    for p in exponents:
        q = np.exp(0.02 * steps) if p == 0 else 7 * (1 - 0.009 * steps) ** (-1 / p)
        fits = linearity(q, exponents)
        # 1e-12: a straight line up to rounding.
        assert fits[exponents.index(p)] == pytest.approx(1, abs=1e-12)
        assert sorted(fits)[-2] < 1 - 1e-4


def test_linearity_against_the_correlation_by_hand():
    """Points (0, 1), (1, 2), (2, 4): Sxy = 3, Sxx = 2, Syy = 14/3, so R² = 27/28."""
    (fit,) = linearity(1 / np.array([1.0, 2.0, 4.0]), [1.0])
    # 1e-12: a dozen float64 operations.
    assert fit == pytest.approx(27 / 28, abs=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 5.0])
def test_power_of_growth_ignores_an_offset_that_a_loglog_slope_does_not(power):
    values = (np.arange(200) + 40.0) ** power
    # 1e-3: a bounded scalar search ends at 1e-5, and the fit is flat near its best.
    assert power_of_growth(values) == pytest.approx(power, rel=1e-3)
    assert loglog_slope(values, 1, 200) < 0.9 * power


def test_growth_faster_than_any_power_ends_at_the_largest():
    # 1e-3: the search never reaches its bound exactly.
    assert power_of_growth(np.exp(np.arange(100.0)), largest=6.0) == pytest.approx(6, rel=1e-3)


@pytest.mark.parametrize("power", [0.5, 3.0])
def test_loglog_slope_of_a_power_is_its_exponent(power):
    values = 4 * np.arange(50.0) ** power
    values[30:] = 1.0  # outside the window
    # 1e-12: a straight line up to rounding.
    assert loglog_slope(values, 2, 30) == pytest.approx(power, abs=1e-12)


def test_slope_of_a_line_is_its_slope_inside_the_window():
    values = 3 - 0.25 * np.arange(20.0)
    values[:5] = values[15:] = 100.0
    assert slope(values, 5, 15) == pytest.approx(-0.25, abs=1e-12)


LINES = [
    {"step": 0, "crash_step": math.inf, "law_step": math.inf, "slope_step": math.inf, "earliest": math.inf,
     "latest": math.inf, "reason": "SEEM is not positive"},
    {"step": 50, "crash_step": 120.0, "law_step": 150.0, "slope_step": 80.0, "earliest": 90.0, "latest": 160.0,
     "reason": None},
    {"step": 80, "crash_step": 103.0, "law_step": 104.0, "slope_step": 102.0, "earliest": 101.0, "latest": 105.0,
     "reason": None},
]  # fmt: skip


def test_forecast_error_is_of_the_last_forecast_by_then():
    early = forecast_error(LINES, 100, 0.5)
    assert early == {
        "fraction": 0.5,
        "step": 50,
        "crash": 0.2,
        "law": 0.5,
        "slope": -0.2,
        "covered": True,
        "reason": None,
    }
    assert forecast_error(LINES, 100, 0.79)["step"] == 50
    late = forecast_error(LINES, 100, 0.8)
    assert (late["step"], late["crash"], late["covered"]) == (80, 0.03, False)


def test_a_refused_forecast_errs_by_infinity_and_covers_nothing():
    none = forecast_error(LINES, 100, 0.49)
    assert (none["crash"], none["law"], none["slope"]) == (math.inf,) * 3
    assert none["covered"] is False
    assert none["reason"] == "SEEM is not positive"


def test_no_forecast_by_then_is_none():
    assert forecast_error(LINES[1:], 100, 0.49) is None
    assert forecast_error([], 100, 1.0) is None


def test_the_ends_of_the_interval_belong_to_it():
    assert [forecast_error(LINES[2:], crash, 1.0)["covered"] for crash in (100, 101, 105, 106)] == [
        False,
        True,
        True,
        False,
    ]


def test_median_and_range():
    assert median_and_range([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)
    assert median_and_range([4.0, 1.0]) == (2.5, 1.0, 4.0)
    assert median_and_range([1.0, 2.0, 9.0, math.inf]) == (5.5, 1.0, math.inf)
    assert all(math.isnan(value) for value in median_and_range([]))
    assert all(math.isnan(value) for value in median_and_range([1.0, math.nan, 2.0]))


def record(mechanism="critical", leading=(1.0, 2.0, 4.0, 8.0), alignment=(1.0,) * 4, moves=(0.0,) * 4):
    """A crashed run of twins with a reading every ten steps; the second twin is the smaller one."""
    looks = zip(leading, alignment, moves, strict=True)
    readings = [
        {
            "step": 10 * place,
            "action_motion": move,
            "critics": [{"leading": first, "alignment": cosine}, {"leading": first / 9, "alignment": cosine / 9}],
        }
        for place, (first, cosine, move) in enumerate(looks)
    ]
    return RunRecord({"mechanism": mechanism}, readings, [], {})


@pytest.mark.parametrize(
    ("step", "run", "reason"),
    [
        (0, {}, "unexplained"),
        (0, {"mechanism": "overshoot", "leading": (4.0, 1.0, 4.0, 8.0)}, "overshoot"),
        (0, {"leading": (4.0, 1.9, 4.0, 8.0)}, "recovery"),
        (0, {"leading": (4.0, 2.0, 4.0, 8.0)}, "unexplained"),
        (20, {"leading": (4.0, 1.0, 4.0, 8.0)}, "unexplained"),
        (10, {"leading": (4.0, 3.0, 1.4, 8.0)}, "recovery"),
        (0, {"leading": (1.0, 4.0, 1.9, 8.0)}, "recovery"),
        (0, {"leading": (4.0, 1.9, 4.0, 8.0), "moves": (0.0, 1.0, 1.0, 1.0)}, "recovery"),
        (0, {"moves": (9.0, 0.1, 0.05, 0.05)}, "unexplained"),
        (0, {"moves": (0.0, 0.1, 0.1, 0.1)}, "moving policy"),
        (20, {"moves": (0.0, 0.1, 0.1, 0.1)}, "unexplained"),
        (20, {"moves": (0.0, 0.0, 9.0, 0.1)}, "unexplained"),
        (0, {"moves": (0.0, 0.1, 0.1, 0.1), "alignment": (0.1,) * 4}, "moving policy"),
        (15, {"alignment": (0.9, 0.4, 0.9, 0.9)}, "unaligned u"),
        (20, {"alignment": (0.9, 0.4, 0.9, 0.9)}, "unexplained"),
        (15, {"alignment": (0.4, 0.9, 0.4, 0.4)}, "unexplained"),
        (10, {"alignment": (0.9, 0.5, 0.4, 0.4)}, "unexplained"),
        (99, {}, "unexplained"),
    ],
)
def test_what_the_law_leaves_out_is_named_first_things_first(step, run, reason):
    assert explain_error(record(**run), step) == reason


def test_a_forecast_made_at_its_share_counts_and_the_last_one_counts():
    for crash, fraction, step in ((100, 0.8, 80), (100, 0.8 - 1e-9, 50), (50, 1.0, 50), (160, 0.5, 80)):
        found = forecast_error(LINES, crash, fraction)
        assert (found["step"], found["fraction"]) == (step, fraction)


def test_an_error_is_a_share_of_the_crash_step_and_late_is_positive():
    """The last of `LINES` says 103, by the law 104, by the slope 102."""
    found = forecast_error(LINES, 200, 1.0)
    assert [found[name] for name in ("crash", "law", "slope")] == [-97 / 200, -96 / 200, -98 / 200]
    assert forecast_error(LINES, 100, 1.0)["crash"] == 0.03


def test_a_surge_ends_where_its_rate_has_halved():
    rising = np.cumprod([1.0, *[1.5] * 8, *[1.2] * 5])
    assert surge(rising, 1).tolist() == [5, 6, 7]
    assert surge(np.cumprod([1.0, *[1.5] * 8, *[1.26] * 5]), 1).tolist() == list(range(5, 13))


@pytest.mark.parametrize(("steps", "found"), [(6, True), (5, False)])
def test_an_exponent_needs_five_steps_of_surge(steps, found):
    assert (growth_exponent(1.1 ** np.arange(float(steps)), 1) is not None) is found


def test_a_series_is_the_larger_twins_and_leaves_overflowed_readings_out():
    run = record(leading=(1.0, -9.0, 4.0, 8.0))
    run.readings[2]["critics"][0] = None
    run.readings[3]["critics"] = [None, None]
    assert run.largest("leading") == ([0, 10, 20], [1.0, -1.0, 4.0 / 9])

"""Forecasts from synthetic readings on the ray, and the cases in which none may be made."""

import math
from dataclasses import replace

import pytest
import torch

from seem.errors import InputError
from seem.forecasting import forecast, mechanism, refuse
from seem.growth import SGDLaw
from seem.spectrum import CriticReading

LOG_MAX = math.log(torch.finfo(torch.float64).max)


def reading(step: int, rate: float, **changes) -> CriticReading:
    """A reading whose η is 1, so that its leading eigenvalue is its rate."""
    plain = CriticReading(
        step=step,
        critic=0,
        rows=2,
        step_size=1.0,
        leading=rate,
        leading_imaginary=0.0,
        second=0.0,
        trailing=-rate / 2,
        normalised=0.5,
        numerical_abscissa=rate,
        rayleigh=rate,
        growth=1 + rate,
        excitation_gain=1 + max(rate, 0.0),
        overshoot_gain=1.0,
        alignment=1.0,
        reciprocal_condition=1.0,
        gradient_norm=1.0,
        kernel_norm=1.0,
        td_norm=1.0,
        mean_abs_q=1.0,
        max_abs_q=1.0,
        parameter_norm=1.0,
    )
    return replace(plain, **changes)


def ray(depth: int, rate: float, steps: int) -> list[tuple[float, float]]:
    """(rate, Q) at every step of the discrete ray that starts with Q = 1."""
    series, q = [], 1.0
    for _ in range(steps):
        series.append((rate, q))
        factor = 1 + rate / depth
        rate, q = rate * factor ** (2 * depth - 2), q * factor**depth
    return series


def crash_of(depth: int, rate: float) -> int:
    return math.ceil(SGDLaw(depth).steps_to_overflow(rate, LOG_MAX))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_on_the_ray_every_forecast_is_right(depth):
    series = ray(depth, 0.01, 40)
    crash = crash_of(depth, 0.01)
    history = [reading(t, series[t][0], max_abs_q=series[t][1]) for t in (0, 10, 20, 30, 39)]
    for count in range(1, len(history) + 1):
        made = forecast([history[:count]], depth=depth, dtype="float64", step=history[count - 1].step)
        # The law iterates the very recursion, so one step of rounding is left.
        assert abs(made.law_step - crash) <= 1
        assert made.mechanism == "self-excitation"
        assert made.earliest <= crash
        if count >= 2 and depth > 1:
            # The slope of 1/x is that of continuous time; over these readings x changes little.
            assert made.slope_step == pytest.approx(crash, rel=0.1)
            assert made.latest >= crash


def test_forecast_is_the_geometric_mean_of_law_and_slope():
    history = [reading(0, 0.010), reading(10, 0.014)]
    made = forecast([history], depth=3, dtype="float64", step=10)
    assert made.slope_step < made.law_step
    assert made.crash_step - 10 == pytest.approx(math.sqrt((made.law_step - 10) * (made.slope_step - 10)))
    assert made.earliest < made.slope_step
    assert made.latest > made.law_step


def test_the_fastest_critic_counts():
    slow, fast = [reading(5, 0.001)], [reading(5, 0.02, critic=1)]
    both = forecast([slow, fast], depth=2, dtype="float64", step=5)
    assert both == forecast([fast], depth=2, dtype="float64", step=5)


def test_falling_seem_leaves_the_law_alone():
    made = forecast([[reading(0, 0.02), reading(10, 0.01)]], depth=2, dtype="float64", step=10)
    assert made.slope_step == math.inf
    assert made.crash_step == made.law_step
    assert made.latest == math.inf


def test_slope_forgets_what_lies_before_a_negative_reading():
    made = forecast([[reading(0, 0.02), reading(5, -0.01), reading(10, 0.01)]], depth=2, dtype="float64", step=10)
    assert made.slope_step == math.inf


@pytest.mark.parametrize(
    ("history", "word"),
    [
        ([reading(7, -0.1)], "not positive"),
        ([reading(7, 0.0)], "not positive"),
        ([reading(3, 0.1), None], "overflowed"),
        ([reading(3, 0.1)], "the last reading is of step 3"),
        ([], "no reading yet"),
        ([replace(reading(7, 0.1), step_size=None)], "no known size"),
    ],
)
def test_refusals(history, word):
    made = forecast([history], depth=3, dtype="float64", step=7)
    assert made.crash_step == math.inf
    assert word in made.reason


def test_overshoot_below_the_threshold_is_named_and_not_forecast():
    overshooting = reading(4, 0.1, overshoot_gain=1.5, trailing=-2.5)
    made = forecast([[overshooting]], depth=2, dtype="float64", step=4)
    assert made.mechanism == "overshoot"
    assert made.crash_step == math.inf
    beyond = replace(overshooting, overshoot_gain=4.0, trailing=-5.0)
    assert math.isfinite(forecast([[beyond]], depth=2, dtype="float64", step=4).crash_step)


def test_smaller_dtype_crashes_earlier():
    history = [[reading(0, 0.5)]]
    narrow, wide = (forecast(history, depth=1, dtype=dtype, step=0) for dtype in ("float32", "float64"))
    assert narrow.crash_step < wide.crash_step


def test_mechanism_is_decided_before_a_mode_doubles():
    excited = [reading(0, 0.2), reading(1, 0.8), reading(2, 50.0, overshoot_gain=90.0)]
    assert mechanism([excited]) == "self-excitation"
    overshot = [reading(0, 0.01), reading(1, 0.01, overshoot_gain=1.6), reading(2, 50.0, overshoot_gain=90.0)]
    assert mechanism([overshot]) == "overshoot"
    assert mechanism([[reading(0, -0.1)]]) == "unexplained"
    assert mechanism([[]]) == "unexplained"


def test_refuse_says_why():
    made = refuse(3, "because")
    assert (made.step, made.crash_step, made.reason) == (3, math.inf, "because")


def test_near_overflow_the_slope_has_no_lag():
    # 1/x falls from 10 to 5 in 10 steps and is zero 10 steps later; the law overflows before it blows up.
    history = [reading(0, 0.1), reading(10, 0.2, max_abs_q=1e308)]
    assert forecast([history], depth=2, dtype="float64", step=10).slope_step == pytest.approx(20.0, rel=1e-12)


def test_a_rate_of_zero_belongs_to_what_is_forgotten():
    history = [reading(0, 0.0), reading(10, 0.1, max_abs_q=1e308), reading(20, 0.2, max_abs_q=1e308)]
    assert forecast([history], depth=2, dtype="float64", step=20).slope_step == pytest.approx(30.0, rel=1e-12)


def test_a_reading_that_doubles_exactly_is_not_below_doubling():
    before = reading(0, 0.0, excitation_gain=1.0, overshoot_gain=1.5)
    doubling = reading(1, 1.0, excitation_gain=2.0, overshoot_gain=1.0)
    assert mechanism([[before, doubling]]) == "overshoot"


def test_one_history_may_stand_alone_and_the_dtype_may_be_torchs():
    history = [reading(0, 0.1), reading(5, 0.2)]
    expected = forecast([history], depth=2, dtype="float32", step=5)
    assert forecast(history, depth=2, dtype="torch.float32", step=5) == expected
    assert forecast(history, depth=2, dtype=torch.float32, step=5) == expected


def test_what_is_no_reading_is_refused():
    with pytest.raises(InputError, match="holds a int"):
        forecast([[reading(0, 0.1), 3]], depth=2, dtype="float64", step=0)
    with pytest.raises(InputError, match="float12"):
        forecast([[reading(0, 0.1)]], depth=2, dtype="float12", step=0)

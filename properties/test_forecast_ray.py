"""Forecasts on the exact discrete ray: the law is right at every reading, the slope one step late at most.

Hypotheses: one critic on the self-similar ray of gradient descent. A reading that is off the ray costs its share of the
time; the interval allows a quarter of it.
"""

import math
from dataclasses import replace

import pytest
from hypothesis import event, given, target
from hypothesis import strategies as st

from properties.strategies.histories import LOG_MAX, Ray, rays, steps_of_ray
from seem.forecasting import Forecast, forecast, mechanism
from seem.growth import SGDLaw

dtypes = st.sampled_from(tuple(LOG_MAX))
TIE = 1e-6
"""Share of ln Q within which rounding along the ray may move the overflow."""


def forecasts(ray: Ray, dtype: str) -> list[Forecast]:
    """The forecast after each of the readings."""
    history = ray.history()
    return [forecast([history[: i + 1]], depth=ray.depth, dtype=dtype, step=step) for i, step in enumerate(ray.steps)]


def crashes(ray: Ray, dtype: str) -> tuple[int, int]:
    """Earliest and latest step of the overflow, which lie apart only where it is met within `TIE`."""
    room = LOG_MAX[dtype] - math.log(ray.size)
    return tuple(steps_of_ray(ray.depth, ray.rate, room * (1 + tie)) for tie in (-TIE, TIE))


@pytest.mark.claim("SGD-CRASH-STEP")
@given(ray=rays(depths=(2, 5), rates=(2e-3, 3.0)) | rays(depths=(1, 1), rates=(0.2, 3.0)), dtype=dtypes)
def test_every_reading_forecasts_the_very_step(ray, dtype):
    first, last = crashes(ray, dtype)
    for made in forecasts(ray, dtype):
        assert first <= made.law_step <= last
        assert made.mechanism == "self-excitation"
        assert made.reason is None


@given(ray=rays(depths=(2, 5), rates=(2e-4, 1e-3)), dtype=dtypes)
def test_a_slow_ray_is_forecast_to_a_step(ray, dtype):
    first, last = crashes(ray, dtype)
    for made in forecasts(ray, dtype):
        # The closed form replaces whole steps by a sum that is right to a step and 1e-3.
        assert first - 1.001 <= made.law_step <= last + 1.001


@pytest.mark.claim("SGD-SLOPE")
@given(ray=rays(depths=(2, 5), rates=(1e-3, 3.0), readings=(2, 5)), dtype=dtypes)
def test_the_slope_of_whole_steps_is_one_step_late_at_most(ray, dtype):
    """1/x falls by (1 - F^-m)/x a step, F = 1 + x/L, a little less than p: 1/(1 - F^-m) - L/(mx) lies in (0, 1]."""
    made = forecasts(ray, dtype)[-1]
    law_steps = made.law_step - made.step
    # Q may overflow before the blow-up of the law, which is what the slope sees.
    beyond = max(SGDLaw(ray.depth).steps_to_blow_up(ray.history()[-1].rate) - law_steps, 0.0)
    late = made.slope_step - made.law_step - beyond
    # Differences of 1/x round by its square.
    rounding = 1e-13 / ray.rate**2
    assert -rounding <= late <= 1 + rounding
    target(late)
    # A slope behind the law leaves the law alone.
    assert made.crash_step == pytest.approx(made.law_step, abs=rounding)


@pytest.mark.claim("SGD-SLOPE")
@given(ray=rays(depths=(1, 5), rates=(0.2, 3.0)), dtype=dtypes)
def test_the_interval_holds_the_crash(ray, dtype):
    first, last = crashes(ray, dtype)
    for made in forecasts(ray, dtype):
        assert made.earliest <= first
        assert last <= made.latest
        event(f"one reading: {math.isinf(made.slope_step)}")


@given(ray=rays(depths=(2, 5), rates=(1e-3, 0.2), readings=(1, 1)), factor=st.floats(0.8, 1.25))
def test_the_interval_allows_a_rate_that_is_off_by_a_fifth(ray, factor):
    ray = replace(ray, steps=(0,))
    crash = crashes(ray, "float64")[1]
    off = forecast([replace(ray, rate=ray.rate * factor).history()], depth=ray.depth, dtype="float64", step=0)
    # A rate times 1.25 means steps over 1.25: the lag of the last steps only narrows that. One step of counting.
    assert off.earliest <= crash + 1
    assert off.law_step * 1.25 >= crash - 1.25


def test_the_interval_does_not_allow_a_rate_that_is_off_by_a_third():
    ray = Ray(depth=2, rate=0.01, steps=(0,))
    off = forecast([replace(ray, rate=ray.rate / 1.5).history()], depth=2, dtype="float64", step=0)
    assert off.earliest > ray.crash()


@pytest.mark.claim("SGD-BRACKET")
def test_a_ray_that_turns_deceives_the_slope():
    """Off the ray: the rate of the last two readings stands still, the one of the ray did not."""
    ray = Ray(depth=2, rate=0.01, steps=(0, 20, 40))
    *earlier, last = ray.history()
    still = replace(last, leading=earlier[-1].leading)
    made = forecast([[*earlier[1:], still]], depth=2, dtype="float64", step=40)
    assert made.slope_step == math.inf
    assert made.latest == math.inf


@given(ray=rays(depths=(2, 5), rates=(1e-3, 3.0), readings=(1, 5)), steps=st.integers(1, 1000))
def test_a_later_start_of_the_count_shifts_the_forecast(ray, steps):
    history = ray.history()
    later = [replace(reading, step=reading.step + steps) for reading in history]
    before, after = (
        forecast([some], depth=ray.depth, dtype="float64", step=some[-1].step) for some in (history, later)
    )
    for name in ("step", "crash_step", "earliest", "latest", "law_step", "slope_step"):
        # Sums of a step number and a time round once.
        assert getattr(after, name) == pytest.approx(getattr(before, name) + steps, rel=4 * 2**-52)


@given(ray=rays(readings=(1, 5)), dtype=dtypes, log_factor=st.integers(0, 40))
def test_larger_values_never_crash_later(ray, dtype, log_factor):
    history = ray.history()
    larger = [replace(reading, max_abs_q=reading.max_abs_q * 2.0**log_factor) for reading in history]
    small, large = (forecast([some], depth=ray.depth, dtype=dtype, step=some[-1].step) for some in (history, larger))
    assert large.law_step <= small.law_step


@given(ray=rays(depths=(2, 5), rates=(0.01, 3.0)))
def test_self_excitation_is_what_a_ray_crashes_of(ray):
    assert mechanism([ray.history()]) == (
        "self-excitation" if ray.history()[-1].excitation_gain >= 1.1 else "unexplained"
    )

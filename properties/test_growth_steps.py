"""`SGDLaw.steps_to_overflow` against the discrete recursion counted step by step.

Hypotheses: the self-similar ray (bias-free, r = 0, X* fixed), where a step multiplies the parameters by 1 + x/L.
"""

import math

import mpmath
import pytest
from hypothesis import event, given, target
from hypothesis import strategies as st

from properties.strategies.histories import steps_of_ray
from seem.growth import LARGE_LOG_RATE, SMALL_STEP, SGDLaw

depths = st.integers(1, 6)
several = st.integers(2, 6)
TIE = 1e-6
"""Share of ln Q by which a room misses what whole steps give; float64 loses 1e-9 of it on the way at most."""


def growths(depth: int, rate: float, steps: int) -> list[float]:
    """Growth of ln Q after 0 to ``steps`` steps of the ray, in 30 digits and with exponents of any size."""
    with mpmath.workdps(30):
        scale, made = mpmath.mpf(1), [0.0]
        for _ in range(steps):
            scale += mpmath.mpf(rate) / depth * scale ** (2 * depth - 1)
            made.append(float(depth * mpmath.log(abs(scale))))
        return made


def rates_of(depth: int) -> st.SearchStrategy[float]:
    """Rates of every regime of whole steps: slow, of order 1, beyond float64's 1 + x, and overshooting."""
    below = st.floats(2.02, 1e3).map(lambda factor: -depth * factor)
    large = st.floats(LARGE_LOG_RATE - 3, LARGE_LOG_RATE + 3).map(math.exp)
    return st.floats(SMALL_STEP, 1.0) | st.floats(1.0, 1e6) | large | below


@given(data=st.data(), depth=depths, steps=st.integers(1, 12))
def test_overflow_comes_at_the_very_step_that_grows_q_so_far(data, depth, steps):
    rate = data.draw(rates_of(depth), label="rate")
    log_growths = growths(depth, rate, steps)
    law = SGDLaw(depth)
    assert law.steps_to_overflow(rate, log_growths[-1] * (1 - TIE)) == steps
    assert law.steps_to_overflow(rate, log_growths[-1] * (1 + TIE)) == steps + 1
    event(f"overshoot: {rate < 0}, beyond LARGE_LOG_RATE: {math.log(abs(rate)) > LARGE_LOG_RATE}")


@pytest.mark.claim("SGD-DISCRETE")
@given(depth=depths, rate=st.floats(2e-2, 10.0), room=st.floats(1.0, 700.0))
def test_a_whole_run_takes_as_many_steps_as_are_counted(depth, rate, room):
    # Both may meet a room within their rounding of it.
    fewest, most = (steps_of_ray(depth, rate, room * (1 + tie)) for tie in (-TIE, TIE))
    assert fewest <= SGDLaw(depth).steps_to_overflow(rate, room) <= most


@pytest.mark.claim("SGD-DISCRETE")
@given(depth=several, share=st.floats(0.2, 1.0, exclude_max=True), room=st.floats(0.1, 700.0))
def test_the_closed_form_is_right_to_a_step(depth, share, room):
    rate, power = share * SMALL_STEP, 2 * depth - 2
    counted, forecast = steps_of_ray(depth, rate, room), SGDLaw(depth).steps_to_overflow(rate, room)
    # The start of whole steps at SMALL_STEP lies between two real ones; (m+1)(2m+1)/(12L²)·x² a step adds up to 1e-3.
    late = 1e-3
    if math.log(1 / share) >= power / depth * room:
        # Where Q overflows before the step size matters the logarithm's (m+1)/(2m)·m/L·room steps are left out.
        late += (power + 1) / (2 * depth) * room
    assert -1 - 1e-3 <= counted - forecast <= 1 + late
    target(abs(counted - forecast), label="steps")


@pytest.mark.claim("SGD-CRASH-STEP")
@given(depth=several, rate=st.floats(1e-4, 1e-2), room=st.floats(400.0, 700.0))
def test_the_count_of_small_steps_tends_to_the_formula(depth, rate, room):
    """Counted step by step, the overflow comes after L/((2L-2)x) by a logarithm of the step size."""
    power = 2 * depth - 2
    late = steps_of_ray(depth, rate, room) - SGDLaw(depth).steps_to_blow_up(rate)
    assert SGDLaw(depth).steps_to_blow_up(rate) == pytest.approx(depth / (power * rate), rel=1e-12)
    # The logarithm of SGD-DISCRETE, and the last steps, of which each takes Q's logarithm to 2L-1 times its size.
    assert 0 <= late <= (power + 1) / (2 * power) * math.log(1 / rate) + math.log(room) + 3


@given(depth=several, exponent=st.floats(-12.0, -3.01), growth=st.floats(1e-3, 0.5))
def test_below_the_small_step_time_passes_one_step_a_step(depth, exponent, growth):
    """From x to x' the count falls by the exact number of steps, to second order in x."""
    law, power, rate, room = SGDLaw(depth), 2 * depth - 2, 10.0**exponent, 600.0
    later = rate + growth * (SMALL_STEP - rate)
    with mpmath.workdps(40):
        x, y = mpmath.mpf(rate), mpmath.mpf(later)
        elapsed = float((1 / x - 1 / y) * depth / power + mpmath.mpf(power + 1) / (2 * power) * mpmath.log(y / x))
    remaining = room - depth / power * math.log(later / rate)
    passed = law.steps_to_overflow(rate, room) - law.steps_to_overflow(later, remaining)
    # Rounding of counts of 1/x; the whole steps that follow are the same.
    assert abs(passed - elapsed) <= 1e-9 + 8 * 2**-52 / rate


@given(depth=several, rate=st.floats(1e-9, 1e-4), steps=st.integers(1, 100))
def test_a_slow_ray_comes_nearer_by_the_steps_taken(depth, rate, steps):
    """The closed form against real steps: what one step counts as differs from 1 in second order only."""
    law, room, power = SGDLaw(depth), 600.0, 2 * depth - 2
    later, remaining = mpmath.mpf(rate), mpmath.mpf(room)
    with mpmath.workdps(30):
        for _ in range(steps):
            factor = 1 + later / depth
            later, remaining = later * factor**power, remaining - depth * mpmath.log(factor)
    passed = law.steps_to_overflow(rate, room) - law.steps_to_overflow(float(later), float(remaining))
    second = (power + 1) * (2 * power + 1) / (12 * depth**2) * float(later) ** 2
    # Twice the second order for the orders beyond it; rounding of counts of 1/x.
    assert abs(passed - steps) <= 2 * second * steps + 8 * 2**-52 / rate


@given(depth=several, rate=st.floats(1e-12, 1e-4), share=st.floats(0.01, 0.99))
def test_overflow_before_the_step_size_matters_is_the_continuous_law(depth, rate, share):
    law = SGDLaw(depth)
    room = share * math.log(SMALL_STEP / rate) / law.exponent
    # 1 - e^(-p·room) of the way to the blow-up; the step size adds less than (m+1)/(2L)·room ≤ room steps.
    continuous = (1 - math.exp(-law.exponent * room)) * law.steps_to_blow_up(rate)
    rounding = 8 * 2**-52 * law.steps_to_blow_up(rate)
    assert -rounding <= law.steps_to_overflow(rate, room) - continuous <= room + rounding


@given(depth=several, room=st.floats(30.0, 700.0), side=st.floats(1e-12, 1e-6))
def test_both_sides_of_the_small_step_join(depth, room, side):
    law = SGDLaw(depth)
    below, above = (law.steps_to_overflow(SMALL_STEP * (1 + shift), room) for shift in (-side, side))
    # 1/(p·x) changes by the share ``side`` of 1000 steps, and whole steps are counted on both sides.
    assert 0 <= below - above <= 1 + 2e3 * side


@given(whole=st.integers(1, 1000), rate=st.floats(1e-3, 100.0))
def test_a_linear_critic_overflows_at_exactly_the_power(whole, rate):
    # A room of whole steps is met, not passed, in spite of rounding.
    assert SGDLaw(1).steps_to_overflow(rate, whole * math.log1p(rate)) == whole


@given(depth=depths, share=st.floats(0.0, 1.0), room=st.floats(1.0, 700.0))
def test_no_overflow_between_the_overshoot_threshold_and_zero(depth, share, room):
    assert SGDLaw(depth).steps_to_overflow(-2 * depth * share, room) == math.inf


@given(depth=depths, excess=st.floats(2e-2, 10.0), room=st.floats(1.0, 700.0))
def test_overflow_below_the_overshoot_threshold(depth, excess, room):
    rate = -2 * depth * (1 + excess)
    fewest, most = (steps_of_ray(depth, rate, room * (1 + tie)) for tie in (-TIE, TIE))
    assert fewest <= SGDLaw(depth).steps_to_overflow(rate, room) <= most


@given(depth=depths, excess=st.floats(0.0, 1.0, exclude_min=True), more=st.floats(0.0, 1.0), room=st.floats(1.0, 700.0))
def test_nearer_to_the_overshoot_threshold_never_overflows_earlier(depth, excess, more, room):
    law = SGDLaw(depth)
    nearer, further = (law.steps_to_overflow(-2 * depth * (1 + share), room) for share in (excess, excess + more))
    assert nearer >= further >= 1


@given(depth=depths, rate=st.floats(1e-2, 1e300) | st.floats(-1e300, -20.0))
def test_without_room_it_has_overflowed_already(depth, rate):
    assert SGDLaw(depth).steps_to_overflow(rate, 0.0) == 0


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_rate_gives_no_crash(depth):
    for rate in (0.0, -0.0, math.nan):
        assert SGDLaw(depth).steps_to_overflow(rate, 700.0) == math.inf
        assert SGDLaw(depth).steps_to_blow_up(rate) == math.inf


@pytest.mark.parametrize("depth", [2, 3, 4, 9])
def test_next_to_the_overshoot_threshold_the_count_ends(depth):
    # The step's factor -1 - 2^-52 may round to -1, which never grows.
    rate = math.nextafter(-2.0 * depth, -math.inf)
    assert SGDLaw(depth).steps_to_overflow(rate, 100.0) > 10

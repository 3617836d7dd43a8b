"""Laws of continuous time against whole steps: a step counts as one, less half of (growth + its relative change).

A step multiplies the parameters by 1 + g where the flow, whose g changes by ġ meanwhile, would by 1 + g + (g² + ġ)/2:
it is worth 1 - (g + ġ/g)/2 steps of the flow, up to second order. The recursions are those that torch's optimisers
follow (test_growth_runs).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.margins import target_share
from seem.growth import DecayingStepLaw, HuberLaw, MomentumLaw, SGDLaw, WeightDecayLaw

several = st.integers(2, 6)
STEPS = 40
SECOND_ORDER = 1.5
"""Coefficient of the squares ((m+2)y)² that first order leaves out; its terms have coefficients of 1/12 to 1."""


def check_time(passed: float, worths: list[float], squares: list[float], total: float) -> None:
    """The law's time passes by the worth of the steps, up to second order and 40 roundings of ``total``."""
    error, bound = abs(passed - sum(worths)), SECOND_ORDER * sum(squares) + 1e-13 * total
    target_share(error / bound, "error / bound")
    assert error <= bound, f"{len(worths)} steps are worth {sum(worths)}, the law says {passed}"


@pytest.mark.claim("WEIGHT-DECAY")
@given(depth=several, rate=st.floats(1e-6, 3e-3), share=st.just(0.0) | st.floats(1e-3, 0.95))
def test_gradient_descent_with_weight_decay(depth, rate, share):
    power, decay = 2 * depth - 2, share * rate / depth
    law, scale, worths, squares = WeightDecayLaw(depth, decay), 1.0, [], []
    for _ in range(STEPS):
        y = rate / depth * scale**power
        worths.append(1 - (y - decay + power * y) / 2)
        squares.append(((power + 2) * y) ** 2)
        scale += (y - decay) * scale
    start = law.steps_to_blow_up(rate)
    passed = start - law.steps_to_blow_up(rate * scale**power)
    # Near the critical rate the time to the crash is a logarithm of a difference of nearly equal numbers.
    check_time(passed, worths, squares, start / (1 - share))
    if share == 0:
        assert start == SGDLaw(depth).steps_to_blow_up(rate)


@pytest.mark.claim("HUBER")
@given(depth=st.integers(3, 7), growth=st.floats(1e-6, 3e-3))
def test_huber(depth, growth):
    """Beyond the knee the parameters grow by y = r/L ∝ a^(L-2), r the growth of ln Q."""
    law, power, scale, worths, squares = HuberLaw(depth), depth - 2, 1.0, [], []
    for _ in range(STEPS):
        y = growth / depth * scale**power
        worths.append(1 - (y + power * y) / 2)
        squares.append(((power + 2) * y) ** 2)
        scale += y * scale
    start = law.steps_to_blow_up(growth)
    check_time(start - law.steps_to_blow_up(growth * scale**power), worths, squares, start)


@given(
    depth=several,
    rate=st.floats(1e-5, 3e-3),
    power=st.sampled_from((0.0, 0.5, 1.0)) | st.floats(0.0, 0.9),
    share=st.floats(0.1, 10.0),
)
def test_decaying_steps(depth, rate, power, share):
    """The law of a later step has the rate and the timescale of that step."""
    order, scale, worths, squares = 2 * depth - 2, 1.0, [], []
    timescale = 100 + share * SGDLaw(depth).steps_to_blow_up(rate)
    start = DecayingStepLaw(depth, power, timescale).steps_to_blow_up(rate)
    for step in range(STEPS):
        y = rate / depth * (1 + step / timescale) ** -power * scale**order
        slowing = power / (timescale + step)
        # Time lost now is lost at the crash, when the steps are smaller.
        smaller = ((timescale + start) / (timescale + step)) ** power
        worths.append(1 - (y + order * y - slowing) / 2 * smaller)
        squares.append(((order + 2) * y + slowing) ** 2 * smaller)
        scale += y * scale
    later = rate * (1 + STEPS / timescale) ** -power * scale**order
    left = DecayingStepLaw(depth, power, timescale + STEPS).steps_to_blow_up(later)
    check_time(start - left, worths, squares, start)


def heavy_ball(depth: int, beta: float, rate: float, steps: int) -> float:
    """Rate after some steps of heavy-ball descent on the ray, from the slow manifold."""
    y, friction, power = rate / depth, 1 - beta, 2 * depth - 2
    # a_{t-1} of the slow manifold a' = a(1 + cy + ey²), c = 1/(1-β), e = -β(m+1)/(1-β)³ (theory, optimisers).
    second = (power + 1) / friction**2 + beta * (power + 1) / friction**3
    before, scale = 1 - y / friction + second * y**2, 1.0
    for _ in range(steps):
        before, scale = scale, scale + beta * (scale - before) + y * scale ** (2 * depth - 1)
    return rate * scale**power


@pytest.mark.claim("MOMENTUM")
@given(depth=several, beta=st.floats(0.0, 0.9), share=st.floats(1e-4, 1e-3), steps=st.integers(100, 300))
def test_momentum_is_late_by_its_lag(depth, beta, share, steps):
    law = MomentumLaw(depth, beta)
    rate = share * law.inertial_rate
    later = heavy_ball(depth, beta, rate, steps)
    lag = law.lag(rate) - law.lag(later)
    passed = law.steps_to_blow_up(rate) - law.steps_to_blow_up(later)
    # Without the lag a step counts as 1 - share; with it the rest is of second order, with a coefficient below 2.
    error, bound = abs(steps - passed - lag), 3 * steps * (share * later / rate) ** 2 + 1e-12 / rate
    target_share(error / bound, "error / bound")
    assert error <= bound
    assert lag > 0


@given(depth=several, beta=st.floats(0.0, 0.95), share=st.floats(0.01, 0.3))
def test_momentum_crashes_within_its_memory_of_law_and_lag(depth, beta, share):
    law = MomentumLaw(depth, beta)
    rate = share * law.inertial_rate
    before, scale, steps = 1.0, 1.0, 0
    while scale < 1e8:
        drift = rate / depth * scale ** (2 * depth - 1)
        before, scale, steps = scale, scale + beta * (scale - before) + drift, steps + 1
    late = (steps - law.steps_to_blow_up(rate) - law.lag(rate)) * (1 - beta)
    # The start from rest and the inertial end last a few memories of 1/(1-β) steps each.
    assert 0 < late < 7

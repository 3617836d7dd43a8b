"""What all growth laws share: exponents and straight lines, monotony, units of time, limits, refusals.

Hypotheses: continuous time on the self-similar ray (bias-free, r = 0, X* fixed).
"""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.strategies.networks import cases, powers_of_two
from seem.errors import InputError
from seem.growth import (
    AdamLaw,
    ClippingLaw,
    DecayingStepLaw,
    EMALaw,
    HuberLaw,
    MomentumLaw,
    SGDLaw,
    SignLaw,
    WeightDecayLaw,
)
from seem.spectrum import take_reading

depths = st.integers(1, 6)
several = st.integers(2, 6)
rates = st.floats(1e-6, 10.0)
rooms = st.floats(1.0, 700.0)
sizes = st.floats(1e-6, 1e6)
SHARES = np.linspace(0.0, 0.96, 25)
"""Shares of the time to the blow-up, or steps in units of 25."""
ROUNDING = 16 * 2**-52
"""Two powers and a handful of products, each right to a few units in the last place."""


@st.composite
def finite_time_laws(draw: st.DrawFn) -> SGDLaw | MomentumLaw | WeightDecayLaw | DecayingStepLaw:
    """Laws of the order of gradient descent: Q^(-p) falls linearly, p = (2L-2)/L."""
    depth = draw(several, label="depth")
    kinds = (SGDLaw(depth), MomentumLaw(depth, 0.5), WeightDecayLaw(depth, 0.01), DecayingStepLaw(depth, 0.5, 10.0))
    return draw(st.sampled_from(kinds), label="law")


def power_of_time_laws(depth: int) -> tuple[AdamLaw | ClippingLaw | SignLaw, ...]:
    return (AdamLaw(depth), ClippingLaw(depth, 1.0), SignLaw(depth), SignLaw(depth, 0.1))


@pytest.mark.claim("SGD-LAW")
@given(law=finite_time_laws(), start=sizes)
def test_finite_time_laws_are_lines_that_reach_zero(law, start):
    order = 2 - 2 / law.depth
    q = start * (1 - SHARES) ** (-1 / order)
    np.testing.assert_allclose(law.linearise(q) * start**order, 1 - SHARES, rtol=2 * ROUNDING)
    assert law.exponent == pytest.approx(order, rel=ROUNDING)


@given(depth=depths, start=sizes, speed=st.floats(1e-3, 1e3))
def test_laws_of_unset_step_size_are_lines_in_time(depth, start, speed):
    scales = start + speed * SHARES
    for law in power_of_time_laws(depth):
        np.testing.assert_allclose(law.linearise(scales**depth), scales, rtol=ROUNDING)
        assert law.exponent == depth


@pytest.mark.claim("SGD-ONE-LAYER")
@given(start=sizes, speed=st.floats(1e-3, 10.0))
def test_exponentials_are_lines_in_the_logarithm(start, speed):
    q = start * np.exp(speed * SHARES)
    for law in (SGDLaw(1), HuberLaw(2), EMALaw(3, 0.5), MomentumLaw(1, 0.9)):
        # Absolute: a relative error of q is an absolute one of its logarithm.
        np.testing.assert_allclose(law.linearise(q), math.log(start) + speed * SHARES, atol=ROUNDING * 30, rtol=0)
        assert law.exponent == 0


@pytest.mark.claim("HUBER")
@given(depth=st.sampled_from((1, 3, 4, 5, 6)), start=sizes)
def test_huber_is_a_line_of_its_own_order(depth, start):
    law, order = HuberLaw(depth), 1 - 2 / depth
    # L = 1 grows linearly, L ≥ 3 has its line reach zero.
    left = 1 + SHARES if depth == 1 else 1 - SHARES
    np.testing.assert_allclose(law.linearise(start * left ** (-1 / order)) * start**order, left, rtol=2 * ROUNDING)
    assert law.exponent == pytest.approx(order, rel=ROUNDING)


@pytest.mark.claim("SGD-LAW")
@given(depth=several, other=several)
def test_a_wrong_depth_bends_the_line(depth, other):
    q = (1 - np.array([0.0, 0.4, 0.8])) ** (-1 / SGDLaw(depth).exponent)
    bend = np.diff(SGDLaw(other).linearise(q), 2)[0]
    # The second derivative has the sign of q - p (theory, SGD law); at depths 5 and 6 it is .011.
    assert math.copysign(1, bend) == math.copysign(1, other - depth) if other != depth else abs(bend) < ROUNDING
    assert other == depth or abs(bend) > 0.01


@given(law=finite_time_laws(), q=st.lists(sizes, min_size=1, max_size=4))
def test_transforms_keep_shape_and_order(law, q):
    column = np.array(q)[:, None]
    for some in (law, AdamLaw(law.depth), HuberLaw(law.depth), EMALaw(law.depth, 0.1)):
        made = some.linearise(column)
        assert made.shape == column.shape
        assert made.dtype == np.float64
        assert made[0, 0] == some.linearise(q[0])
        # Half of float32's digits would be lost on the way.
        assert np.array_equal(
            some.linearise(column.astype(np.float32)), some.linearise(column.astype(np.float32).tolist())
        )


@given(depth=depths, rate=rates, factor=st.floats(1.01, 100.0), room=rooms)
def test_a_larger_rate_never_crashes_later(depth, rate, factor, room):
    law = SGDLaw(depth)
    # One step: whole steps are counted, and the closed form below SMALL_STEP is right to a fraction of one.
    assert law.steps_to_overflow(rate * factor, room) <= law.steps_to_overflow(rate, room) + 1


@given(depth=depths, rate=rates, room=rooms, more=st.floats(0.0, 300.0))
def test_more_room_never_crashes_earlier(depth, rate, room, more):
    law = SGDLaw(depth)
    assert law.steps_to_overflow(rate, room + more) >= law.steps_to_overflow(rate, room)


@given(depth=depths, rate=rates, room=rooms)
def test_a_deeper_critic_never_overflows_later(depth, rate, room):
    # One step as above.
    assert SGDLaw(depth + 1).steps_to_overflow(rate, room) <= SGDLaw(depth).steps_to_overflow(rate, room) + 1


@given(depth=several, rate=rates)
def test_a_deeper_critic_blows_up_earlier(depth, rate):
    assert SGDLaw(depth + 1).steps_to_blow_up(rate) < SGDLaw(depth).steps_to_blow_up(rate)
    assert HuberLaw(depth + 1).steps_to_blow_up(rate) < HuberLaw(depth).steps_to_blow_up(rate)


@given(depth=several, rate=rates, factor=powers_of_two())
def test_time_scales_inversely_with_the_rate(depth, rate, factor):
    law = SGDLaw(depth)
    assert law.steps_to_blow_up(rate * factor) == law.steps_to_blow_up(rate) / factor


@given(depth=several, rate=rates, factor=powers_of_two(-8, 0), small=st.just(0.0) | st.floats(1e-12, 0.9))
def test_every_law_has_one_unit_of_time(depth, rate, factor, small):
    """All rates a step times c: all times by 1/c, bitwise for a power of two."""
    laws = (
        (HuberLaw(depth), HuberLaw(depth)),
        (MomentumLaw(depth, small), MomentumLaw(depth, small)),
        (WeightDecayLaw(depth, small), WeightDecayLaw(depth, small * factor)),
        (DecayingStepLaw(depth, small, 32.0), DecayingStepLaw(depth, small, 32.0 / factor)),
    )
    for law, slower in laws:
        assert slower.steps_to_blow_up(rate * factor) == law.steps_to_blow_up(rate) / factor


@pytest.mark.claim("SGD-SCALING")
@given(case=cases(activations=("relu", "identity"), bias=False, normalised=False), factor=powers_of_two(-4, 4))
def test_scaling_the_critic_and_the_step_size_keeps_the_forecast(case, factor):
    """θ → cθ with η → c^-(2L-2)η: λ grows by what η loses, and with it the time to the crash stays."""
    network, x, x_next = case.draw()
    depth, terminals = case.config.depth, x.new_zeros(case.rows)

    def read(lr: float):
        values, values_next = network(x).squeeze(1), network(x_next).squeeze(1)
        return take_reading(network, x, x_next, (values - values_next).detach(), terminals, discount=1.0, lr=lr)

    before = read(0.25)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= factor
    after = read(0.25 * factor ** -(2 * depth - 2))
    assert after.rate == before.rate
    assert SGDLaw(depth).steps_to_blow_up(after.rate) == SGDLaw(depth).steps_to_blow_up(before.rate)


BELOW_ZERO = st.floats(max_value=0.0, exclude_max=True) | st.sampled_from((math.nan, math.inf))
NOT_BELOW_ONE = BELOW_ZERO | st.floats(min_value=1.0)
REFUSED = {
    "momentum": ("momentum", lambda value: MomentumLaw(2, value), NOT_BELOW_ONE, "at least 0 and below 1"),
    "clip": ("clip", lambda value: ClippingLaw(2, value), BELOW_ZERO, "at least 0"),
    "decay of signs": ("decay", lambda value: SignLaw(2, value), BELOW_ZERO, "at least 0"),
    "weight decay": ("decay", lambda value: WeightDecayLaw(2, value), NOT_BELOW_ONE, "at least 0 and below 1"),
    "power of a schedule": ("power", lambda value: DecayingStepLaw(2, value, 1.0), BELOW_ZERO, "at least 0"),
    "timescale of a schedule": (
        "timescale",
        lambda value: DecayingStepLaw(2, 1.0, value),
        BELOW_ZERO | st.just(0.0),
        "positive, finite number of steps",
    ),
    "target rate": (
        "target rate",
        lambda value: EMALaw(2, value),
        BELOW_ZERO | st.just(0.0) | st.floats(min_value=1.0, exclude_min=True),
        "above 0 and up to 1",
    ),
    "ratio of target to critic": (
        "the ratio",
        lambda value: EMALaw(2, 0.5).growth_rate(value),
        st.floats(max_value=0.0, exclude_max=True) | st.just(math.nan),
        "0 or more",
    ),
}


@pytest.mark.parametrize("refused", REFUSED)
@given(data=st.data())
def test_an_impossible_argument_is_refused_by_name(refused, data):
    name, make, values, remedy = REFUSED[refused]
    value = data.draw(values, label="value")
    with pytest.raises(InputError, match=rf"^{name} {re.escape(str(value))} .*impossible: pass .*{remedy}$"):
        make(value)


@given(depth=st.integers(max_value=0))
def test_no_law_has_a_depth_below_one(depth):
    makers = (SGDLaw, AdamLaw, HuberLaw, SignLaw, lambda depth: MomentumLaw(depth, 0.5), lambda depth: EMALaw(depth, 1))
    makers += (lambda depth: ClippingLaw(depth, 1.0), lambda depth: WeightDecayLaw(depth, 0.5))
    for make in (*makers, lambda depth: DecayingStepLaw(depth, 1.0, 1.0)):
        with pytest.raises(InputError, match=f"^depth {depth} is impossible: .* pass 1 or more$"):
            make(depth)


def test_the_ends_of_every_range_are_allowed():
    tiny, below_one = 5e-324, math.nextafter(1.0, 0.0)
    assert MomentumLaw(1, 0.0).momentum == WeightDecayLaw(1, 0.0).decay == SignLaw(1).decay == 0
    assert ClippingLaw(1, 0.0).clip == DecayingStepLaw(1, 0.0, tiny).power == 0
    assert MomentumLaw(1, below_one).momentum == WeightDecayLaw(1, below_one).decay == below_one
    assert (EMALaw(1, tiny).target_rate, EMALaw(1, 1.0).target_rate) == (tiny, 1.0)
    # A clip or decay of any size up to the largest number is one.
    assert ClippingLaw(1, 1e308).clip == SignLaw(1, 1e308).decay == DecayingStepLaw(1, 1e308, 1e308).power

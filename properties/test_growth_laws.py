"""Growth laws: monotone in rate, depth and room, and invariant where the theory says so."""

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from properties.strategies.networks import powers_of_two
from seem.growth import SGDLaw

depths = st.integers(1, 6)
rates = st.floats(1e-6, 10.0)
rooms = st.floats(1.0, 700.0)


@given(depth=depths, rate=rates, factor=st.floats(1.01, 100.0), room=rooms)
def test_a_larger_rate_never_crashes_later(depth, rate, factor, room):
    law = SGDLaw(depth)
    # One step: whole steps are counted, and the closed form below SMALL_STEP is right to a fraction of one.
    assert law.steps_to_overflow(rate * factor, room) <= law.steps_to_overflow(rate, room) + 1


@given(depth=depths, rate=rates, room=rooms, more=st.floats(0.0, 300.0))
def test_more_room_never_crashes_earlier(depth, rate, room, more):
    law = SGDLaw(depth)
    assert law.steps_to_overflow(rate, room + more) >= law.steps_to_overflow(rate, room)


@given(depth=st.integers(2, 6), rate=rates)
def test_a_deeper_critic_blows_up_earlier(depth, rate):
    assert SGDLaw(depth + 1).steps_to_blow_up(rate) < SGDLaw(depth).steps_to_blow_up(rate)


@given(depth=st.integers(2, 6), rate=rates, factor=powers_of_two())
def test_time_scales_inversely_with_the_rate(depth, rate, factor):
    law = SGDLaw(depth)
    assert law.steps_to_blow_up(rate * factor) == law.steps_to_blow_up(rate) / factor


@given(depth=st.integers(2, 6), rate=st.floats(1e-5, 0.05), steps=st.integers(1, 50))
def test_a_later_reading_on_the_ray_forecasts_the_same_step(depth, rate, steps):
    law, log_room = SGDLaw(depth), 700.0
    first = law.steps_to_overflow(rate, log_room)
    for _ in range(steps):
        assume(rate < 1)  # later the run is over within a few steps
        factor = 1 + rate / depth
        rate, log_room = rate * factor ** (2 * depth - 2), log_room - depth * math.log(factor)
    # One step of counting at either end.
    assert abs(steps + law.steps_to_overflow(rate, log_room) - first) <= 2

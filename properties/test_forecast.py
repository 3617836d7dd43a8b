"""Forecasts of any history: when one is made, what it is made of, and what must not change it.

No hypothesis on the critic: these are statements about the arithmetic of readings.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from properties.strategies.histories import (
    LOG_MAX,
    decaying_modes,
    growing_modes,
    histories,
    last_step,
    overshooting_modes,
    reading,
)
from properties.strategies.networks import powers_of_two
from seem.forecasting import forecast, refuse
from seem.growth import SGDLaw
from seem.spectrum import CriticReading

depths = st.integers(1, 5)
several = st.integers(2, 5)
SMALLEST = 2.0**-1074
"""Of the positive numbers; its inverse overflows."""
TIMES = ("crash_step", "earliest", "latest", "law_step", "slope_step")


def make(history: Sequence[Sequence[CriticReading]], depth: int, dtype: str = "float64"):
    return forecast(history, depth=depth, dtype=dtype, step=last_step(history))


@st.composite
def any_histories(draw: st.DrawFn) -> tuple[int, list[list[CriticReading]]]:
    """A depth and one or two critics whose readings grow, decay and overshoot in any order."""
    depth = draw(depths, label="depth")
    modes = growing_modes() | decaying_modes() | overshooting_modes(depth, beyond=True)
    modes = modes | overshooting_modes(depth, beyond=False) if depth > 1 else modes
    return depth, draw(histories(modes, critics=(1, 2)), label="histories")


def line_to_zero(histories: Sequence[Sequence[CriticReading]]) -> float:
    """Steps to the zero of the line through 1/x of the last three readings, after the last that does not grow."""
    at: dict[int, float] = {}
    for one in (one for history in histories for one in history):
        at[one.step] = max(at.get(one.step, -math.inf), one.step_size * one.leading)
    points = sorted(at.items())[-3:]
    while any(1 + rate <= 1 for _, rate in points):
        points.pop(0)
    if len(points) < 2:
        return math.inf
    steps = [step for step, _ in points]
    inverse = [1 / rate for _, rate in points]
    middle, mean = sum(steps) / len(steps), sum(inverse) / len(inverse)
    fall = -sum((t - middle) * (y - mean) for t, y in zip(steps, inverse, strict=True))
    spread = sum((t - middle) ** 2 for t in steps)
    # A line that is flat to rounding never reaches zero.
    return inverse[-1] * spread / fall if fall > 1e-13 * max(inverse) * math.sqrt(spread) else math.inf


@given(drawn=any_histories())
@example(drawn=(2, [[reading(0, SMALLEST)]]))
def test_a_forecast_is_in_order_or_says_why_there_is_none(drawn):
    depth, history = drawn
    made = make(history, depth)
    assert made.step == last_step(history)
    assert made.step <= made.earliest <= made.crash_step <= made.latest
    assert made.earliest <= min(made.law_step, made.slope_step)
    assert made.latest >= max(made.law_step, made.slope_step)
    if made.reason is not None:
        assert {getattr(made, name) for name in TIMES} == {math.inf}
    else:
        assert math.isfinite(made.crash_step)
        assert made.mechanism is not None
    event(f"{made.mechanism}, made: {made.reason is None}")


@given(depth=depths, history=histories(growing_modes(), critics=(1, 2)))
def test_law_slope_and_interval_are_what_they_are_called(depth, history):
    made, step = make(history, depth), last_step(history)
    fastest = max((critic[-1] for critic in history), key=lambda one: one.leading)
    law, log_room = SGDLaw(depth), LOG_MAX["float64"] - math.log(fastest.max_abs_q)
    law_steps, slope_steps = law.steps_to_overflow(fastest.rate, log_room), line_to_zero(history)
    if depth > 1:
        slope_steps += max(law_steps - law.steps_to_blow_up(fastest.rate), 0.0)
    assert made.law_step == step + law_steps
    if slope_steps > 1e9:
        # Nearly flat: rounding may make it fall, ever so slowly.
        assert made.slope_step > 1e8
        slope_steps = made.slope_step - step
    # Two ways to fit a line; the flatter it is the more digits of its fall are lost.
    close = 1e-9 + 1e-12 * slope_steps if math.isfinite(slope_steps) else 1e-9
    assert made.slope_step - step == pytest.approx(slope_steps, rel=close)
    first, later = min(law_steps, slope_steps), max(law_steps, slope_steps)
    assert made.crash_step - step == pytest.approx(math.sqrt(law_steps * first), rel=close)
    assert made.earliest - step == pytest.approx(first / 1.25, rel=close)
    assert made.latest - step == pytest.approx(later * 1.25, rel=close)
    event(f"slope first: {slope_steps < law_steps}")


@given(depth=depths, history=histories(growing_modes(), readings=(2, 5)), slower=st.floats(0.01, 1.0))
def test_a_slope_behind_the_law_leaves_the_law_alone(depth, history, slower):
    """A rate that does not rise says nothing of the crash beyond its last reading."""
    *earlier, last = history[0]
    falling = [replace(one, leading=last.leading / slower) for one in earlier]
    made = make([[*falling, last]], depth)
    alone = forecast([[last]], depth=depth, dtype="float64", step=last.step)
    assert made.law_step == alone.law_step
    assert made.crash_step == pytest.approx(alone.crash_step, rel=4 * 2**-52)
    assert made.earliest == alone.earliest


@given(depth=depths, history=histories(decaying_modes(), critics=(1, 2)))
def test_nothing_that_decays_is_forecast(depth, history):
    made = make(history, depth)
    assert made == refuse(last_step(history), "SEEM is not positive: no mode excites itself")
    assert made.mechanism is None


@given(depth=depths, history=histories(growing_modes(), readings=(0, 3), critics=(1, 2)), later=st.integers(1, 100))
def test_a_reading_of_none_means_that_the_kernel_has_overflowed(depth, history, later):
    step = last_step(history) + later
    made = forecast([[*one, None] for one in history], depth=depth, dtype="float64", step=step)
    assert made == refuse(step, "the kernel has overflowed: the critic has already blown up")


@given(depth=depths, history=histories(growing_modes(), readings=(0, 3), critics=(1, 2)), later=st.integers(1, 100))
def test_without_a_reading_of_this_step_the_missing_one_is_named(depth, history, later):
    last = max((one.step for readings in history for one in readings), default=None)
    made = forecast(history, depth=depth, dtype="float64", step=last_step(history) + later)
    assert made.crash_step == math.inf
    assert f"step {last}" in made.reason if last is not None else "no reading yet" in made.reason


@given(step=st.integers(0, 1000))
def test_a_refusal_has_its_reason_and_no_time(step):
    made = refuse(step, "because")
    assert (made.step, made.reason, made.mechanism) == (step, "because", None)
    assert {getattr(made, name) for name in TIMES} == {math.inf}
    assert refuse(step, "because", "overshoot").mechanism == "overshoot"


@given(data=st.data(), depth=depths)
def test_overshoot_past_the_threshold_is_forecast_by_the_law_alone(data, depth):
    history = data.draw(histories(overshooting_modes(depth, beyond=True)), label="history")
    made, last = make(history, depth), history[0][-1]
    room = LOG_MAX["float64"] - math.log(last.max_abs_q)
    assert made.mechanism == "overshoot"
    assert made.law_step == last.step + SGDLaw(depth).steps_to_overflow(last.step_size * last.trailing, room)
    assert made.crash_step == pytest.approx(made.law_step, rel=4 * 2**-52)
    assert made.slope_step == made.latest == math.inf
    assert made.reason is None


@given(data=st.data(), depth=several)
def test_overshoot_short_of_the_threshold_is_named_and_not_forecast(data, depth):
    history = data.draw(histories(overshooting_modes(depth, beyond=False)), label="history")
    made = make(history, depth)
    gain = history[0][-1].overshoot_gain
    reason = (
        f"the step size overshoots (gain {gain:.2f} per step), below the threshold 2L "
        "past which the law has no recovery"
    )
    assert made == refuse(last_step(history), reason, "overshoot")


@given(depth=depths, rate=st.floats(0.01, 3.0), share=st.floats(0.0, 1.0))
def test_the_larger_gain_decides_and_self_excitation_where_they_are_equal(depth, rate, share):
    one = reading(0, rate, -1.0)
    excited = replace(one, overshoot_gain=one.excitation_gain * share)
    assert make([[excited]], depth).mechanism == "self-excitation"
    overshot = replace(one, overshoot_gain=math.nextafter(one.excitation_gain, math.inf))
    assert make([[overshot]], depth).mechanism == "overshoot"
    # A mode that neither grows nor decays does not overshoot.
    assert make([[reading(0, 0.0)]], depth).mechanism is None
    assert make([[reading(0, -2.0)]], depth).mechanism is None


@given(drawn=any_histories(), factor=powers_of_two())
@example(drawn=(2, [[reading(0, 1.0), reading(1, SMALLEST), reading(2, 1.0)]]), factor=1.0)
def test_only_the_product_of_step_size_and_eigenvalue_counts(drawn, factor):
    depth, history = drawn

    def rescale(one: CriticReading) -> CriticReading:
        return replace(
            one, step_size=one.step_size * factor, leading=one.leading / factor, trailing=one.trailing / factor
        )

    assert make([[rescale(one) for one in critic] for critic in history], depth) == make(history, depth)


@given(drawn=any_histories())
def test_only_the_last_three_readings_count(drawn):
    depth, history = drawn
    assert make([critic[-3:] for critic in history], depth) == make(history, depth)


@given(
    depth=depths,
    history=histories(growing_modes(), readings=(2, 5)),
    position=st.integers(1, 3),
    rate=st.floats(-1.0, 2**-54),
)
def test_what_lies_before_a_reading_without_growth_is_forgotten(depth, history, position, rate):
    critic = history[0]
    position = max(len(critic) - 1 - position, 0)
    stop = replace(critic[position], leading=rate / critic[position].step_size)
    assert make([[*critic[:position], stop, *critic[position + 1 :]]], depth) == make([critic[position + 1 :]], depth)


@given(drawn=any_histories())
def test_the_order_of_the_critics_does_not_count(drawn):
    depth, history = drawn
    # Readings of which two lead by the same eigenvalue may differ in |Q|: the sizes are set equal.
    same = [[replace(one, max_abs_q=1.0) for one in critic] for critic in history]
    assert make(same[::-1], depth) == make(same, depth)


@given(depth=depths, history=histories(growing_modes()), data=st.data())
def test_a_slower_critic_changes_nothing(depth, history, data):
    slower = [
        replace(one, critic=1, leading=one.leading * data.draw(st.floats(-1.0, 0.99), label="share"), max_abs_q=1e9)
        for one in history[0]
    ]
    assert make([*history, slower], depth) == make([slower, *history], depth) == make(history, depth)
    assert make([*history, []], depth) == make(history, depth)


@given(depth=depths, history=histories(growing_modes()), gone=st.integers(0, 4))
def test_a_critic_that_has_no_reading_now_is_not_the_fastest(depth, history, gone):
    """Its kernel has overflowed; where it was slower before it changes nothing."""
    dead = [replace(one, critic=1, leading=one.leading / 2, max_abs_q=1e9) for one in history[0][:gone]]
    faster = [replace(one, overshoot_gain=1e9, trailing=-1e9) for one in dead[: len(history[0]) - 1]]
    assert make([*history, faster], depth) == make(history, depth)


@given(depth=depths, history=histories(growing_modes()))
def test_a_narrower_dtype_never_crashes_later(depth, history):
    assert make(history, depth, "float32").law_step <= make(history, depth, "float64").law_step


@given(depth=st.just(1), rate=st.floats(0.1, 3.0), size=st.floats(0.0, 1e-300))
def test_values_below_1e_300_are_all_alike(depth, rate, size):
    zero, tiny = (make([[reading(0, rate, max_abs_q=q)]], depth) for q in (size, 1e-300))
    assert zero == tiny
    room = LOG_MAX["float64"] + 300 * math.log(10)
    # Whole steps to a room that is right to 1e-12.
    assert abs(zero.law_step - math.ceil(room / math.log1p(rate))) <= (room / math.log1p(rate) % 1 < 1e-9)

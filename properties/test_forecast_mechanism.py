"""The mechanism of a crash, the time to the next doubling, and the time to overshoot.

A mode by self-excitation has ηλ = gain - 1, one by overshoot ηλ = -1 - gain.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.strategies.histories import reading
from seem.forecasting import mechanism, steps_to_doubling, steps_to_overshoot
from seem.spectrum import CriticReading

MECHANISMS = ("self-excitation", "overshoot")
Gains = tuple[float, float]
"""Of self-excitation and of overshoot; below 1 where a mode decays."""
QUIET, SLOW, DOUBLING = (0.0, math.nextafter(1.1, 0)), (1.1, math.nextafter(2.0, 0)), (2.0, 100.0)
"""Ranges of gains: not yet growth, growth, and what doubles at every step."""
mechanisms = st.sampled_from(MECHANISMS)
quiet = st.tuples(st.floats(*QUIET), st.floats(*QUIET))
anything = st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 100.0))


def led_by(mechanism: str, gains: tuple[float, float]) -> st.SearchStrategy[Gains]:
    """Gains whose larger one, within a range, is that of a mechanism."""
    pairs = st.floats(*gains).flatmap(lambda gain: st.tuples(st.just(gain), st.floats(0.0, math.nextafter(gain, 0))))
    return pairs if mechanism == MECHANISMS[0] else pairs.map(lambda pair: (pair[1], pair[0]))


def history_of(series: Sequence[Gains], first: int = 0) -> list[CriticReading]:
    """Readings with these gains at steps 0, 7, 14, …; a gain of 1 or less of self-excitation is a decaying mode."""
    steps = count(first, 7)
    return [
        replace(
            reading(step, min(excitation - 1, 0.0), -1.0), excitation_gain=max(excitation, 1.0), overshoot_gain=over
        )
        for step, (excitation, over) in zip(steps, series, strict=False)
    ]


def tails(kind: str | None = None) -> st.SearchStrategy[list[Gains]]:
    """Readings at which a mode doubles, the first of them by a given mechanism."""
    doubling = mechanisms.flatmap(lambda some: led_by(some, DOUBLING))
    rest = st.lists(doubling, max_size=2)
    return rest if kind is None else st.tuples(led_by(kind, DOUBLING), rest).map(lambda parts: [parts[0], *parts[1]])


before = st.lists(anything, max_size=3)


@given(data=st.data(), kind=mechanisms, earlier=before, tail=tails())
def test_the_last_reading_before_a_mode_doubles_decides(data, kind, earlier, tail):
    decider = data.draw(led_by(kind, SLOW), label="decider")
    assert mechanism([history_of([*earlier, decider, *tail])]) == kind


@given(data=st.data(), kind=mechanisms, earlier=before, calm=quiet)
def test_the_first_doubling_decides_when_nothing_grew_before_it(data, kind, earlier, calm):
    tail = data.draw(tails(kind), label="tail")
    assert mechanism([history_of([*earlier, calm, *tail])]) == kind
    assert mechanism([history_of(tail)]) == kind


@given(data=st.data(), kind=mechanisms, earlier=before, calm=st.lists(quiet, min_size=1, max_size=3))
def test_else_the_last_reading_at_which_a_mode_grew(data, kind, earlier, calm):
    grown = data.draw(led_by(kind, (1.1, 100.0)), label="grown")
    assert mechanism([history_of([*earlier, grown, *calm])]) == kind


@given(calm=st.lists(quiet, max_size=4), critics=st.integers(0, 2))
def test_without_growth_a_crash_is_unexplained(calm, critics):
    assert mechanism([history_of(calm)] * critics) == "unexplained"


@given(gain=st.floats(1.1, 100.0))
def test_equal_gains_are_self_excitation(gain):
    assert mechanism([history_of([(gain, gain)])]) == "self-excitation"


@given(series=st.lists(anything, max_size=5))
def test_the_larger_gain_of_the_critics_counts_at_every_step(series):
    excited, overshot = (history_of([(e, 0.0) for e, _ in series]), history_of([(0.0, o) for _, o in series]))
    assert mechanism([excited, overshot]) == mechanism([overshot, excited]) == mechanism([history_of(series)])


@given(series=st.lists(anything, min_size=1, max_size=5), kept=st.data())
def test_a_slower_critic_read_at_fewer_steps_changes_nothing(series, kept):
    steps = kept.draw(st.sets(st.integers(0, len(series) - 1)), label="kept")
    slower = [history_of([(0.5, 0.5)], first=7 * step)[0] for step in sorted(steps)]
    assert mechanism([slower, history_of(series)]) == mechanism([history_of(series)])


@given(growths=st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 100.0)), min_size=1, max_size=2))
def test_the_error_doubles_at_the_last_growth(growths):
    """The growth of u, whatever the modes say: u may lie across them."""
    history = [[reading(step, 0.5, growth=growth) for step, growth in enumerate(critic)] for critic in growths]
    steps, largest = steps_to_doubling(history), max(last for _, last in growths)
    if largest <= 1:
        assert steps == math.inf
    else:
        # growth^steps = 2, in logarithms.
        assert steps * math.log(largest) == pytest.approx(math.log(2), rel=1e-15)
    assert steps_to_doubling([*history, []]) == steps_to_doubling(history[::-1]) == steps


def test_without_readings_nothing_doubles_or_overshoots():
    assert steps_to_doubling([]) == steps_to_doubling([[], []]) == math.inf
    assert steps_to_doubling([[reading(0, 1.0)]]) == 1
    assert steps_to_overshoot([]) == steps_to_overshoot([[], [reading(0, -1.0)]]) == math.inf


def stiffening(first: float, second: float, gap: int, step: int = 0) -> list[CriticReading]:
    """Two readings whose most negative ηλ is -first and then -second."""
    return [reading(step, -first, 0.5, step_size=0.25), reading(step + gap, -second, 0.5, step_size=0.25)]


pairs = st.tuples(st.floats(1e-3, 1.9), st.floats(1e-3, 0.99)).map(lambda p: (p[0], p[0] + p[1] * (2 - p[0])))


@given(pair=pairs, gap=st.integers(1, 1000), step=st.integers(0, 1000), earlier=st.floats(0.0, 5.0))
def test_overshoot_comes_when_the_growth_of_the_last_readings_reaches_two(pair, gap, step, earlier):
    old, new = pair
    history = [reading(0, -earlier, step_size=0.25), *stiffening(old, new, gap, step + 1)]
    steps = steps_to_overshoot([history])
    assert 0 < steps < math.inf
    # The growth from old to new over the gap goes on: in logarithms, whose difference loses digits as new nears old.
    reached = math.log(new) + math.log(new / old) * steps / gap
    assert reached == pytest.approx(math.log(2), abs=1e-14)


@given(pair=pairs, gap=st.integers(1, 100), earlier=st.floats(0.1, 10.0))
def test_the_critic_that_overshoots_first_counts(pair, gap, earlier):
    (old, new), steady = pair, stiffening(1.0, 1.0, gap)
    one = stiffening(old, new, gap)
    slower = stiffening(new / (new / old) ** (1 / (1 + earlier)), new, gap)
    first = steps_to_overshoot([one])
    assert steps_to_overshoot([slower, one]) == steps_to_overshoot([one, slower, steady, [], one[:1]]) == first


@given(old=st.floats(0.0, 4.0), new=st.floats(0.0, 4.0), gap=st.integers(1, 100))
@example(old=5e-324, new=2.225073858507203e-309, gap=1)
def test_no_overshoot_is_foreseen_without_growth_towards_it(old, new, gap):
    grows = 0 < old < new < 2
    assert math.isfinite(steps_to_overshoot([stiffening(old, new, gap)])) == grows
    for start in (-old, 0.0):
        assert steps_to_overshoot([stiffening(start, new, gap)]) == math.inf


def test_at_the_threshold_it_overshoots_already():
    assert steps_to_overshoot([stiffening(1.0, 2.0, 1)]) == math.inf
    assert steps_to_overshoot([stiffening(1.0, math.nextafter(2.0, 0), 1)]) < 1e-9
